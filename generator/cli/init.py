"""``fategen init``: a commented .env in this directory, and the files that it renders."""

from __future__ import annotations

from pathlib import Path

import click

from generator.config import values
from generator.config.settings import Settings, key_of, sample_env
from generator.errors import EngineError, InputError, Problem
from generator.files import write_atomically
from generator.project import Project
from generator.render.tree import write
from generator.workspace import load, load_line

IGNORED = (b".env.local", b".fategen/", b"*.fate.tar", b"*.fate.tar.*", b"fategen-load.*")
"""What a project makes or keeps that is not for git: passwords, caches and logs, bundles."""


def _ignore(file: Path) -> None:
    """Adds to ``.gitignore`` what it lacks; what is there stays."""
    text = file.read_bytes() if file.exists() else b""
    end = b"\r\n" if b"\r\n" in text else b"\n"
    missing = [line for line in IGNORED if line not in text.splitlines()]
    if missing:
        start = text if not text or text.endswith(b"\n") else text + end
        write_atomically(file, start + end.join(missing) + end)


def _sample(project: Project, release: str) -> str:
    """The ``.env`` of a release, with the keys that its line has."""
    try:
        values.version(release)
    except ValueError as error:
        raise InputError(Problem("--release", str(error))) from error
    line = load_line(project, release, "--release")
    known = [known.version for known in line.releases]
    if release not in known:
        raise InputError(
            Problem("--release", f"{release} is unknown; there is {', '.join(known)}"),
            hint="take one of them; docs/new-image.md adds another to a project",
        )
    having = [key_of(source.name, "_SOURCE") for source in line.sources]
    having += [key_of(name, "_IMAGE") for name in line.upstream_images]
    return sample_env(having, BASE_TAG=f"{release}-release", TAG=f"{release}-release", FATE_VERSION=release)


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--release", metavar="VERSION", default=Settings.fate_version, help="Of FATE; default: 1.3.0.")
def command(directory: Path, release: str) -> None:
    """Write a commented .env into DIRECTORY (here by default), never over one, and render the project."""
    project = Project(directory.resolve())
    if project.env.exists() or project.env.is_symlink():
        raise InputError(
            Problem(str(directory / ".env"), "exists already; it was left as it is"),
            hint="edit it, then run: fategen render",
        )
    text = _sample(project, release)
    try:
        project.root.mkdir(parents=True, exist_ok=True)
        _ignore(project.root / ".gitignore")
        write_atomically(project.env, text)
    except OSError as error:
        raise EngineError(f"cannot write .env and .gitignore into {project.root}: {error.strerror}") from error
    try:
        workspace = load(project)
        write(workspace.drift(), project.root)
    except BaseException:
        # the next init begins anew
        project.env.unlink(missing_ok=True)
        raise
    click.echo(f"wrote .env and {len(workspace.tree)} files for FATE {workspace.plan.release}")
    click.echo("next: look at .env, commit what was written, then run: fategen bake")
