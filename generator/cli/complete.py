"""Shell completion of images, groups and packaged files. Silent outside a project, or if its files are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from generator.errors import FategenError
from generator.project import find_project

if TYPE_CHECKING:
    from generator.plan.plan import Plan


def images_and_groups(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``[IMAGE|GROUP]...``: those that are not on the line yet."""
    plan = _plan(context)
    if plan is None:
        return []
    items = [CompletionItem(t.name, help=t.description) for t in plan.targets if not t.inherits]
    items += [CompletionItem(g.name, help=" ".join(g.targets)) for g in plan.groups]
    return _fitting(items, typed, context.params.get(parameter.name or "") or ())


def images_of_bundle(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``bundle save NAME --image``: the images of the bundle that is named before it, else of the default."""
    from generator.bundle.selection import BUNDLES, DEFAULT, groups_of

    plan = _plan(context)
    if plan is None:
        return []
    # at an option without its value click stops reading, and leaves the argument where it was
    named = [word for word in context.args if word in BUNDLES]
    groups = groups_of(named[0] if named else context.params["name"] or DEFAULT, plan)
    items = [CompletionItem(t.name, help=t.description) for t in plan.select(groups)]
    return _fitting(items, typed, context.params.get(parameter.name or "") or ())


def packaged(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``override [FILE|IMAGE]...``: the packaged files."""
    from generator.render.overrides import packaged_names

    items = [CompletionItem(name) for name in packaged_names()]
    return _fitting(items, typed, context.params.get(parameter.name or "") or ())


def _fitting(items: list[CompletionItem], typed: str, given: tuple[str, ...]) -> list[CompletionItem]:
    return [item for item in items if item.value.startswith(typed) and item.value not in given]


def _plan(context: click.Context) -> Plan | None:
    """The plan alone: nothing is rendered, since a shell waits for it."""
    from generator.plan.planner import make_plan
    from generator.workspace import load_line, load_settings

    try:
        project = find_project(context.params.get("directory") or Path())
        settings, _ = load_settings(project, local=False)
        line = load_line(project, settings.fate_version, settings.where("FATE_VERSION"))
        return make_plan(settings, line)
    except FategenError:
        return None
