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
    if (plan := plan_or_none(context)) is None:
        return []
    items = {t.name: t.description for t in plan.targets if not t.inherits}
    return _fitting({**items, **{g.name: " ".join(g.images) for g in plan.groups}}, context, parameter, typed)


def images_of_bundle(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``bundle save NAME --image``: the images of the bundle that is named before it, else of the default."""
    from generator.bundle.sources import BUNDLES, DEFAULT, groups_of

    if (plan := plan_or_none(context)) is None:
        return []
    # at an option without its value click stops reading, and leaves the argument where it was
    named = [word for word in (*context.args, *(context.params["bundle_names"] or ())) if word in BUNDLES]
    groups = groups_of(named[0] if named else DEFAULT, plan)
    return _fitting({t.name: t.description for t in plan.select(groups)}, context, parameter, typed)


def packaged(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """For ``override [FILE|IMAGE]...``: the packaged files."""
    from generator.render.overrides import packaged_names

    return _fitting(dict.fromkeys(packaged_names(), ""), context, parameter, typed)


def _fitting(
    words: dict[str, str], context: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Of words and their help: those that begin as ``typed`` and are not on the line yet."""
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
