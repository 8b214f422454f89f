"""Reads a project's files into its plan and tree, which every command works on; creates new projects."""

from __future__ import annotations

import json
import os.path
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from generator.catalogue.line import Family, Line, line_name, parse_family, parse_line, read_root
from generator.config import values
from generator.config.env import LOCAL, parse_settings, value_of
from generator.config.settings import Settings
from generator.errors import DriftError, InputError, Problem
from generator.files import disk_errors, write_atomically
from generator.plan.plan import Plan, Target, make_plan
from generator.project import FAMILY_FILE, LINE_FILE, Project, packaged_data, template_name
from generator.render.overrides import never_read, never_used, no_files
from generator.render.tree import BAKE_FILE, Change, compare, write

STARTER = "examples/three-images"
"""The project that a family of one's own begins as."""
IGNORED = (LOCAL, ".fategen/", "*.{family}.tar", "*.{family}.tar.*", "fategen-load.*")
"""What git ignores of a project: passwords, caches and logs, bundles."""


@dataclass(frozen=True)
class Workspace:
    """A project's plan, what it renders, and the warnings that its files gave.

    ``plan`` has the values of ``.env.local`` (proxies, secret files); ``tree`` is made without them, so that it depends
    on committed files alone. ``bake_file`` is the path from the root of the bake file that is built.
    """

    project: Project
    plan: Plan
    tree: dict[str, str]
    warnings: tuple[Problem, ...]
    bake_file: str = BAKE_FILE

    def drift(self) -> tuple[Change, ...]:
        """Every generated file that is missing, changed or stale on disk."""
        return compare(self.tree, self.project.root)

    def template(self, target: Target) -> Path:
        """The template that a target's Dockerfile is rendered from."""
        files = [path / "dockerfiles" / target.template for path in self.project.search_path("templates")]
        return next((file for file in files if file.is_file()), files[-1])

    def require_current(self) -> None:
        """Raises DriftError, which lists what ``drift`` finds."""
        if changes := self.drift():
            count = "1 generated file is" if len(changes) == 1 else f"{len(changes)} generated files are"
            listed = "".join(f"\n  {change}" for change in changes)
            paths = [change.path for change in changes if change.kind == "changed"]
            # a change of .env or the catalogue changes the bake file too
            dockerfiles = paths if BAKE_FILE not in paths else []
            edited = next((target for target in self.plan.targets if target.dockerfile in dockerfiles), None)
            hint = "fategen render --diff shows the difference; fategen render overwrites the files, manual edits too"
            if edited:
                template = template_name(self.template(edited))
                place = f"fategen override {edited.name}" if template.startswith("packaged ") else template
                hint += f"; to keep an edit of {edited.dockerfile}, make it in its template: {place}"
            if all(change.kind == "missing" for change in changes):
                hint = "fategen render writes them"
            raise DriftError(f"{count} out of date with .env, the catalogue and the templates{listed}", hint=hint)


def load(project: Project, *, sets: Sequence[str] = (), sources: Sequence[str] = (), strict: bool = False) -> Workspace:
    """Everything that a command works on. Raises InputError with every problem of the first file that has any."""
    from generator.render.render import render

    text = read_text(project.env)
    line = _line_of(project, text, sets)
    if odd := [*no_files(project)]:
        raise InputError(odd, hint="fategen would use the packaged file instead: repair or remove it")
    parse = partial(parse_settings, text, line.keys, sets=sets, source_sets=sources, strict=strict)
    committed, warnings = parse()
    if not project.has_own_family and (lost := [*_keys_of_a_lost_family(project, committed, line, warnings)]):
        raise InputError(lost, hint=f"put catalogue/family.yaml back; or, for {line.family.name}, set its key in .env")
    plan = make_plan(committed, line)
    if project.has_own_family and (lacking := [*_missing_templates(project, plan)]):
        raise InputError(lacking, hint="write it, or name another one in template: of the catalogue")
    read: dict[str, Path] = {}
    tree = render(plan, project.search_path("templates"), read)
    if os.path.lexists(project.root / LOCAL):
        private, warnings = parse(local_text=read_text(project.root / LOCAL))
        plan = make_plan(private, line)
    used = {image.name: image.template if image.kind != "third-party" else "" for image in line.images}
    unused = (*never_read(project, read, used), *never_used(read, line.images))
    more = (*_tags_of_another_release(project, committed, line), *unused)
    return Workspace(project, plan, tree, (*warnings, *more))


