"""``fategen bundle convert``: another tool's archive as a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.foreign.convert import convert
from generator.bundle.foreign.recognise import recognise
from generator.bundle.report import as_json, images_table, summary
from generator.cli.bundle.shared import file_argument, format_option, layers_option, quiet_option, source
from generator.errors import InputError, Problem
from generator.progress import Bar

if TYPE_CHECKING:
    from generator.images.oci import Layers


@click.command()
@file_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUT", help="The bundle.")
@layers_option("As they are, or all anew in one form, with new manifests: the bundle then depends on the images alone.")
@click.option("--as", "rename", multiple=True, metavar="[DIGEST=]NAME",
              help="The name of the only image, or of the one whose digest begins so. Repeatable.")  # fmt: skip
@click.option("--name", default="", metavar="NAME", help="The bundle's name; default: the file's, without .fate.tar.")
@format_option
@quiet_option
def command(
    file: Path, output: Path, layers: Layers, rename: tuple[str, ...], name: str, form: str, quiet: bool
) -> None:
    """Make a bundle of another tool's archive, compressed or not, from a pipe too ("-"), or of an OCI layout directory.

    It is checked as verify does it: docker save of any version, podman save, skopeo, crane, buildx.
    """
    with recognise(source(file)) as found, Bar("reading", quiet) as reading, Bar("saving", quiet) as saving:
        if found.bundle is not None:
            raise InputError(Problem(found.name, "it is a bundle already"), hint=f"fategen bundle inspect {file}")
        if file.resolve() == output.resolve():
            raise InputError(Problem("-o", f"{output} is what is read"), hint="-o names another file")
        result = convert(found, output, name=name, layers=layers, rename=rename, reading=reading, saving=saving)
    if form == "json":
        extra = {"file": str(result.path), "sha256": result.sha256}
        click.echo(json.dumps({**extra, **as_json(result.index, result.size)}, indent=2))
        return
    click.echo(images_table(result.index))
    click.echo(f"\n{summary(str(result.path), result.index, result.size)}")
    click.echo(f"sha256 {result.sha256}  (in {result.path.name}.sha256)")
