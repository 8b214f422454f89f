"""``fategen bundle sign``: sign a bundle with an SSH key."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle.index import short_root
from generator.bundle.signature import SUFFIX, sign


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY",
              help="An SSH private key, or the public key of one in an agent.")  # fmt: skip
def command(file: Path, key: Path) -> None:
    """Write FILE.sig: a signature of the bundle index, and with it of every name, tag and byte.

    ssh-keygen makes the signature. --require-signature of verify, load and push checks it.
    """
    index = sign(file, key)
    click.echo(f"{file}{SUFFIX}  {len(index.images)} images, root digest {short_root(index.root)}")
