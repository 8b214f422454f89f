"""``fategen bundle verify``: every byte of a bundle."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from generator.bundle.check import verify
from generator.bundle.deep import MAX_RATIO
from generator.bundle.foreign.recognise import recognise
from generator.bundle.model import short_root
from generator.bundle.report import as_json, leaning
from generator.cli.bundle import foreign
from generator.cli.bundle.shared import file_argument, format_option, quiet_option, source
from generator.cli.medium import ask_for_medium
from generator.cli.terminal import Bar
from generator.text import human


@click.command()
@file_argument
@click.option("--deep", is_flag=True, help="Unpack the layers as well, and hold them against their diff ids.")
@click.option("--max-ratio", type=click.IntRange(min=1), default=MAX_RATIO, show_default=True, metavar="N",
              help="With --deep: a layer may unpack to N times its size.")  # fmt: skip
@format_option
@quiet_option
def command(file: Path, deep: bool, max_ratio: int, form: str, quiet: bool) -> None:
    """Check every byte of a bundle, and name every damaged place. Exit code 4: damaged or unsafe.

    Of another tool's archive: every file by the digest that it is named by, or by the diff id in its image's config.
    """
    start = time.monotonic()
    with recognise(source(file)) as found:
        if found.bundle is None:
            foreign.check(found, form, quiet)
            return
        with Bar("checking", quiet) as bar:
            result = verify(found.bundle, max_ratio=max_ratio * deep, progress=bar, ask=ask_for_medium())
    if form == "json":
        click.echo(json.dumps({**as_json(result.index, result.size), "blobs": result.blobs, "whole": True}, indent=2))
        return
    seconds = time.monotonic() - start
    images = len(result.index.images)
    click.echo(
        f"{result.path} is whole: {images} image{'s' * (images > 1)}, {result.blobs} blobs, {human(result.size)}, "
        f"{seconds:.1f} s\nroot digest {short_root(result.index.root)}: compare it with the sender's"
    )
    if result.index.bases:
        click.echo(leaning(result.index))
