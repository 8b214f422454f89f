"""``fategen bundle verify``: check every byte of a bundle."""

from __future__ import annotations

from typing import Any

import click

from generator.cli.common import file_argument, format_option, quiet_option, signature_option
from generator.loader import commands


@click.command()
@file_argument
@signature_option
@format_option
@quiet_option
def command(**options: Any) -> None:
    """Check every byte of a bundle ("-": standard input) and list damaged ranges. Exit code 4: damaged or unsafe."""
    commands.verify(**options)
