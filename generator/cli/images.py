"""``fategen images``: what the plan builds, from what, for which platforms, and what has to be mirrored for that."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from generator.cli.common import change_options, directory_option, names_argument, open_project, say_warnings
from generator.errors import InputError, Problem
from generator.plan.plan import Target, lacking, linked
from generator.progress import say
from generator.text import WIDTH, table, wrap
from generator.workspace import Workspace, load, read_text


@click.command()
@names_argument
@directory_option
@change_options
@click.option("--external", is_flag=True, help="List everything that the build downloads, to mirror it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "references", "skopeo"]),
    default="table",
    show_default=True,
)
def command(names: tuple[str, ...], directory: Path, external: bool, output_format: str, **changes: Any) -> None:
    """List the images of the plan, or with --external everything that their build downloads.

    "references" prints only NAME:TAG of each image, one per line; "skopeo" prints the input of "skopeo sync --src
    yaml", which fills a mirror.
    """
    if output_format == "skopeo" and not external:
        raise InputError(Problem("--format skopeo", "lists what to mirror: add --external"))
    workspace = load(open_project(directory), **changes)
    say_warnings(workspace.warnings)
    plan = workspace.plan
    selected = plan.select(names) if names else tuple(t for t in (*plan.targets, *plan.unavailable) if not t.inherits)
    if external:
        _print_externals(workspace, selected, output_format)
    elif output_format == "json":
        click.echo(json.dumps([_as_json(t) for t in selected], indent=2))
    elif output_format == "references":
        for target in selected:
            for tag in target.tags if target.platforms else ():
                click.echo(tag)
    else:
        # of a name that is another than the image's, all that follows PREFIX
        start = f"{plan.settings.prefix}/"
        rows = [
            (
                target.name,
                target.kind,
                " ".join(tag.removeprefix(start).removeprefix(f"{target.name}:") for tag in target.tags) or "-",
                " ".join(target.platforms) or "none",
                ", ".join((*target.parents, *(base.name for base in target.bases))),
            )
            for target in selected
        ]
        click.echo(table(("IMAGE", "KIND", "TAG", "PLATFORMS", "FROM"), rows, WIDTH))
        if any(target.is_pushed for target in selected):
            click.echo(f"\nbase images and components are {plan.settings.prefix}/IMAGE:TAG")
        if not names:
            groups = [(group.name, ", ".join(group.images)) for group in plan.groups]
            click.echo(f"\n{table(('GROUP', 'IMAGES'), groups, WIDTH)}")
        for note in lacking(selected):
            say(wrap(note))


def _as_json(target: Target) -> dict[str, object]:
    return {
        "name": target.name,
        "kind": target.kind,
        "tags": list(target.tags),
        "platforms": list(target.platforms),
        "skipped": [{"platform": s.platform, "reason": s.reason, "image": s.origin} for s in target.skipped],
        "parents": list(target.parents),
        "bases": [b.reference for b in target.bases],
        "sources": {s.name: s.location for s in target.sources},
        "dockerfile": target.dockerfile,
    }


def _print_externals(workspace: Workspace, targets: Sequence[Target], output_format: str) -> None:
    """Prints what these targets, and those that they are built from, download."""
    from generator.render.external import externals, skopeo_sync

    plan = workspace.plan
    names = [plan.settings.other(own.name) for own in plan.family.keys if own.type == "maven-settings"]
    files = [workspace.project.root / name for name in names if name]
    settings = "".join(read_text(file) for file in files[:1] if file.is_file())
    wanted = linked(plan.targets, [target.name for target in targets])
    rows = externals(plan, workspace.tree, wanted, maven_settings=settings)
    if output_format == "json":
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    elif output_format == "references":
        for row in rows:
            if row.kind == "image":
                click.echo(row.upstream)
    elif output_format == "skopeo":
        import yaml

        click.echo(yaml.safe_dump(skopeo_sync(rows), sort_keys=True), nl=False)
    else:
        kind = max((len(row.kind) for row in rows), default=0) + 2
        for row in rows:
            # a commit is known by its first digits; JSON has all of them
            what = re.sub("(#[0-9a-f]{12})[0-9a-f]{28}$", r"\1", row.upstream)
            click.echo(f"{row.kind:{kind}}{what}")
            asked = [] if row.asked == row.upstream else [f"fetched from {row.asked}"]
            about = "; ".join([*asked, f"set by {row.key or 'template'}", f"for {', '.join(row.images)}"])
            click.echo(wrap(about, indent=" " * kind))
        for name, location in {s.name: s.location for t in wanted for s in t.sources if s.local}.items():
            say(f"{name} is a local directory: {location}")
