"""``fategen bundle``: one file that carries images to a site without internet, and loads there."""

from __future__ import annotations

import click

from generator.cli.common import LazyGroup

COMMANDS = {
    "save": "write a set of images into one file",
    "inspect": "list what it holds",
    "verify": "check every byte, and name every damaged place",
    "sign": "sign a bundle's index, and with it every byte",
    "diff": "tell what of a bundle another one has not",
    "load": "load it into an engine while checking it",
    "push": "push it into a registry, digests kept",
}


@click.group(cls=LazyGroup, package="generator.cli.bundle", commands=COMMANDS)
def command() -> None:
    """Carry images to a site without internet: one file, checked byte for byte, that plain docker load takes too."""
