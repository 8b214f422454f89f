"""What commands share: options, warnings, and a group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from generator.errors import InputError, Problem, did_you_mean
from generator.progress import say
from generator.project import Project, find_project

F = TypeVar("F", bound=Callable[..., object])

directory_option = click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The project, or a directory in it; default: the current one.",
)

format_option = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
signature_option = click.option(
    "--require-signature",
    "key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Refuse a bundle that is not signed by this key: an SSH public key or an allowed_signers file.",
)


def platform_option(text: str) -> Callable[[F], F]:
    """``--platform``, repeatable: the platforms in containerd's normal form."""
    return click.option("--platform", "platforms", multiple=True, metavar="P", callback=_normal, help=text)


def _normal(context: click.Context, option: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    from generator.config.values import one_platform

    try:
        return tuple(map(one_platform, words))
    except ValueError as error:
        raise InputError(Problem("--platform", str(error))) from error


def change_options(function: F) -> F:
    """``--set`` and ``--source``: values that override ``.env`` for this run."""
    where = "Build a source from a local checkout, such as library=../library; DIR is relative to the project."
    override = "Override a value of .env for this run."
    function = click.option("--source", "sources", multiple=True, metavar="NAME=DIR", help=where)(function)
    return click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help=override)(function)


def open_project(directory: Path) -> Project:
    """The project at or above ``directory``; a note names one that is above, since its ``.env`` may be a stray one."""
    project = find_project(directory)
    if project.root != directory.resolve():
        say(f"note: using the project in {project.root}")
    return project


def say_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


class LazyGroup(click.Group):
    """Knows its commands' names and one-line help from ``commands``.

    ``others`` are words of other tools, and what is to be used for them.
    Module ``package.NAME`` has the ``command``; it is imported when that is run or asked for help.
    """

    def __init__(
        self, *args: Any, package: str, commands: Mapping[str, str], others: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._help, self._others = package, commands, others

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._help:
            return None
        known = super().get_command(ctx, cmd_name)
        return known or importlib.import_module(f"{self._package}.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._help and not name.startswith("-"):
            meant = self._others.get(name)
            ctx.fail(f"No such command {name!r}{f'; it is {meant}' if meant else did_you_mean(name, self._help)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))
