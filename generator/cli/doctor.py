"""``fategen doctor``: what this machine has and lacks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from generator.bake.doctor import examine, lacks_for_bake
from generator.bake.requirement import Row
from generator.cli.common import directory_option
from generator.docker.process import Docker
from generator.text import table

SIGNS = {"ok": "✓", "note": "!", "missing": "✗"}


@click.command()
@directory_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def command(context: click.Context, directory: Path, form: str) -> None:
    """Look at this machine and this project: what is there, what is missing, how to get it, what works without it.

    Exit code 1 where something is missing that fategen bake needs.
    """
    rows = examine(directory, os.environ)
    redact = Docker("docker").redact
    if form == "json":
        click.echo(redact(json.dumps([row.as_json() for row in rows], indent=2)))
    else:
        click.echo(redact(_table(rows)))
    context.exit(1 if lacks_for_bake(rows) else 0)


def _table(rows: list[Row]) -> str:
    listed = table(("", "REQUIREMENT", "FOUND", "NEEDED"), [(SIGNS[r.state], r.name, r.found, r.needed) for r in rows])
    lacking = [row for row in rows if row.state != "ok"]
    details = [
        f"\n{SIGNS[row.state]} {row.name}\n    get it: {row.get}\n    without it: {row.without}" for row in lacking
    ]
    return "\n".join([listed, *details])
