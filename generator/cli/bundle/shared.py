"""What the commands of ``fategen bundle`` share: options, the file's argument."""

from __future__ import annotations

from pathlib import Path

import click

format_option = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
signature_option = click.option(
    "--require-signature",
    "key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Refuse a bundle that is not signed by this key: an SSH public key or an allowed_signers file.",
)
file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True))

base_option = click.option(
    "--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
    help="For a delta bundle: its base bundle. Repeatable.",
)  # fmt: skip
