"""``fategen bundle``: one file that delivers images to an air-gapped site. save and push are modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generator.cli.common import LazyGroup, format_option, quiet_option, signature_option

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
_file = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))


@click.group(cls=LazyGroup, package="generator.cli.bundle", commands=COMMANDS, others=OTHERS)
def command() -> None:
    """Deliver images to an air-gapped site in one file, verified byte for byte. Plain docker load reads it too."""


@command.command("inspect")
@_file
@click.option("--file", "name", default="", metavar="NAME", help="Write this small file of the bundle to stdout.")
@format_option
def _inspect(**options: Any) -> None:
    """List the contents of a bundle ("-": standard input). Only its first bytes are read; verify checks the rest."""
    from generator.loader import commands

    commands.inspect(**options)


@command.command("verify")
@_file
@signature_option
@format_option
@quiet_option
def _verify(**options: Any) -> None:
    """Check every byte of a bundle ("-": standard input) and list damaged ranges. Exit code 4: damaged or unsafe."""
    from generator.loader import commands

    commands.verify(**options)


@command.command("load")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE [BASE]..."
)
@click.option("--into", default="docker", show_default=True, metavar="ENGINE",
              help="docker, podman, containerd or containerd:NAMESPACE.")  # fmt: skip
@click.option("--image", "only", multiple=True, metavar="NAME", help="Load only this image. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@click.option("--retag", default="", metavar="REGISTRY/PREFIX", help="Load the images as REGISTRY/PREFIX/NAME:TAG.")
@signature_option
@format_option
@quiet_option
def _load(files: tuple[Path, ...], **options: Any) -> None:
    """Check a bundle and load it into an engine. If anything is wrong, no image and no tag appears or changes.

    BASE has the layers of a delta bundle that the engine lacks. For a split bundle: cat FILE.* | fategen bundle load -
    """
    from generator.loader import commands

    commands.load(files[0], files[1:], **options)


@command.command("sign")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY",
              help="An SSH private key, or the public key of one in an agent.")  # fmt: skip
def _sign(file: Path, key: Path) -> None:
    """Write FILE.sig: a signature of the bundle index, and with it of every name, tag and byte.

    ssh-keygen makes the signature. --require-signature of verify, load and push checks it.
    """
    from generator.bundle.index import short_root
    from generator.bundle.signature import SUFFIX, sign

    index = sign(file, key)
    count = f"{len(index.images)} image{'s' if len(index.images) != 1 else ''}"
    click.echo(f"{file}{SUFFIX}  {count}, root digest {short_root(index.root)}")


@command.command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@format_option
def _diff(old: Path, new: Path, output_format: str) -> None:
    """Show what NEW has that OLD does not: images, and the size of a delta bundle (save --base OLD).

    Images of the same repository are compared whatever their tags, if each bundle has one. WAS is the old tag.
    """
    from generator.bundle.diff import diff
    from generator.bundle.reader import inspect
    from generator.stdio import show

    difference = diff(inspect(old).index, inspect(new).index)
    show(output_format, difference.as_json(), difference.as_text())
