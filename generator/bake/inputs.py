"""What images are built from, as a digest: equal digests, and a build has nothing new to do."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from generator.bake.job import Job
from generator.catalogue.contract import Contract
from generator.project import STATE
from generator.workspace import Workspace


def inputs_digest(workspace: Workspace, job: Job, names: Iterable[str], *more: object) -> str:
    """SHA-256, in hex, of everything that these targets are built from, but for their tags, and of ``more``.

    Local files count by path, size and time. "" if a source is a branch or a tag, which may move, or cannot be read.
    That the tag of a base image moves is not seen.
    """
    plan, root = workspace.plan, workspace.project.root
    parts = {name: part for parent in names for name, part in job.parts[parent].items()}.values()
    sources = {source for part in parts for source in part.sources}
    if not all(source.local or re.fullmatch("[0-9a-f]{40}", source.revision) for source in sources):
        return ""
    values = [(v.name, v.value) for v in plan.variables if not v.secret and v.name not in ("PREFIX", "TAG", "BASE_TAG")]
    sha = hashlib.sha256(repr((values, more)).encode())
    for part in parts:
        definition = replace(part, tags=(), contract=Contract())
        sha.update(repr((definition, workspace.tree.get(part.dockerfile))).encode())
    contexts = {str(Path(part.dockerfile).parent) for part in parts if part.dockerfile}
    try:
        for place in sorted({s.location for s in sources if s.local} | contexts | {*plan.files.values()}):
            for path, stat in _files(root / place):
                sha.update(repr((path, stat.st_mode, stat.st_size, stat.st_mtime_ns)).encode())
    except OSError:
        return ""
    return sha.hexdigest()


def _files(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What is below a directory, or a file itself; links are not followed."""
    if not place.is_dir():
        yield str(place), place.stat()
        return
    for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path, entry.stat(follow_symlinks=False)
        elif entry.name not in (".git", STATE):
            yield from _files(Path(entry.path))
