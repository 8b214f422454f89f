"""A bundle file as a store of blobs: any of them, by its place in the file, checked when it is read. For threads."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.files import File, lent, opened_together
from generator.bundle.format.archive import CHUNK
from generator.bundle.format.consistency import Expectations
from generator.bundle.format.damage import Damage, damaged
from generator.bundle.format.members import Contents, Expected
from generator.bundle.format.model import BundleIndex
from generator.bundle.format.source import Window
from generator.bundle.format.walk import check_end, take
from generator.errors import BundleError, InputError, Problem

OUTCOME = "what is wrong was not passed on"


@dataclass(frozen=True)
class Blobs:
    """``members`` are the bundle's blobs by digest; ``homes`` the files that have them: the bundle's or a base's.

    Of a delta, ``members`` lacks what its bases were not given for.
    """

    name: str
    plan: Contents
    members: dict[str, Expected]
    homes: dict[str, File]

    @property
    def index(self) -> BundleIndex:
        return self.plan.index

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob; the last piece only when the whole of it is right. BundleError where it is not."""
        if digest not in self.members:
            message = f"is a delta, and layer {digest} is in {self.index.leans_on}"
            raise InputError(Problem(self.name, message), hint="name that bundle with --base")
        member, home = self.members[digest], self.homes[digest]
        sha, left = hashlib.sha256(), member.size
        window = Window(home.source, member.start)
        held = b""
        while left:
            if held:
                yield held
            held = take(window, min(CHUNK, left), home.name)
            if not held:
                raise self._damaged(member, "is cut off")
            sha.update(held)
            left -= len(held)
        if "sha256:" + sha.hexdigest() != member.digest:
            raise self._damaged(member, "does not match its digest")
        yield held

    def require_all(self) -> None:
        """InputError where a delta's bases were not given."""
        lacking = self.index.blobs().keys() - self.members.keys()
        if lacking:
            count = "1 layer is" if len(lacking) == 1 else f"{len(lacking)} layers are"
            message = f"is a delta, and {count} in {self.index.leans_on}"
            raise InputError(Problem(self.name, message), hint="name that bundle with --base")

    def document(self, digest: str) -> bytes:
        """An index, a manifest or a config, which must also be what the record says of it. BundleError where not."""
        data = b"".join(self.chunks(digest))
        if reason := Expectations(self.index).disagreement(digest, data):
            raise self._damaged(self.members[digest], reason)
        return data

    def _damaged(self, member: Expected, reason: str) -> BundleError:
        home, start, end = self.homes[member.digest], member.start, member.start + member.size
        place = Damage(member.label, member.images, start, end, reason, home.source.where(start, end))
        return damaged(home.name, home.plan, [place], OUTCOME)


@contextlib.contextmanager
def open_blobs(path: Path, bases: Sequence[Path] = ()) -> Iterator[Blobs]:
    """The blobs of a bundle, of a delta together with its bases.

    InputError where it cannot be read, or is no file; BundleError: it is no bundle, or does not end where it must.
    """
    with opened_together((path, *bases)) as (top, others):
        if not top.source.anywhere:
            raise InputError(Problem(top.name, "it must be a file: its blobs are read in any order"))
        check_end(top.source, top.name, top.plan, outcome=OUTCOME)
        members: dict[str, Expected] = {}
        homes: dict[str, File] = {}
        for member in top.plan.members:
            if member.is_blob:
                members[member.digest], homes[member.digest] = member, top
        for digest, (file, member) in lent(top, others).items():
            members[digest], homes[digest] = member, file
        yield Blobs(top.name, top.plan, members, homes)
