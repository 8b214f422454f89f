"""``fategen bundle load``: a bundle into an engine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.bundle.load import load
from generator.bundle.reference import familiar
from generator.bundle.targets import DockerLoader
from generator.cli.bundle.shared import file_argument, format_option, quiet_option, source
from generator.cli.terminal import Bar
from generator.engine import find_docker
from generator.table import table

STATES = {"new": "new", "same": "was there", "replaced": "replaced "}


@click.command()
@file_argument
@click.option("--only", multiple=True, metavar="NAME", help="Load this image alone. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@format_option
@quiet_option
def command(file: Path, only: tuple[str, ...], platform: str, form: str, quiet: bool) -> None:
    """Load a bundle into Docker while checking it. When anything is wrong, no image and no tag appears or changes."""
    with Bar("loading", quiet) as bar:
        result = load(source(file), DockerLoader(find_docker()), only=only, platform=platform, progress=bar)
    if form == "json":
        images = [
            {"reference": i.reference, "id": i.id, "platform": i.platform, "state": i.state, "before": i.before}
            for i in result.images
        ]
        click.echo(json.dumps({"root": result.index.root, "platform": result.platform, "images": images}, indent=2))
        return
    cells = [
        (
            familiar(i.reference),
            i.platform,
            _short(i.id),
            STATES[i.state] + (_short(i.before) if i.state == "replaced" else ""),
        )
        for i in result.images
    ]
    click.echo(table(("IMAGE", "PLATFORM", "ID", ""), cells))


def _short(identity: str) -> str:
    """What docker prints of an id."""
    return identity.removeprefix("sha256:")[:12]
