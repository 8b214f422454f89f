"""A group of commands, each in a module of its own that is imported only when it is run or asked for help."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from generator.errors import did_you_mean


class LazyGroup(click.Group):
    """Knows its commands' names and one-line help from ``commands``; module ``package.NAME`` has the ``command``."""

    def __init__(self, *args: Any, package: str, commands: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._package, self._help = package, commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._help:
            return None
        command: click.Command = importlib.import_module(f"{self._package}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._help and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}{did_you_mean(name, self._help)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))
