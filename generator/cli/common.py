"""Options that several commands share, and how warnings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click

from generator.errors import Problem

F = TypeVar("F", bound=Callable[..., object])

directory_option = click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The project, or a directory below it; default: here.",
)


def change_options(function: F) -> F:
    """``--set`` and ``--source``: something else than ``.env`` says, for this run alone."""
    for option in (
        click.option("--source", "sources", multiple=True, metavar="NAME=DIR", help="A local checkout of a source."),
        click.option(
            "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Another value than .env's, for this run."
        ),
    ):
        function = option(function)
    return function


def say_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
