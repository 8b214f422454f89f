"""``fategen bundle push``: a bundle into a registry on the inside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from generator.cli.bundle.shared import base_option, format_option, quiet_option, signature_option
from generator.errors import InputError, Problem
from generator.table import table
from generator.terminal import Bar
from generator.text import human


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("prefix", metavar="REGISTRY/PREFIX")
@base_option
@click.option("--only", multiple=True, metavar="NAME", help="Push this image alone. Repeatable.")
@signature_option
@format_option
@quiet_option
def command(
    file: Path,
    prefix: str,
    bases: tuple[Path, ...],
    only: tuple[str, ...],
    key: Path | None,
    form: str,
    quiet: bool,
) -> None:
    """Push a bundle's images to REGISTRY/PREFIX/NAME:TAG, with the digests that they have in the bundle.

    Logins are docker's (docker login). What the registry has is not sent; after an error, the same command goes on.
    """
    from generator.bundle.blobs import open_blobs
    from generator.bundle.push import push
    from generator.bundle.signature import required
    from generator.reference import check_prefix, parse_reference
    from generator.registry.connect import access_to, host_of

    try:
        check_prefix(prefix)
        reference = parse_reference(f"{prefix}/image")
    except ValueError as error:
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}": {error}')) from None
    if not reference.domain:
        message = f'"{prefix}" names no registry'
        hint = f"such as 10.0.0.5:8443/{prefix}, or docker.io/{prefix}"
        raise InputError(Problem("REGISTRY/PREFIX", message), hint=hint)
    approve = required(key) if key else None
    with open_blobs(file, bases) as blobs, Bar("pushing", quiet) as bar:
        if approve:
            approve(blobs.index, blobs.name)
        access = access_to(host_of(reference), os.environ)
        pushed = push(blobs, prefix, access, only=only, progress=bar)
    if form == "json":
        rows = [
            {"references": i.references, "digest": i.digest, "platforms": i.platforms, "state": i.state, "sent": i.sent}
            for i in pushed
        ]
        click.echo(json.dumps({"root": blobs.index.root, "images": rows}, indent=2))
        return
    lines: list[tuple[str, ...]] = []
    for image in pushed:
        first, *others = image.references
        lines.append((first, " ".join(image.platforms), image.digest, image.state, human(image.sent)))
        lines += [(name, "", "", "", "") for name in others]
    click.echo(table(("IMAGE", "PLATFORMS", "DIGEST", "", ">SENT"), lines))
