"""``fategen bundle inspect``: the contents of a bundle."""

from __future__ import annotations

from typing import Any

import click

from generator.cli.common import file_argument, format_option
from generator.loader import commands


@click.command()
@file_argument
@click.option("--file", "name", default="", metavar="NAME", help="Write this small file of the bundle to stdout.")
@format_option
def command(**options: Any) -> None:
    """List the contents of a bundle ("-": standard input). Only its first bytes are read; verify checks the rest."""
    commands.inspect(**options)
