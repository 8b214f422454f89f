"""What the commands of ``fategen bundle`` share: the named sets of images, options, the file's argument."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle.archive import Reads
from generator.bundle.check import stdin

GROUPS = {"fate": ("components",), "third-party": ("third-party",), "all": ("components", "third-party")}
"""The bundles that have names, and the plan's groups in them."""

format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
signature_option = click.option(
    "--require-signature",
    "key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Refuse a bundle without a good FILE.sig: a public key, an allowed_signers file, or cosign.pub.",
)
file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))

base_option = click.option(
    "--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
    help="Of a delta: the bundle that has the layers it leaves out. Repeatable.",
)  # fmt: skip
files_argument = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE [BASE]..."
)


def source(file: Path) -> Path | Reads:
    """A file, or standard input for "-"."""
    return stdin() if str(file) == "-" else file
