"""``fategen doctor``: what this machine has and lacks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from generator.bake.checks import Check, examine
from generator.cli.common import directory_option, format_option
from generator.docker.process import Docker
from generator.text import WIDTH, table, wrap

SIGNS = {"ok": "✓", "note": "!", "missing": "✗"}


@click.command()
@directory_option
@format_option
@click.pass_context
def command(context: click.Context, directory: Path, output_format: str) -> None:
    """Show what this machine and this project have, what is missing, how to get it, and what works without it.

    Exits with 1 if a requirement of fategen bake is missing.
    """
    checks = examine(directory, os.environ)
    text = json.dumps([check.as_json() for check in checks], indent=2) if output_format == "json" else _table(checks)
    click.echo(Docker("docker").redact(text))
    context.exit(any(check.state == "missing" for check in checks))


def _table(checks: list[Check]) -> str:
    rows = [(SIGNS[check.state], check.name, check.found, check.needed) for check in checks]
    lines = [table(("", "REQUIREMENT", "FOUND", "NEEDED"), rows, WIDTH)]
    for check in checks:
        if check.state != "ok":
            lines.append(f"\n{SIGNS[check.state]} {check.name}")
            for line in f"get it: {check.get}\nwithout it: {check.without}".split("\n"):
                # a command, which is on a line of its own, stays on it: it is to be copied
                lines.append(f"    {line}" if line.startswith("    ") else wrap(line.strip(), indent="    "))
    return "\n".join(lines)
