"""What commands share: options, completion, warnings, and a group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from generator.errors import FategenError, InputError, Problem, did_you_mean
from generator.progress import say
from generator.project import Project, find_project

if TYPE_CHECKING:
    from generator.plan.plan import Plan

F = TypeVar("F", bound=Callable[..., object])


def complete_images(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """What the shell offers: images that are not on the line yet, and groups for ``[IMAGE|GROUP]...``.

    Silent outside a project, or if its files are wrong.
    """
    from generator.bundle.sources import BUNDLES, DEFAULT, groups_of

    if (plan := plan_or_none(context)) is None:
        return []
    shown = plan.targets
    if parameter.name == "images":
        # of the bundle; at an option without its value click stops reading, and leaves the argument where it was
        named = [word for word in (*context.args, *(context.params["bundle_names"] or ())) if word in BUNDLES]
        shown = plan.select(groups_of(named[0] if named else DEFAULT, plan))
    # override takes what has a template
    words = {t.name: t.description for t in shown if not t.inherits and (t.dockerfile or parameter.name != "files")}
    if parameter.name == "names":
        words.update((g.name, " ".join(g.images)) for g in plan.groups)
    given = context.params.get(parameter.name or "") or ()
    return [CompletionItem(w, help=about) for w, about in words.items() if w.startswith(typed) and w not in given]


def plan_or_none(context: click.Context) -> Plan | None:
    """The plan alone, for completion and hints: nothing is rendered, since a shell waits for it."""
    from generator.plan.plan import make_plan
    from generator.workspace import load_settings_and_line

    try:
        return make_plan(*load_settings_and_line(find_project(context.params.get("directory") or Path())))
    except FategenError:
        return None


names_argument = click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=complete_images)

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
    """``--set`` and ``--source``: values that override ``.env`` for this run, as ``load`` takes them."""
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
            ctx.fail(f"No such command {name!r}{f'; use {meant}' if meant else did_you_mean(name, self._help)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))
