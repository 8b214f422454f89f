"""A bundle and the bases that it leans on: several files that are opened together."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.check import read_record
from generator.bundle.format.archive import Reads
from generator.bundle.format.base import short_root
from generator.bundle.format.members import Contents, Expected
from generator.bundle.format.model import BundleIndex
from generator.bundle.format.source import Source, opened
from generator.errors import InputError, Problem


@dataclass(frozen=True)
class File:
    """A bundle whose record has been read; ``source`` stands behind it."""

    source: Source
    name: str
    plan: Contents

    @property
    def index(self) -> BundleIndex:
        return self.plan.index

    @property
    def root(self) -> str:
        return self.plan.index.root


@contextlib.contextmanager
def opened_together(sources: Sequence[Path | Reads]) -> Iterator[tuple[File, list[File]]]:
    """The bundle among ``sources`` and its bases, told by their records.

    InputError: one cannot be read, or has nothing to do with the bundle; BundleError: one is no bundle.
    """
    with contextlib.ExitStack() as closing:
        files = []
        for one in sources:
            stream, name, _ = closing.enter_context(opened(one))
            files.append(File(stream, name, read_record(stream, name)))
        top, bases = _bundle_and_bases(files)
        pipes = [file.name for file in bases if not file.source.anywhere]
        if pipes:
            raise InputError([Problem(name, "a base must be a file, and all of it be there") for name in pipes])
        yield top, bases


def missing_bases(top: File, given: Collection[File]) -> str:
    """The names and root digests of the bases that are not ``given``, "" where all are."""
    roots = {file.root for file in given}
    wanted = [base for file in (top, *given) for base in file.index.bases if base.root not in roots]
    return ", ".join(dict.fromkeys(base.label for base in wanted))


def vouched(top: File, bases: Collection[File]) -> list[File]:
    """Those of the bases that the bundle names by their root digests, or that one of these names.

    The others are believed as far as the digests of their layers, and no further.
    """
    roots = {base.root for base in top.index.bases}
    found: list[File] = []
    while more := [file for file in bases if file.root in roots and file not in found]:
        found += more
        roots |= {base.root for file in more for base in file.index.bases}
    return found


def lent(top: File, bases: Sequence[File]) -> dict[str, tuple[File, Expected]]:
    """The layers that the bundle leaves out and a base has: digest -> where. Their sizes are those of the bundle."""
    blobs = top.index.blobs()
    found: dict[str, tuple[File, Expected]] = {}
    absent = {one.digest: blobs[one.digest].size for one in top.index.absent}
    for file in bases:
        for member in file.plan.members:
            if member.role == "layer" and absent.get(member.digest) == member.size:
                found.setdefault(member.digest, (file, member))
    return found


def _bundle_and_bases(files: Sequence[File]) -> tuple[File, list[File]]:
    """The one that no other leans on (the first, where that is several), and its bases: those that it names, and others
    that have layers which it leaves out. InputError where some have nothing to do with it.
    """
    named = {base.root for file in files for base in file.index.bases}
    top = next((file for file in files if file.root not in named), files[0])
    found = [file for file in files if file is not top]
    known = vouched(top, found)
    strange = [file for file in found if file not in known and not lent(top, [file])]
    if strange:
        lacking = len(lent(top, found)) < len(top.index.absent)
        one_by_one = "load them one after the other" if not top.index.bases else "leave it out"
        raise InputError(
            [
                Problem(file.name, f"is {file.index.name} ({short_root(file.root)}), no base of {top.name}")
                for file in strange
            ],
            hint=f"it needs {missing_bases(top, found)}" if lacking else one_by_one,
        )
    return top, found
