"""``fategen bundle load``: check a bundle and load it into an engine."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle import report
from generator.bundle.engines import engine_from_name
from generator.bundle.load import load
from generator.bundle.signature import signature_check
from generator.cli.bundle.shared import files_argument, format_option, quiet_option, show, signature_option, source
from generator.progress import Bar


@click.command()
@files_argument
@click.option("--into", default="docker", show_default=True, metavar="ENGINE",
              help="docker, podman, containerd or containerd:NAMESPACE.")  # fmt: skip
@click.option("--only", multiple=True, metavar="NAME", help="Load only this image. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@click.option("--retag", default="", metavar="REGISTRY/PREFIX", help="Load the images as REGISTRY/PREFIX/NAME:TAG.")
@signature_option
@format_option
@quiet_option
def command(
    files: tuple[Path, ...],
    into: str,
    only: tuple[str, ...],
    platform: str,
    retag: str,
    key: Path | None,
    output_format: str,
    quiet: bool,
) -> None:
    """Check a bundle and load it into an engine. If anything is wrong, no image and no tag appears or changes.

    BASE has the layers of a delta bundle that the engine lacks. For a split bundle: cat FILE.* | fategen bundle load -
    """
    approve = signature_check(key) if key else None
    first, *bases = map(source, files)
    with Bar("loading", quiet) as bar:
        result = load(
            first,
            engine_from_name(into),
            bases=bases,
            only=only,
            platform=platform,
            retag=retag,
            approve=approve,
            progress=bar,
        )
    show(output_format, report.loaded_json(result), report.loaded(result))
