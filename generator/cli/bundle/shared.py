"""What the commands of ``fategen bundle`` share: the named sets of images, options, the table of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from generator.bundle.archive import Reads
from generator.bundle.check import stdin
from generator.bundle.model import BundleIndex
from generator.bundle.report import rows
from generator.table import table

GROUPS = {"fate": ("components",), "third-party": ("third-party",), "all": ("components", "third-party")}
"""The bundles that have names, and the plan's groups in them."""

HEAD = ("IMAGE", "PLATFORMS", ">SIZE", ">ITS OWN", ">SHARED")
"""The columns of what a bundle or another archive holds."""

format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
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


def images_table(index: BundleIndex) -> str:
    return table(HEAD, rows(index))
