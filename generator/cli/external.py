"""``fategen images --external``: what to mirror, as a table, as JSON, as references, or for ``skopeo sync``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from generator.plan.plan import Target, linked
from generator.render.external import External, externals, skopeo_sync
from generator.text import table
from generator.workspace import Workspace, read_text


def show(workspace: Workspace, targets: Sequence[Target], form: str) -> None:
    """Prints what these targets, and those that they are built from, ask for."""
    plan = workspace.plan
    path = workspace.project.root / plan.settings.maven_settings
    settings = read_text(path) if plan.settings.maven_settings and path.is_file() else ""
    wanted = linked(plan.targets, [target.name for target in targets])
    found = externals(plan, workspace.tree, wanted, maven_settings=settings)
    if form == "json":
        click.echo(json.dumps([asdict(row) for row in found], indent=2))
    elif form == "references":
        for row in found:
            if row.kind == "image":
                click.echo(row.upstream)
    elif form == "skopeo":
        import yaml

        click.echo(yaml.safe_dump(skopeo_sync(found), sort_keys=True), nl=False)
    else:
        click.echo(_table(found))
        local = {source.name: source.location for target in wanted for source in target.sources if source.local}
        for name, location in local.items():
            click.echo(f"{name} is a local directory: {location}", err=True)


def _table(found: Sequence[External]) -> str:
    rows = [(row.kind, row.upstream, _asked(row), row.key or "its template", ", ".join(row.images)) for row in found]
    return table(("KIND", "WHAT", "ASKED OF", "SET BY", "FOR"), rows)


def _asked(row: External) -> str:
    return "there" if row.asked == row.upstream else row.asked
