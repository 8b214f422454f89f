"""``fategen override``: copy packaged templates and catalogues into the project."""

from __future__ import annotations

from pathlib import Path

import click

from generator.cli.common import directory_option, open_project
from generator.cli.complete import packaged
from generator.render.overrides import Packaged, copy, packaged_files
from generator.text import table
from generator.workspace import load_line, load_settings


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE|IMAGE]...", shell_complete=packaged)
@directory_option
def command(files: tuple[str, ...], directory: Path) -> None:
    """Copy packaged templates and catalogues into the project, to edit them. Without FILE, list them.

    A project's own files take precedence over the packaged ones, file by file. An image's name means its template. A
    file that exists is never overwritten.
    """
    project = open_project(directory)
    settings, _ = load_settings(project, local=False)
    known = packaged_files(project, load_line(project, settings.fate_version, settings.where("FATE_VERSION")))
    if not files:
        click.echo(table(("FILE", "WHOSE", "IMAGES"), [(f.name, f.state, " ".join(f.images)) for f in known]))
        return
    for file in copy(project, known, files):
        click.echo(f"copied {file.name}{_rendered(file)}")
    click.echo("next: edit it; fategen render --diff shows what that changes")


def _rendered(file: Packaged) -> str:
    return f", for {', '.join(file.images)}" if file.images else ""