def create(project: Project, release: str = "", family: str = "") -> Workspace:
    """Writes a new project: a commented ``.env`` for a release, a ``.gitignore``, and what that renders.

    With the name of a ``family``, first a catalogue, templates and sources of a family of its own.

    Raises InputError if there is an ``.env`` already or the release is unknown, EngineError if the disk refuses; after
    a failure it can be run again.
    """
    if os.path.lexists(project.env):
        problem = Problem(str(project.env), "already exists and was not changed")
        raise InputError(problem, hint="edit it, then run: fategen render")
    starter = _starter(family) if family else {}
    if existing := [Problem(name, "already exists") for name in starter if os.path.lexists(project.root / name)]:
        raise InputError(existing, hint="start a family in a directory without these files; nothing was written")
    made = [Change(name, "missing", "", text) for name, text in starter.items()]
    try:
        write(tuple(made), project.root)
        text, line = _sample(project, release)
        with disk_errors(project.root / ".gitignore"):
            _ignore(project.root / ".gitignore", line.family.slug)
        made.append(Change(project.env.name, "missing", "", text))
        write((made[-1],), project.root)
        workspace = load(project)
        write(workspace.drift(), project.root)
    except BaseException:
        write(tuple(replace(change, kind="stale") for change in made), project.root)
        raise
    return workspace


def _starter(family: str) -> dict[str, str]:
    """The files of a family of three images with this name; its user changes them into those of its own."""
    directory, schema = packaged_data(STARTER), packaged_data("catalogue") / "schema.json"
    files = [file for kind in ("catalogue", "templates", "app") for file in (directory / kind).rglob("*.*")]
    texts = {file.relative_to(directory).as_posix(): file.read_text(encoding="utf-8") for file in files}
    name = f"catalogue/{FAMILY_FILE}"
    texts[name] = texts[name].replace('"Greetings"', json.dumps(family, ensure_ascii=False))
    return {**texts, "catalogue/schema.json": schema.read_text(encoding="utf-8")}


def _missing_templates(project: Project, plan: Plan) -> Iterator[Problem]:
    """Those that a family of its own lacks: the packaged ones of their names are the packaged family's."""
    wanted = {f"dockerfiles/{target.template}": target.name for target in plan.targets if target.dockerfile}
    if plan.party is not None:
        wanted[plan.party.template] = "party:"
    for name, user in wanted.items():
        if not (project.root / "templates" / name).is_file():
            yield Problem(f"templates/{name}", f"does not exist, used by {user} in the catalogue")


def _keys_of_a_lost_family(
    project: Project, settings: Settings, line: Line, warnings: Sequence[Problem]
) -> Iterator[Problem]:
    """The key that chose the release of another family, whose files would all be replaced by this one's."""
    own = any((project.root / name).is_dir() for name in ("catalogue", "templates"))
    version = line.family.version_key
    for unknown in warnings if own and version not in dict(settings.origins) else ():
        if re.match(r"\w+_VERSION: ", unknown.message):
            wrong = f"{unknown.message.partition(';')[0]}; the release of {line.family.name} is {version}"
            yield Problem(unknown.where, wrong)


def load_settings_and_line(project: Project) -> tuple[Settings, Line]:
    """The settings of ``.env`` alone, and the line of its release. Raises InputError."""
    text = read_text(project.env)
    line = _line_of(project, text)
    return parse_settings(text, line.keys)[0], line


def all_lines(project: Project) -> list[Line]:
    """Every line that a project could be of, older ones first. Raises InputError."""
    family = load_family(project)
    return [_load_line(project, family, name, "--release") for name in _lines(project)]


def load_catalogue(project: Project, line: str) -> dict[str, tuple[str, str]]:
    """Every value of a line's file, and of the packaged one that it changes, by its path: its text and its place."""
    name, other = f"{line}.yaml", partial(_catalogue, project)
    root, _ = read_root(_catalogue(project, name) or "", _catalogue_name(project, name), other)
    return dict(root.places())


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


