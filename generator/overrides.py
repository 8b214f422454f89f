"""A project's own templates and catalogues that nothing reads: a name that is off would be passed over in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from generator.errors import Problem, did_you_mean
from generator.project import Project, packaged_data

MISNAMED = {
    "template": ("templates", "*.j2"),
    "catalog": ("catalogue", "*.y*ml"),
    "catalogues": ("catalogue", "*.y*ml"),
}
"""Directories that look like an override, what they hold where they are meant as one, and the right name."""


def never_read(project: Project, read: Collection[str], used: Mapping[str, str]) -> Iterator[Problem]:
    """A warning for each such file or directory.

    ``read`` are the templates that were read, ``used`` is each image's own, by image ("" where it has none): also where
    it is not built.
    """
    for wrong, (right, files) in MISNAMED.items():
        if any((project.root / wrong).rglob(files)):
            yield Problem(f"{wrong}/", f"is never read; did you mean {right}/?")
    own, packaged = _own(project, "templates"), packaged_data("templates")
    known = {*read, *_files(packaged), *(f"dockerfiles/{template}" for template in used.values() if template)}
    for name in _files(own) if own else ():
        if name not in known:
            instead = _instead(name, used) or did_you_mean(name, sorted(known))
            yield Problem(f"templates/{name}", f"no image and no template uses it{instead}")
    own = _own(project, "catalogue")
    for name in _files(own) if own else ():
        if not re.fullmatch(r"[0-9]+\.[0-9]+\.yaml|schema\.json", name):
            near = did_you_mean(name, [file for file in _files(packaged_data("catalogue")) if file.endswith(".yaml")])
            yield Problem(f"catalogue/{name}", f"is never read: a catalogue is LINE.yaml, such as 1.3.yaml{near}")


def _instead(name: str, used: Mapping[str, str]) -> str:
    """What is used in place of a template that has an image's name; "" where the name is no image's, or right."""
    image = name.rpartition("/")[2].partition(".")[0]
    template = used.get(image, f"{image}.Dockerfile.j2")
    if not template:
        return f"; {image} has no Dockerfile: it is taken as it is"
    if template != f"{image}.Dockerfile.j2":
        return f"; {image} is rendered from dockerfiles/{template}, or what template: in the catalogue names"
    return ""


def _own(project: Project, kind: str) -> Path | None:
    """The project's own directory, where it is another than the packaged one."""
    first = project.search_path(kind)[0]
    return first if first == project.root / kind and first.resolve() != packaged_data(kind).resolve() else None


def _files(directory: Path) -> list[str]:
    """Paths below it; what an editor or git leaves there, and a README, is nobody's mistake."""
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    names = [path.relative_to(directory).as_posix() for path in found]
    return [name for name in names if not re.search(r"(^|/)(\.|README)|~$", name)]
