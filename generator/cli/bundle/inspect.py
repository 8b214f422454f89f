"""``fategen bundle inspect``: what a bundle holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from generator.bundle.check import inspect
from generator.bundle.extract import extract
from generator.bundle.format.damage import not_whole
from generator.bundle.report import as_json, images_table, leaning, summary
from generator.cli.bundle.shared import file_argument, format_option, source


@click.command()
@file_argument
@click.option("--file", "name", default="", metavar="NAME", help="Write this small file of the bundle to stdout.")
@format_option
def command(file: Path, name: str, form: str) -> None:
    """List what a bundle holds, from its first bytes alone ("-": from a pipe); the rest is for verify to check."""
    if name:
        sys.stdout.buffer.write(extract(source(file), name))
        return
    found = inspect(source(file))
    if form == "json":
        click.echo(json.dumps(as_json(found.index, found.size), indent=2))
    else:
        click.echo(images_table(found.index))
        click.echo(f"\n{summary(found.index.name, found.index, found.size)}\nin full {found.index.root}")
        if found.index.bases:
            click.echo(leaning(found.index))
    if found.file_size not in (None, found.size):
        click.echo(f"warning: {not_whole(found.name, found.file_size or 0, found.size)}", err=True)
