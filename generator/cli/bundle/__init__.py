"""``fategen bundle``: one file that delivers images to an air-gapped site. save is a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from generator.cli.common import LazyGroup, format_option, quiet_option, signature_option
from generator.progress import Bar
from generator.project import state_directory
from generator.stdio import show
from generator.text import human, replaced_line, short_digest, table

COMMANDS = {
    "save": "write a set of images into one file",
    "inspect": "list the contents of a bundle",
    "verify": "check every byte and list every damaged range",
    "sign": "sign a bundle's index, which covers every byte",
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
@click.option("--file", "name", default="", metavar="NAME", help="Write this file from the bundle to standard output.")
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
    """Check a bundle and load it into an engine. If anything is wrong, no image or tag appears or changes.

    For a delta bundle, BASE has the layers that the engine lacks. For a split bundle: cat FILE.* | fategen bundle load
    -
    """
    from generator.loader import commands

    commands.load(files[0], files[1:], **options)


@command.command("sign")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), metavar="KEY",
              help="An SSH private key, or the public key of one in an agent.")  # fmt: skip
def _sign(file: Path, key: Path) -> None:
    """Write FILE.sig, a signature of the bundle index. It covers every name, tag and byte.

    ssh-keygen creates the signature. To check it, pass --require-signature to verify, load or push.
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
    """Show the images in NEW that OLD lacks, and the size of a delta bundle (save --base OLD).

    If each bundle has one image of a repository, the two are compared even if their tags differ. WAS is the old tag.
    """
    from generator.bundle.diff import diff
    from generator.bundle.reader import inspect

    difference = diff(inspect(old).index, inspect(new).index)
    show(output_format, difference.as_json(), difference.as_text())


@command.command("push")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("prefix", metavar="REGISTRY/PREFIX")
@click.option("--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
              help="For a delta bundle: its base bundle. Repeatable.")  # fmt: skip
@click.option("--image", "only", multiple=True, metavar="NAME", help="Push only this image. Repeatable.")
@click.option("--overwrite", is_flag=True, help="Move tags that point to other images.")
@signature_option
@format_option
@quiet_option
def _push(file: Path, prefix: str, output_format: str, quiet: bool, **options: Any) -> None:
    """Check a bundle and push its images to REGISTRY/PREFIX/NAME:TAG, with the same digests.

    After everything is uploaded, push writes all tags or none. It uses Docker's logins (docker login) and does not send
    blobs that the registry has: after an error, run the command again.
    """
    from generator.bundle.push import push
    from generator.config.reference import below

    with Bar("checking", quiet) as checking, Bar("pushing", quiet) as bar:
        root, pushed = push(file, prefix, **options, checking=checking, progress=bar, state=state_directory())
    images: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    for p in pushed:
        names = [f"{prefix}/{below(prefix, p.publication.path)}:{tag}" for tag in p.publication.tags]
        digest, platforms = p.publication.target.digest, p.publication.contents.platforms
        known = {"platforms": platforms, "state": p.state, "sent": p.sent, "replaced": p.replaced or None}
        images.append({"references": names, "digest": digest, **known})
        rows.append((names[0], " ".join(platforms), short_digest(digest), p.state, human(p.sent)))
        rows += [(name, "", "", "", "") for name in names[1:]]
    text = table(("IMAGE", "PLATFORMS", "DIGEST", "", ">SENT"), rows)
    replaced = replaced_line((p.publication.path, p.replaced) for p in pushed)
    show(output_format, {"root": root, "images": images}, f"{text}\n{replaced}".rstrip())
