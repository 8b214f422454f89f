"""``fategen bundle verify``: check every byte of a bundle."""

from __future__ import annotations

import time
from pathlib import Path

import click

from generator.bundle import report
from generator.bundle.reader import verify
from generator.bundle.signature import signature_check
from generator.cli.bundle.shared import file_argument, format_option, quiet_option, show, signature_option, source
from generator.progress import Bar


@click.command()
@file_argument
@signature_option
@format_option
@quiet_option
def command(file: Path, key: Path | None, output_format: str, quiet: bool) -> None:
    """Check every byte of a bundle ("-": standard input) and list damaged ranges. Exit code 4: damaged or unsafe."""
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        result = verify(source(file), approve=signature_check(key) if key else None, progress=bar)
    show(output_format, report.verified_json(result), report.verified(result, time.monotonic() - start))
