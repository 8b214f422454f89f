"""``fategen bundle diff``: what one bundle has that another does not."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle.diff import diff
from generator.bundle.reader import inspect
from generator.cli.common import format_option
from generator.loader.commands import show


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@format_option
def command(old: Path, new: Path, output_format: str) -> None:
    """Show what NEW has that OLD does not: images, and the size of a delta bundle (save --base OLD).

    Images of the same repository are compared whatever their tags, if each bundle has one. WAS is the old tag.
    """
    difference = diff(inspect(old).index, inspect(new).index)
    show(output_format, difference.as_json(), difference.as_text())
