"""``fategen bundle``: one file that delivers images to an air-gapped site."""

from __future__ import annotations

import click

from generator.cli.common import LazyGroup

COMMANDS = {
    "save": "write a set of images into one file",
    "inspect": "list the contents of a bundle",
    "verify": "check every byte and list every damaged range",
    "sign": "sign a bundle's index, and with it every byte",
    "diff": "show what a delta bundle would contain",
    "load": "check a bundle and load it into an engine",
    "push": "push a bundle into a registry, with the same digests",
}
OTHERS = {"build": "save", "create": "save", "import": "load", "list": "inspect", "ls": "inspect", "check": "verify"}


@click.group(cls=LazyGroup, package="generator.cli.bundle", commands=COMMANDS, others=OTHERS)
def command() -> None:
    """Deliver images to an air-gapped site in one file, verified byte for byte. Plain docker load reads it too."""
