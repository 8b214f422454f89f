"""What the commands of ``fategen bundle`` share: the named sets of images, options, the file's argument."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.reader import stdin
from generator.images.image import Reads

if TYPE_CHECKING:
    from generator.plan.plan import Plan

GROUPS = {"fate": ("components",), "third-party": ("third-party",), "all": ("base", "components", "third-party")}
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
    help="Refuse a bundle without a good FILE.sig: an SSH public key, or an allowed_signers file.",
)
file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))

base_option = click.option(
    "--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
    help="Of a delta: the bundle that has the layers it leaves out. Repeatable.",
)  # fmt: skip
files_argument = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE [BASE]..."
)


def show(form: str, document: object, text: str) -> None:
    """Print a result as ``--format`` asks for it."""
    click.echo(json.dumps(document, indent=2) if form == "json" else text)


def groups_of(name: str, plan: Plan) -> tuple[str, ...]:
    """The groups of a bundle that the plan has: for some platforms there is no base-image, say."""
    available = {group.name for group in plan.groups}
    return tuple(group for group in GROUPS[name] if group in available)


def source(file: Path) -> Path | Reads:
    """A file, or standard input for "-"."""
    return stdin() if str(file) == "-" else file