def load_family(project: Project) -> Family:
    """The family of a project's images: its own catalogue's, else the packaged one's. Raises InputError."""
    return parse_family(_catalogue(project, FAMILY_FILE) or "", _catalogue_name(project, FAMILY_FILE))


def _line_of(project: Project, text: str, sets: Sequence[str] = ()) -> Line:
    """The line of the release that a ``.env`` chooses. Raises InputError."""
    family = load_family(project)
    version, where = value_of(family.version_key, text, sets)
    version = version or family.release
    try:
        values.version(version)
    except ValueError:
        # it says what is wrong, with everything else; the value must not become a part of a path
        parse_settings(text, family.env_keys(), sets=sets)
        raise
    return _load_line(project, family, version, where)


def _load_line(project: Project, family: Family, version: str, where: str) -> Line:
    """The catalogue of the line that a release belongs to: ``1.0.0`` is in ``catalogue/1.0.yaml``."""
    line = line_name(version)
    name = f"{line}.yaml"
    if (text := _catalogue(project, name)) is not None:
        name, other = _catalogue_name(project, name), partial(_catalogue, project)
        return parse_line(text, name=name, family=family, other=other)
    key = "" if where == "--release" else f"{family.version_key}: "
    raise InputError(
        Problem(where, f"{key}no catalogue/{name}; there are lines {', '.join(_lines(project))}"),
        hint="fategen init --release lists all releases; for a new line, write "
        f'catalogue/{name}, with line: "{line}", extends: and releases: (docs/your-own-family.md)',
    )


def _sample(project: Project, release: str) -> tuple[str, Line]:
    """The ``.env`` of a release, with the keys that its line has, and the line."""
    family = load_family(project)
    release = release or family.release
    # of a line its releases are listed
    if not re.fullmatch(r"[0-9]+\.[0-9]+", release):
        try:
            values.version(release)
        except ValueError as error:
            raise InputError(Problem("--release", str(error))) from error
    line = _load_line(project, family, release, "--release")
    known = [known.version for known in line.releases]
    if release not in known:
        raise InputError(
            Problem("--release", f"{release} is unknown; available: {', '.join(known)}"),
            hint="fategen init --release lists them all",
        )
    tag = family.tag_of(release)
    return line.keys.sample_env(**{"BASE_TAG": tag, "TAG": tag, family.version_key: release}), line


def _ignore(file: Path, family: str) -> None:
    """Adds to ``.gitignore`` what it lacks, with the line ends that it has."""
    text = file.read_bytes() if file.exists() else b""
    end = b"\r\n" if b"\r\n" in text else b"\n"
    ignored = [line.format(family=family).encode() for line in IGNORED]
    missing = [line for line in ignored if line not in text.splitlines()]
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        start = text if not text or text.endswith(b"\n") else text + end
        write_atomically(file, start + end.join(missing) + end)


def _lines(project: Project) -> list[str]:
    """Those that have a catalogue, the project's own too."""
    files = [file for directory in project.search_path("catalogue") for file in directory.glob("*.yaml")]
    names = {file.stem for file in files if LINE_FILE.fullmatch(file.name)}
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
        if other and not f"{other}.".startswith(f"{settings.version.partition('-')[0]}."):
            family = line.family
            wrong = f"{key}: {tag} is a tag of {family.name} {other}, but {family.version_key} is {settings.version}"
            yield Problem(settings.where(key), f"{wrong}: correct one of them")


def _catalogue_name(project: Project, name: str) -> str:
    """What messages call a file of the catalogue."""
    whose = "" if (project.root / "catalogue" / name).is_file() else "packaged "
    return f"{whose}catalogue/{name}"


def _catalogue(project: Project, name: str) -> str | None:
    """The text of a file of the catalogue, None if there is none; of ``packaged NAME`` that of the packaged one."""
    packaged, _, name = name.rpartition(" ")
    directories = [packaged_data("catalogue")] if packaged else project.search_path("catalogue")
    return next((read_text(d / name) for d in directories if os.path.lexists(d / name)), None)
