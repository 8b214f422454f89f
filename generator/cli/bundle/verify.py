"""``fategen bundle verify``: every byte of a bundle."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from generator.bundle.check import verify
from generator.bundle.foreign.recognise import recognise
from generator.bundle.format.deep import MAX_RATIO
from generator.bundle.report import whole, whole_json
from generator.bundle.signature import required
from generator.cli.bundle import foreign
from generator.cli.bundle.shared import file_argument, format_option, quiet_option, signature_option, source
from generator.medium import ask_for_medium
from generator.progress import Bar


@click.command()
@file_argument
@click.option("--deep", is_flag=True, help="Unpack the layers as well, and hold them against their diff ids.")
@click.option("--max-ratio", type=click.IntRange(min=1), default=MAX_RATIO, show_default=True, metavar="N",
              help="With --deep: a layer may unpack to N times its size.")  # fmt: skip
@signature_option
@format_option
@quiet_option
def command(file: Path, deep: bool, max_ratio: int, key: Path | None, form: str, quiet: bool) -> None:
    """Check every byte of a bundle, and name every damaged place. Exit code 4: damaged or unsafe.

    Of another tool's archive: every file by the digest that it is named by, or by the diff id in its image's config.
    """
    start = time.monotonic()
    approve = required(key) if key else None
    with recognise(source(file)) as found:
        if found.bundle is None:
            foreign.check(found, form, quiet, signed=key is not None)
            return
        if found.packed:
            click.echo(f"note: {found.packed}", err=True)
        with Bar("checking", quiet) as bar:
            result = verify(
                found.bundle, approve=approve, max_ratio=max_ratio * deep, progress=bar, ask=ask_for_medium()
            )
    if form == "json":
        click.echo(json.dumps(whole_json(result), indent=2))
    else:
        click.echo(whole(result, time.monotonic() - start))
