"""``fategen bundle load``: a bundle into an engine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.bundle.into import engine_called
from generator.bundle.load import load
from generator.bundle.reference import familiar
from generator.cli.bundle.shared import files_argument, format_option, quiet_option, source
from generator.cli.medium import ask_for_medium
from generator.cli.terminal import Bar
from generator.table import table

STATES = {"new": "new", "same": "was there", "replaced": "replaced "}


@click.command()
@files_argument
@click.option("--into", default="docker", show_default=True, metavar="ENGINE",
              help="docker, podman, containerd or containerd:NAMESPACE.")  # fmt: skip
@click.option("--only", multiple=True, metavar="NAME", help="Load this image alone. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@click.option("--retag", default="", metavar="REGISTRY/PREFIX", help="Load the images as REGISTRY/PREFIX/NAME:TAG.")
@format_option
@quiet_option
def command(
    files: tuple[Path, ...], into: str, only: tuple[str, ...], platform: str, retag: str, form: str, quiet: bool
) -> None:
    """Load a bundle into an engine while checking it. When anything is wrong, no image and no tag appears or changes.

    A delta takes what the engine lacks from its BASE. Of a bundle in parts, FILE is the name before ".001".
    """
    first, *bases = map(source, files)
    with Bar("loading", quiet) as bar:
        result = load(
            first,
            engine_called(into),
            bases=bases,
            only=only,
            platform=platform,
            retag=retag,
            progress=bar,
            ask=ask_for_medium(),
        )
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
