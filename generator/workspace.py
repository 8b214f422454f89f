"""Reads a project's files into its plan and tree, which every command works on; creates new projects."""

from __future__ import annotations

import os.path
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from generator.catalogue.line import Line, parse_line
from generator.config import values
from generator.config.env import parse_settings
from generator.config.settings import Settings, key_of, sample_env
from generator.errors import DriftError, EngineError, InputError, Problem
from generator.files import write_atomically
from generator.plan.plan import Plan, Target, make_plan
from generator.project import Project
from generator.render.overrides import never_read, no_files
from generator.render.render import find_template, render
from generator.render.tree import Change, compare, write

IGNORED = (b".env.local", b".fategen/", b"*.fate.tar", b"*.fate.tar.*", b"fategen-load.*")
"""What git ignores of a project: passwords, caches and logs, bundles."""


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

    def template(self, target: Target) -> Path:
        """The template that a target's Dockerfile is rendered from."""
        return find_template(self.project.search_path("templates"), f"dockerfiles/{target.template}")

    def require_current(self) -> None:
        """Raises DriftError, which lists what ``drift`` finds."""
        if changes := self.drift():
            count = "1 generated file is" if len(changes) == 1 else f"{len(changes)} generated files are"
            listed = "".join(f"\n  {change}" for change in changes)
            raise DriftError(
                f"{count} out of date with .env, the catalogue and the templates{listed}",
                hint="fategen render --diff shows the difference; fategen render updates the files, over manual edits",
            )


def load(project: Project, *, sets: Sequence[str] = (), sources: Sequence[str] = (), strict: bool = False) -> Workspace:
    """Everything that a command works on. Raises InputError with every problem of the first file that has any."""
    parse = partial(parse_settings, read_text(project.env), sets=sets, source_sets=sources, strict=strict)
    committed, warnings = parse()
    if odd := [*no_files(project)]:
        raise InputError(odd, hint="the packaged file would be used in its place: repair or remove it")
    line = _load_line(project, committed.fate_version, committed.where("FATE_VERSION"))
    plan = make_plan(committed, line)
    read: set[str] = set()
    tree = render(plan, project.search_path("templates"), read)
    if os.path.lexists(project.env_local):
        private, warnings = parse(local_text=read_text(project.env_local))
        plan = make_plan(private, line)
    used = {image.name: image.template if image.kind != "third-party" else "" for image in line.images}
    more = (*_tags_of_another_release(project, committed, line), *never_read(project, read, used))
    return Workspace(project, plan, tree, (*warnings, *more))


def create(project: Project, release: str) -> Workspace:
    """Writes a new project: a commented ``.env`` for a release, a ``.gitignore``, and what that renders.

    Raises InputError if there is an ``.env`` already or the release is unknown, EngineError if the disk refuses;
    after a failure it can be run again.
    """
    if project.env.exists() or project.env.is_symlink():
        problem = Problem(str(project.env), "already exists and was not changed")
        raise InputError(problem, hint="edit it, then run: fategen render")
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
        project.env.unlink(missing_ok=True)
        raise
    return workspace


def load_settings_and_line(project: Project) -> tuple[Settings, Line]:
    """The settings of ``.env`` alone, and the line of its release. Raises InputError."""
    settings, _ = parse_settings(read_text(project.env))
    return settings, _load_line(project, settings.fate_version, settings.where("FATE_VERSION"))


def read_text(path: Path) -> str:
    """A file of the user's as text. Raises InputError if it cannot be read or is not UTF-8 (with its line)."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # a pipe would be waited for
            kind = "a directory" if path.is_dir() else "a pipe or a device"
            raise InputError(Problem(path.name, f"is {kind}, not a file"), hint="move it away")
        data = path.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise InputError(Problem(path.name, f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(Problem(f"{path.name}:{line}", "is not UTF-8; save it as UTF-8")) from error


def _load_line(project: Project, version: str, where: str) -> Line:
    """The catalogue of the line that a release belongs to: ``1.3.0`` is in ``catalogue/1.3.yaml``."""
    line = ".".join(version.split(".")[:2])
    name = f"{line}.yaml"
    if (text := _catalogue(project, line)) is not None:
        whose = "" if (project.root / "catalogue" / name).is_file() else "packaged "
        return parse_line(text, name=f"{whose}catalogue/{name}", other=partial(_catalogue, project))
    key = "" if where == "--release" else "FATE_VERSION: "
    raise InputError(
        Problem(where, f"{key}no catalogue/{name}; there are lines {', '.join(_lines(project))}"),
        hint=f"choose a release of one of these, or add a catalogue/{name} to the project",
    )


def _sample(project: Project, release: str) -> str:
    """The ``.env`` of a release, with the keys that its line has."""
    try:
        values.version(release)
    except ValueError as error:
        raise InputError(Problem("--release", str(error))) from error
    line = _load_line(project, release, "--release")
    known = [known.version for known in line.releases]
    if release not in known:
        raise InputError(
            Problem("--release", f"{release} is unknown; available: {', '.join(known)}"),
            hint="choose one of these; fategen override copies the catalogue into a project, to add another",
        )
    keys = [key_of(source.name, "_SOURCE") for source in line.sources]
    keys += [key_of(name, "_IMAGE") for name in line.upstream_images]
    return sample_env(keys, BASE_TAG=f"{release}-release", TAG=f"{release}-release", FATE_VERSION=release)


def _ignore(file: Path) -> None:
    """Adds to ``.gitignore`` what it lacks, with the line ends that it has."""
    text = file.read_bytes() if file.exists() else b""
    end = b"\r\n" if b"\r\n" in text else b"\n"
    missing = [line for line in IGNORED if line not in text.splitlines()]
    if missing:
        start = text if not text or text.endswith(b"\n") else text + end
        write_atomically(file, start + end.join(missing) + end)


def _lines(project: Project) -> list[str]:
    """Those that have a catalogue, the project's own too."""
    names = {file.stem for directory in project.search_path("catalogue") for file in directory.glob("*.yaml")}
    return sorted(names, key=lambda stem: [int(part) for part in re.findall("[0-9]+", stem)])


def _tags_of_another_release(project: Project, settings: Settings, line: Line) -> Iterator[Problem]:
    """A warning for each tag that names another release: a push would take that one's place.

    Base images may keep their tag from one release of a line to the next.
    """
    for key, tag in (("BASE_TAG", settings.base_tag), ("TAG", settings.tag)):
        named = re.match(r"v?(([0-9]+\.[0-9]+)(?:\.[0-9]+)+)", tag)
        if named is None or named[2] not in _lines(project):
            continue
        other = named[2] if named[2] != line.name else named[1] if key == "TAG" else ""
        if other and not f"{other}.".startswith(f"{settings.fate_version.partition('-')[0]}."):
            wrong = f"{key}: {tag} is a tag of FATE {other}, but FATE_VERSION is {settings.fate_version}"
            yield Problem(settings.where(key), wrong)


def _catalogue(project: Project, line: str) -> str | None:
    files = (directory / f"{line}.yaml" for directory in project.search_path("catalogue"))
    return next((read_text(file) for file in files if os.path.lexists(file)), None)
