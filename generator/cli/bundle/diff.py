"""``fategen bundle diff``: what one bundle has that another has not."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle.diff import diff
from generator.bundle.reader import inspect
from generator.cli.bundle.shared import format_option, show


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@format_option
def command(old: Path, new: Path, form: str) -> None:
    """Tell what of NEW is not in OLD: the images, and the bytes that a delta (save --base OLD) would carry.

    Where a repository has one image in each, those two are compared, whatever their tags: WAS is the old one.
    """
    difference = diff(inspect(old).index, inspect(new).index)
    show(form, difference.as_json(), difference.as_text())
