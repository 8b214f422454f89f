"""What images are built from, as a digest: if two are equal, a build would change nothing."""

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
    """SHA-256, in hex, of everything that these targets are built from, except their tags, and of ``more``.

    Local files count by path, mode, size and time. "" if a source is a branch or a tag, which may move, or cannot be
    read. A base image's tag that moves is not noticed.
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
    directories = {source.location for source in sources if source.local}
    directories |= {str(Path(part.dockerfile).parent) for part in parts if part.dockerfile}
    directories |= {context.value for part in parts for context in part.contexts if context.value}
    try:
        for directory in sorted(directories):
            for entry in _entries(root / directory):
                sha.update(repr(entry).encode())
    except OSError:
        return ""
    return sha.hexdigest()


def _entries(directory: Path) -> Iterator[tuple[object, ...]]:
    """Everything below a directory, without what git and fategen keep there; links are not followed."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        stat = entry.stat(follow_symlinks=False)
        if not entry.is_dir(follow_symlinks=False):
            yield entry.path, stat.st_mode, stat.st_size, stat.st_mtime_ns
        elif entry.name not in (".git", STATE):
            yield entry.path, stat.st_mode
            yield from _entries(Path(entry.path))
