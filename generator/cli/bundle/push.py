"""``fategen bundle push``: push a bundle into a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generator.cli.common import format_option, quiet_option, signature_option
from generator.progress import Bar
from generator.project import state_directory
from generator.stdio import show
from generator.text import human, short_digest, table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("prefix", metavar="REGISTRY/PREFIX")
@click.option("--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
              help="For a delta bundle: its base bundle. Repeatable.")  # fmt: skip
@click.option("--image", "only", multiple=True, metavar="NAME", help="Push only this image. Repeatable.")
@click.option("--overwrite", is_flag=True, help="Move tags that point to other images.")
@signature_option
@format_option
@quiet_option
def command(file: Path, prefix: str, output_format: str, quiet: bool, **options: Any) -> None:
    """Check a bundle and push its images to REGISTRY/PREFIX/NAME:TAG, with the same digests.

    Every tag is written, or none, after everything is uploaded. Logins are Docker's (docker login). Blobs in the
    registry are not sent again: after an error, run the command again.
    """
    from generator.bundle.push import push
    from generator.config.reference import below

    with Bar("checking", quiet) as checking, Bar("pushing", quiet) as bar:
        root, pushed = push(file, prefix, **options, checking=checking, progress=bar, state=state_directory())
    images: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    for p in pushed:
        names = [f"{prefix}/{below(prefix, p.publication.path)}:{tag}" for tag in p.publication.tags]
        digest, platforms = p.publication.target.digest, p.publication.contents.platforms
        images.append({"references": names, "digest": digest, "platforms": platforms, "state": p.state, "sent": p.sent})
        rows.append((names[0], " ".join(platforms), short_digest(digest), p.state, human(p.sent)))
        rows += [(name, "", "", "", "") for name in names[1:]]
    document = {"root": root, "images": images}
    show(output_format, document, table(("IMAGE", "PLATFORMS", "DIGEST", "", ">SENT"), rows))
