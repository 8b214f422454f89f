"""``fategen bundle push``: a bundle into a registry on the inside."""

from __future__ import annotations

import json
from pathlib import Path

import click

from generator.cli.bundle.shared import base_option, format_option, quiet_option, signature_option
from generator.progress import Bar


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("prefix", metavar="REGISTRY/PREFIX")
@base_option
@click.option("--only", multiple=True, metavar="NAME", help="Push this image alone. Repeatable.")
@click.option("--replace", is_flag=True, help="Also names that have platforms there which the bundle lacks.")
@signature_option
@format_option
@quiet_option
def command(
    file: Path,
    prefix: str,
    bases: tuple[Path, ...],
    only: tuple[str, ...],
    replace: bool,
    key: Path | None,
    form: str,
    quiet: bool,
) -> None:
    """Push a bundle's images to REGISTRY/PREFIX/NAME:TAG, with the digests that they have in the bundle.

    Logins are docker's (docker login). What the registry has is not sent; after an error, the same command goes on.
    """
    from generator.bundle.pushing import push_file, pushed_json, pushed_table

    with Bar("pushing", quiet) as bar:
        pushed = push_file(file, prefix, bases=bases, only=only, key=key, replace=replace, progress=bar)
    click.echo(json.dumps(pushed_json(pushed), indent=2) if form == "json" else pushed_table(pushed))
