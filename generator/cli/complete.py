"""Shell completion of images and groups. Silent outside a project, or if its files are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from generator.errors import FategenError
from generator.project import find_project

if TYPE_CHECKING:
    from generator.plan.plan import Plan


def complete_images(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``[IMAGE|GROUP]...``, elsewhere without groups: those that are not on the line yet."""
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
