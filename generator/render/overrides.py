"""A project's own templates and catalogues: copies of packaged ones, and warnings about files that nothing reads."""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.catalogue.line import Image, Line
from generator.errors import InputError, Problem, did_you_mean
from generator.project import FAMILY_FILE, LINE_FILE, Project, packaged_data
from generator.render.tree import Change, write

MISNAMED = {
    "template": ("templates", "*.j2"),
    "catalog": ("catalogue", "*.y*ml"),
    "catalogues": ("catalogue", "*.y*ml"),
}
"""Misnamed directory -> the right name, and the files by which it is recognized."""
_OF_FAMILY = re.compile(r"catalogue/.*\.yaml|templates/(dockerfiles/.*|.*compose\.yaml\.j2)")
"""Packaged files that are the packaged family's own: a line, the template of an image, two parties of it."""


def never_read(project: Project, read: Collection[str], used: Mapping[str, str]) -> Iterator[Problem]:
    """A warning for each file or directory of the project that looks like an override and that nothing reads.

    ``read`` are the templates that were read; ``used`` has each image's template ("" if it has none), also those of
    images that are not built.
    """
    for wrong, (right, files) in MISNAMED.items():
        if any((project.root / wrong).rglob(files)):
            yield Problem(f"{wrong}/", f"is never read; did you mean {right}/?")
    known = {*read, *_files(packaged_data("templates")), *(f"dockerfiles/{name}" for name in used.values() if name)}
    for name in sorted({*_own_files(project, "templates")} - known):
        image = name.rpartition("/")[2].partition(".")[0]
        template = used.get(image)
        if template == "":
            instead = f"; {image} has no Dockerfile: it is used as it is"
        elif template and template != f"{image}.Dockerfile.j2":
            instead = f"; {image} is rendered from dockerfiles/{template} (template: in the catalogue)"
        else:
            # a family of its own has no packaged template to override
            instead = "" if project.has_own_family else did_you_mean(name, sorted(known))
            instead = instead or "; delete it, or name it in template: of an image"
        yield Problem(f"templates/{name}", f"no image and no template uses it{instead}")
    for name in _own_files(project, "catalogue"):
        if not LINE_FILE.fullmatch(name) and name not in (FAMILY_FILE, "schema.json"):
            near = did_you_mean(name, [file for file in _files(packaged_data("catalogue")) if file.endswith(".yaml")])
            yield Problem(f"catalogue/{name}", f"is never read: a catalogue is named LINE.yaml, such as 1.0.yaml{near}")


def never_used(read: Mapping[str, Path], images: Sequence[Image]) -> Iterator[Problem]:
    """A warning for each value below ``with:`` that no template mentions: a misspelt one changes nothing.

    ``read`` are the templates that were read, and their files.
    """
    texts = {name: file.read_text(encoding="utf-8") for name, file in read.items()}
    everything = "\n".join(texts.values())
    words = {*re.findall(r"[\w-]+", everything)}
    for image in images:
        for param in image.params if f"dockerfiles/{image.template}" in texts else ():
            if param.name not in words:
                near = did_you_mean(param.name, re.findall(r"params(?:\.|\[[\"'])([\w-]+)", everything))
                yield Problem(param.where, f"with: the template of {image.name} does not use {param.name}{near}")


def no_files(project: Project) -> Iterator[Problem]:
    """Each override that is no file and no link to one, such as a pipe or a link to a file that is gone."""
    for kind in ("templates", "catalogue"):
        own = project.root / kind
        if os.path.lexists(own) and not own.is_dir():
            yield Problem(kind, "is not a directory")
        for name in _names(own):
            if not (own / name).is_file():
                yield Problem(f"{kind}/{name}", "is not a file")


@dataclass(frozen=True)
class Packaged:
    """A file that comes with fategen: ``name`` is its path in a project, ``state`` tells which copy is read
    (``packaged``, ``own``, or ``unchanged``: an own one that is the packaged one), ``images`` are rendered from it."""

    name: str
    path: Path
    state: str
    images: tuple[str, ...]


def packaged_files(project: Project, line: Line) -> tuple[Packaged, ...]:
    """All templates and catalogues that come with fategen, for a family of its own those that any family may use."""
    result = []
    packaged = [packaged_data(kind) for kind in ("templates", "catalogue")]
    for path in (directory / file for directory in packaged for file in _files(directory)):
        name = path.relative_to(packaged[0].parent).as_posix()
        # with a family.yaml of its own a project has no packaged line
        if path.name == FAMILY_FILE or (project.has_own_family and _OF_FAMILY.fullmatch(name)):
            continue
        override, state = project.root / name, "packaged"
        if override.is_file() and override.resolve() != path.resolve():
            state = "unchanged" if override.read_bytes() == path.read_bytes() else "own"
        images = tuple(i.name for i in line.images if f"templates/dockerfiles/{i.template}" == name)
        result.append(Packaged(name, path, state, images))
    return tuple(result)


def copy(project: Project, known: Sequence[Packaged], names: Sequence[str]) -> tuple[Packaged, ...]:
    """Copies the files of these names, or images, into the project, all or none; an editor's schema with a catalogue.

    Raises InputError for a name that is neither, and for a file that exists; EngineError if the disk refuses.
    """
    by_name = {file.name: file for file in known}
    by_image = {image: file for file in known for image in file.images}
    problems, chosen = [], {}
    for name in names:
        file = by_name.get(name) or by_image.get(name)
        if file is None:
            near = did_you_mean(name, [*by_name, *by_image])
            problems.append(Problem(name, f"no packaged file, and no image with a packaged template{near}"))
        elif (project.root / file.name).exists():
            itself = file.state == "packaged"
            wrong = "is the packaged file itself" if itself else "already exists and was not changed"
            problems.append(Problem(file.name, wrong))
        else:
            chosen[file.name] = file
    if problems:
        raise InputError(problems, hint="fategen override lists the files; nothing was copied")
    files, schema = dict(chosen), by_name["catalogue/schema.json"]
    if any(name.endswith(".yaml") for name in chosen) and not (project.root / schema.name).exists():
        files[schema.name] = schema
    new = tuple(Change(name, "missing", "", file.path.read_text(encoding="utf-8")) for name, file in files.items())
    try:
        write(new, project.root)
    except BaseException:
        write(tuple(replace(change, kind="stale") for change in new), project.root)
        raise
    return tuple(chosen.values())


def _own_files(project: Project, kind: str) -> list[str]:
    """The files of the project's own directory, unless it is the packaged one."""
    own = project.root / kind
    return _files(own) if own.is_dir() and own.resolve() != packaged_data(kind).resolve() else []


def _files(directory: Path) -> list[str]:
    return [name for name in _names(directory) if (directory / name).is_file()]


def _names(directory: Path) -> list[str]:
    """Paths below it that are no directories, but for README files and what an editor or git leaves there."""
    names = [path.relative_to(directory).as_posix() for path in sorted(directory.rglob("*")) if not path.is_dir()]
    return [name for name in names if not re.search(r"(^|/)(\.|README)|~$", name)]
