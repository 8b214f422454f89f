"""``fategen init``: a commented .env in this directory, and the files that it renders."""

from __future__ import annotations

from pathlib import Path

import click

from generator.config.settings import Settings
from generator.project import Project
from generator.workspace import create


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--release", metavar="VERSION", default=Settings.fate_version, help="The FATE release; default: 1.3.0.")
def command(directory: Path, release: str) -> None:
    """Write a commented .env into DIRECTORY (default: here) and render the project. An existing .env is kept."""
    workspace = create(Project(directory.resolve()), release)
    click.echo(f"wrote .env and {len(workspace.tree)} files for FATE {workspace.plan.release}")
    click.echo("next: review .env, run fategen render, commit the files, then run: fategen bake")
