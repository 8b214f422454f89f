"""``fategen bundle diff``: what one bundle has that another has not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.bundle.check import inspect
from generator.bundle.diff import diff
from generator.cli.bundle.shared import format_option
from generator.text import human, table


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@format_option
def command(old: Path, new: Path, form: str) -> None:
    """Tell what of NEW is not in OLD: the images, and the bytes that a delta (save --base OLD) would carry.

    Where a repository has one image in each, those two are compared, whatever their tags: WAS is the old one.
    """
    found = diff(inspect(old).index, inspect(new).index)
    if form == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
        return
    click.echo(table(("IMAGE", "WAS", "", ">BLOBS", ">BYTES"), found.rows()))
    carried = f"{found.blobs} of {found.all_blobs} blobs, {human(found.size)} of {human(found.all_size)}"
    click.echo(f"\na delta carries {carried}")
