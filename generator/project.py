"""Finds the project's root and names its paths; finds packaged templates and catalogues."""

from __future__ import annotations

import contextlib
import os.path
import re
from dataclasses import dataclass
from pathlib import Path

from generator.errors import InputError, Problem

STATE = ".fategen"
FAMILY_FILE = "family.yaml"
LINE_FILE = re.compile(r"[0-9]+\.[0-9]+\.yaml")
"""How the files of lines are called."""


@dataclass(frozen=True)
class Project:
    """A directory with ``.env``, ``dockerfiles/`` and ``out/``; optionally ``templates/`` and ``catalogue/`` too."""

    root: Path

    @property
    def env(self) -> Path:
        return self.root / ".env"

    @property
    def state(self) -> Path:
        """Logs, OCI layouts and caches of the last runs; git ignores it (it has a .gitignore)."""
        return self.root / STATE

    def make_state(self, *parts: str) -> Path:
        """A directory below ``state``, made if need be."""
        path = self.state.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        ignore = self.state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        return path

    @property
    def has_own_family(self) -> bool:
        """Whether its catalogue is that of a family of its own. It then has nothing of the packaged family."""
        mine = self.root / "catalogue"
        return os.path.lexists(mine / FAMILY_FILE) and mine.resolve() != packaged_data("catalogue").resolve()

    def search_path(self, kind: str) -> list[Path]:
        """Where ``templates`` or ``catalogue`` files are looked for: the project's own, then the packaged ones."""
        mine, packaged = self.root / kind, packaged_data(kind)
        if kind == "catalogue" and self.has_own_family:
            return [mine]
        return [mine, packaged] if mine.is_dir() and mine.resolve() != packaged.resolve() else [packaged]


def packaged_data(kind: str) -> Path:
    """The ``templates`` or ``catalogue`` directory that came with fategen: in the wheel, else in the checkout."""
    wheel = Path(__file__).parent / "data" / kind
    return wheel if wheel.is_dir() else Path(__file__).parent.parent / kind


def template_name(file: Path) -> str:
    """What messages call it: ``templates/macros.j2``, or ``packaged templates/macros.j2`` if it came with fategen."""
    packaged = packaged_data("templates")
    if file.is_relative_to(packaged):
        return f"packaged templates/{file.relative_to(packaged)}"
    return f"templates/{str(file).rpartition('/templates/')[2]}"


def find_project(start: Path) -> Project:
    """The nearest directory at or above ``start`` that has a ``.env``. Raises InputError if none has."""
    start = start.resolve()
    for directory in (start, *start.parents):
        # whatever it is: its reader says what is wrong with it
        if os.path.lexists(directory / ".env"):
            return Project(directory)
    raise InputError(
        Problem(str(start), "no .env in this directory or above"),
        hint="run fategen init to create one here, or add -C DIR for another directory",
    )


def state_directory(start: Path | None = None) -> Path:
    """``.fategen`` of the project at or above ``start`` (default: here); without a project, of ``start`` itself."""
    start = (start or Path()).resolve()
    with contextlib.suppress(InputError):
        project = find_project(start)
        if project.env.is_file():
            return project.make_state()
    return start / STATE
