"""``fategen render``: write the generated files, or show how they differ."""

from __future__ import annotations

from pathlib import Path

import click

from generator.cli.common import directory_option, open_project, say_warnings
from generator.progress import say
from generator.render.tree import write
from generator.workspace import load


@click.command()
@directory_option
@click.option(
    "--check", is_flag=True, help="Write nothing; list missing, changed or stale files, and exit with 1 if any."
)
@click.option("--diff", is_flag=True, help="Write nothing; show the changes as a diff.")
@click.option(
    "--strict",
    is_flag=True,
    help="Treat every unknown key in .env as an error, not only those that resemble a known one.",
)
def command(directory: Path, check: bool, diff: bool, strict: bool) -> None:
    """Write dockerfiles/, out/docker-bake.hcl and out/compose.yaml from .env, the catalogue and the templates."""
    workspace = load(open_project(directory), strict=strict)
    say_warnings(workspace.warnings)
    for target in workspace.plan.unavailable:
        reasons = "; ".join(f"no {lacking.platform}: {lacking.reason}" for lacking in target.skipped)
        say(f"{target.name} is not rendered: {reasons}")
    changes = workspace.drift()
    if diff:
        click.echo("".join(change.diff() for change in changes), nl=False)
    if check:
        workspace.require_current()
    if check or diff:
        return
    write(changes, workspace.project.root)
    stale = sum(change.kind == "stale" for change in changes)
    count = f"{len(changes) - stale} changed" if len(changes) > stale else "no change"
    count += f", {stale} removed" if stale else ""
    click.echo(f"rendered {len(workspace.tree)} files for {workspace.plan.title} ({count})")
    for change in changes:
        click.echo(f"  {change.sign} {change.path}")
