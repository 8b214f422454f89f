"""``fategen bundle verify``: every byte of a bundle."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from generator.bundle.check import verify
from generator.bundle.model import short_root
from generator.bundle.report import as_json
from generator.cli.bundle.shared import file_argument, format_option, quiet_option, source
from generator.cli.terminal import Bar
from generator.text import human


@click.command()
@file_argument
@format_option
@quiet_option
def command(file: Path, form: str, quiet: bool) -> None:
    """Check every byte of a bundle, and name every damaged place. Exit code 4: damaged or unsafe."""
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        result = verify(source(file), progress=bar)
    if form == "json":
        click.echo(json.dumps({**as_json(result.index, result.size), "blobs": result.blobs, "whole": True}, indent=2))
        return
    seconds = time.monotonic() - start
    images = len(result.index.images)
    click.echo(
        f"{result.path} is whole: {images} image{'s' * (images > 1)}, {result.blobs} blobs, {human(result.size)}, "
        f"{seconds:.1f} s\nroot digest {short_root(result.index.root)}: compare it with the sender's"
    )
