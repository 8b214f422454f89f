"""Reads a project's files and gives its plan and its tree: what every command works on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from generator.catalogue.line import Line, parse_line
from generator.config.env import parse_settings
from generator.config.settings import Settings
from generator.errors import InputError, Problem
from generator.plan.plan import Plan
from generator.plan.planner import make_plan
from generator.project import Project
from generator.render.overrides import never_read
from generator.render.render import render
from generator.render.tree import Change, compare


@dataclass(frozen=True)
class Workspace:
    """A project's plan, what it renders, and the warnings that its files gave.

    ``plan`` has the values of ``.env.local`` (proxies, secret files); ``tree`` is made without them, so that it depends
    on committed files alone.
    """

    project: Project
    plan: Plan
    tree: dict[str, str]
    warnings: tuple[Problem, ...]

    def drift(self) -> tuple[Change, ...]:
        """Every generated file that is missing, changed or stale on disk."""
        return compare(self.tree, self.project.root)


def load_settings(
    project: Project, *, sets: Sequence[str] = (), sources: Sequence[str] = (), local: bool = True, strict: bool = False
) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings of ``.env``, of ``.env.local`` where ``local`` asks for it, and of the command line."""
    local_text = read_text(project.env_local) if local and project.env_local.is_file() else None
    return parse_settings(read_text(project.env), local_text=local_text, sets=sets, source_sets=sources, strict=strict)


def load_line(project: Project, version: str, where: str) -> Line:
    """The catalogue of the line that a release belongs to: ``1.3.0`` is in ``catalogue/1.3.yaml``."""
    line = ".".join(version.split(".")[:2])
    name = f"{line}.yaml"
    if (text := _catalogue(project, line)) is not None:
        return parse_line(text, name=f"catalogue/{name}", other=partial(_catalogue, project))
    key = "" if where == "--release" else "FATE_VERSION: "
    raise InputError(
        Problem(where, f"{key}no catalogue/{name}; there are lines {', '.join(_lines(project))}"),
        hint=f"take a release of one of them; a catalogue/{name} of the project's own adds that line",
    )


def _lines(project: Project) -> list[str]:
    """Those that have a catalogue, the project's own too."""
    found = {file.stem for directory in project.search_path("catalogue") for file in directory.glob("*.yaml")}
    return sorted(found, key=lambda stem: [int(part) for part in re.findall("[0-9]+", stem)])


def _of_another_line(project: Project, settings: Settings, line: Line) -> Iterator[Problem]:
    """A warning for each tag that names a release of another line: a push would take that one's place."""
    for key, tag in (("BASE_TAG", settings.base_tag), ("TAG", settings.tag)):
        named = re.match(r"v?([0-9]+\.[0-9]+)\.[0-9]", tag)
        if named and named[1] != line.name and named[1] in _lines(project):
            wrong = f"{key}: {tag} is a tag of FATE {named[1]}, and this is FATE {settings.fate_version}: is it meant?"
            yield Problem(settings.where(key), wrong)


def _catalogue(project: Project, line: str) -> str | None:
    files = (directory / f"{line}.yaml" for directory in project.search_path("catalogue"))
    return next((read_text(file) for file in files if file.is_file()), None)


def load(project: Project, *, sets: Sequence[str] = (), sources: Sequence[str] = (), strict: bool = False) -> Workspace:
    """Everything that a command works on. Raises InputError with every problem of the first file that has any."""
    committed, warnings = load_settings(project, sets=sets, sources=sources, local=False, strict=strict)
    line = load_line(project, committed.fate_version, committed.where("FATE_VERSION"))
    plan = make_plan(committed, line)
    read: set[str] = set()
    tree = render(plan, project.search_path("templates"), read)
    if project.env_local.is_file():
        private, warnings = load_settings(project, sets=sets, sources=sources, strict=strict)
        plan = make_plan(private, line)
    used = {image.name: image.template if image.kind != "third-party" else "" for image in line.images}
    more = (*_of_another_line(project, committed, line), *never_read(project, read, used))
    return Workspace(project, plan, tree, (*warnings, *more))


def read_text(path: Path) -> str:
    """A file of the user's as text. Raises InputError where it cannot be read or is not UTF-8 (with its line)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(Problem(path.name, f"cannot be read: {error.strerror}")) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(Problem(f"{path.name}:{line}", "is not UTF-8; save the file in that encoding")) from error
