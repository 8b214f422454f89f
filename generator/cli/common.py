"""Options that several commands share, and how warnings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import click

from generator.errors import Problem
from generator.project import Project, find_project

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
    where = "A local checkout of a source, such as fate=../FATE; a relative DIR starts at the project."
    for option in (
        click.option("--source", "sources", multiple=True, metavar="NAME=DIR", help=where),
        click.option(
            "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Another value than .env's, for this run."
        ),
    ):
        function = option(function)
    return function


def open_project(directory: Path) -> Project:
    """The project at or above ``directory``; where it is above, it is said, since a stray ``.env`` may be found."""
    project = find_project(directory)
    if project.root != directory.resolve():
        click.echo(f"note: the project is {project.root}, where .env is", err=True)
    return project


def say_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
