"""``fategen override``: copy packaged templates and catalogues into the project."""

from __future__ import annotations

from pathlib import Path

import click

from generator.cli.common import complete_images, directory_option, open_project
from generator.render.overrides import copy, packaged_files
from generator.text import WIDTH, table
from generator.workspace import load_settings_and_line


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE|IMAGE]...", shell_complete=complete_images)
@directory_option
def command(files: tuple[str, ...], directory: Path) -> None:
    """Copy packaged templates and catalogues into the project for editing. Without FILE, list them.

    A project's own files take precedence over the packaged ones, file by file. An image's name selects its template.
    Existing files are never overwritten.
    """
    project = open_project(directory)
    _, line = load_settings_and_line(project)
    known = packaged_files(project, line)
    if not files:
        click.echo(table(("FILE", "WHOSE", "IMAGES"), [(f.name, f.state, " ".join(f.images)) for f in known], WIDTH))
        return
    for file in copy(project, known, files):
        click.echo(f"copied {file.name}" + (f", for {', '.join(file.images)}" if file.images else ""))
    click.echo("next: edit it; fategen render --diff shows what that changes")
