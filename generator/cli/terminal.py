"""What the commands show on stderr: messages, and bake's picture where it is a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from generator.terminal import is_live, size, write

if TYPE_CHECKING:
    from generator.bake import Job
    from generator.bake.progress import View


def say(text: str) -> None:
    click.echo(text, err=True)


def progress_view(job: Job, *, quiet: bool = False, verbose: bool = False) -> View:
    """The view that fits: a picture on a terminal, lines elsewhere and with ``-v``, nothing with ``-q``."""
    from generator.bake.live import LiveView
    from generator.bake.progress import PlainView, View

    if quiet:
        return View()
    if is_live() and not verbose:
        colour = not os.environ.get("NO_COLOR")  # no-color.org
        return LiveView(job, write, size=size, colour=colour, keep=not sys.stdout.isatty())
    return PlainView(job, say, verbose=verbose)
