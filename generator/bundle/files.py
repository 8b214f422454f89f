"""A bundle and the bases that it leans on: several files that are opened together."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.check import read_record
from generator.bundle.format.archive import Reads
from generator.bundle.format.base import short_root
from generator.bundle.format.members import Contents
from generator.bundle.format.model import BundleIndex
from generator.bundle.format.source import Ask, Source, opened
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
def opened_together(sources: Sequence[Path | Reads], ask: Ask | None = None) -> Iterator[tuple[File, list[File]]]:
    """The bundle among ``sources`` and its bases, told by their records.

    InputError: one cannot be read, or has nothing to do with the bundle; BundleError: one is no bundle.
    """
    with contextlib.ExitStack() as closing:
        files = []
        for one in sources:
            stream, name, _ = closing.enter_context(opened(one, ask))
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


def _bundle_and_bases(files: Sequence[File]) -> tuple[File, list[File]]:
    """The one that no other leans on, and its bases: they are named in it, or have layers that it leaves out.

    InputError where some have nothing to do with it.
    """
    bases = {base.root for file in files for base in file.index.bases}
    free = [file for file in files if file.root not in bases] or files
    top = next((file for file in free if file.index.bases), free[0])
    chain, found = {base.root for base in top.index.bases}, [file for file in files if file is not top]
    for _ in found:
        chain |= {base.root for file in found if file.root in chain for base in file.index.bases}
    absent = {one.digest for one in top.index.absent}
    strange = [file for file in found if file.root not in chain and absent.isdisjoint(file.index.carried())]
    if strange:
        missing = missing_bases(top, found)
        raise InputError(
            [
                Problem(file.name, f"is {file.index.name} ({short_root(file.root)}), no base of {top.name}")
                for file in strange
            ],
            hint=f"it needs {missing}" if missing else "load them one after the other",
        )
    return top, found
