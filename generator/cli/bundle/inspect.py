"""``fategen bundle inspect``: the contents of a bundle."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from generator.bundle import report
from generator.bundle.reader import extract, inspect
from generator.cli.bundle.shared import file_argument, format_option, show, source
from generator.progress import say


@click.command()
@file_argument
@click.option("--file", "name", default="", metavar="NAME", help="Write this small file of the bundle to stdout.")
@format_option
def command(file: Path, name: str, output_format: str) -> None:
    """List the contents of a bundle ("-": standard input). Only its first bytes are read; verify checks the rest."""
    if name:
        sys.stdout.buffer.write(extract(source(file), name))
        return
    inspection = inspect(source(file))
    show(output_format, report.bundle_json(inspection.index, inspection.size), report.inspected(inspection))
    if warning := report.inspected_warning(inspection):
        say(warning)
