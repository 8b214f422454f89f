"""``fategen init``: a commented .env in this directory, and the files that it renders; a family of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from generator.config.env import parse_settings
from generator.errors import InputError, Problem
from generator.plan.plan import make_plan
from generator.project import Project
from generator.text import WIDTH, table
from generator.workspace import all_lines, create

LIST = "?"


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option(
    "--release",
    metavar="[VERSION]",
    default="",
    is_flag=False,
    flag_value=LIST,
    help="The release; without VERSION, list all releases.",
)
@click.option("--family", metavar="NAME",
              help="Start your own image family: also write a catalogue, templates and sources.")  # fmt: skip
def command(directory: Path, release: str, family: str | None) -> None:
    """Write a commented .env into DIRECTORY (default: the current one) and render the project.

    Fails if there is an .env already.
    """
    project = Project(directory.resolve())
    if release == LIST:
        click.echo(table(("LINE", "RELEASES", "PLATFORMS", "IMAGES"), [*_rows(project)], WIDTH))
        return
    if family is not None and not family.strip():
        raise InputError(Problem("--family", "the family needs a name, such as Greetings"))
    workspace = create(project, release, family or "")
    rendered = f"{len(workspace.tree)} files for {workspace.plan.title}"
    if family:
        click.echo(f"wrote .env, catalogue/, templates/ and app/, and rendered {rendered}")
        click.echo("next: put your images into catalogue/, templates/ and app/, run fategen render, then: fategen bake")
    else:
        click.echo(f"wrote .env and {rendered}")
        there = "" if project.root == Path().resolve() else f"cd {shlex.quote(str(directory))}, "
        click.echo(f"next: {there}review .env, run fategen render, commit the files, then run: fategen bake")


def _rows(project: Project) -> Iterator[tuple[str, str, str, str]]:
    """Of each line its releases, and its images by their platforms."""
    for line in all_lines(project):
        release = line.releases[-1].version
        settings, _ = parse_settings(line.keys.sample_env(**{line.family.version_key: release}), line.keys)
        images: dict[str, list[str]] = {}
        for target in make_plan(settings, line).targets:
            if target.is_pushed:
                images.setdefault(" ".join(target.platforms), []).append(target.name)
        cells = [line.name, " ".join(release.version for release in line.releases)]
        for platforms, names in images.items():
            yield cells[0], cells[1], platforms, " ".join(names)
            cells = ["", ""]
