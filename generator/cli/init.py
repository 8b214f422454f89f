"""``fategen init``: a commented .env in this directory, and the files that it renders."""

from __future__ import annotations

from pathlib import Path

import click

from generator.errors import EngineError, InputError, Problem
from generator.project import Project
from generator.settings import sample_env
from generator.tree import write, write_atomically
from generator.workspace import load

IGNORED = (".env.local", ".fategen/", "*.fate.tar", "*.fate.tar.*", "fategen-load.*")
"""What a project makes or keeps that is not for git: passwords, caches and logs, bundles."""


def _ignore(file: Path) -> None:
    """Adds to ``.gitignore`` what it lacks; what is there stays."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    missing = [line for line in IGNORED if line not in text.splitlines()]
    if missing:
        start = text if not text or text.endswith("\n") else text + "\n"
        write_atomically(file, start + "\n".join(missing) + "\n")


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
def command(directory: Path) -> None:
    """Write a commented .env into DIRECTORY (here by default), never over one, and render the project."""
    project = Project(directory.resolve())
    if project.env.exists() or project.env.is_symlink():
        raise InputError(
            Problem(str(directory / ".env"), "exists already; it was left as it is"),
            hint="edit it, then run: fategen render",
        )
    try:
        project.root.mkdir(parents=True, exist_ok=True)
        write_atomically(project.env, sample_env())
        _ignore(project.root / ".gitignore")
    except OSError as error:
        raise EngineError(f"cannot write {project.env}: {error.strerror}") from error
    workspace = load(project)
    write(workspace.drift(), project.root)
    click.echo(f"wrote .env and {len(workspace.tree)} files for FATE {workspace.plan.release}")
    click.echo("next: look at .env, commit what was written, then run: fategen bake")
