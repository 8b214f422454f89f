"""``fategen bundle load``: check a bundle and load it into an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generator.cli.common import format_option, quiet_option, signature_option
from generator.loader import commands


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE [BASE]..."
)
@click.option("--into", default="docker", show_default=True, metavar="ENGINE",
              help="docker, podman, containerd or containerd:NAMESPACE.")  # fmt: skip
@click.option("--image", "only", multiple=True, metavar="NAME", help="Load only this image. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@click.option("--retag", default="", metavar="REGISTRY/PREFIX", help="Load the images as REGISTRY/PREFIX/NAME:TAG.")
@signature_option
@format_option
@quiet_option
def command(files: tuple[Path, ...], **options: Any) -> None:
    """Check a bundle and load it into an engine. If anything is wrong, no image and no tag appears or changes.

    BASE has the layers of a delta bundle that the engine lacks. For a split bundle: cat FILE.* | fategen bundle load -
    """
    commands.load(files[0], files[1:], **options)
