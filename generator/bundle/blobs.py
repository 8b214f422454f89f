"""A bundle file as a store of blobs: any of them, by its place in the file, checked when it is read. For threads."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from generator.bundle.archive import CHUNK
from generator.bundle.check import opened, read_record
from generator.bundle.consistency import Expectations
from generator.bundle.damage import Damage, damaged
from generator.bundle.members import Contents, Expected
from generator.bundle.model import BundleIndex
from generator.errors import BundleError, InputError, Problem

OUTCOME = "what is wrong was not passed on"


@dataclass(frozen=True)
class Blobs:
    """``members`` are the bundle's blobs by digest."""

    name: str
    plan: Contents
    members: dict[str, Expected]
    file: BinaryIO

    @property
    def index(self) -> BundleIndex:
        return self.plan.index

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob; the last piece only when the whole of it is right. BundleError where it is not."""
        member = self.members[digest]
        sha, position, end = hashlib.sha256(), member.start, member.start + member.size
        held = b""
        while position < end:
            if held:
                yield held
            try:
                held = os.pread(self.file.fileno(), min(CHUNK, end - position), position)
            except OSError as error:
                raise BundleError(f"{self.name} cannot be read: {error.strerror}", hint="check that disk") from error
            if not held:
                raise self._damaged(member, "is cut off")
            sha.update(held)
            position += len(held)
        if "sha256:" + sha.hexdigest() != member.digest:
            raise self._damaged(member, "does not match its digest")
        yield held

    def document(self, digest: str) -> bytes:
        """An index, a manifest or a config, which must also be what the record says of it. BundleError where not."""
        data = b"".join(self.chunks(digest))
        if reason := Expectations(self.index).disagreement(digest, data):
            raise self._damaged(self.members[digest], reason)
        return data

    def _damaged(self, member: Expected, reason: str) -> BundleError:
        place = Damage(member.label, member.images, member.start, member.start + member.size, reason)
        return damaged(self.name, self.plan, [place], OUTCOME)


@contextlib.contextmanager
def open_blobs(path: Path) -> Iterator[Blobs]:
    """The blobs of a bundle file. InputError where it cannot be read, or is no file; BundleError: it is no bundle."""
    with opened(path) as (stream, name, file_size):
        if file_size is None:
            raise InputError(Problem(name, "it must be a file: its parts are read where they stand"))
        plan = read_record(stream, name)
    members = {member.digest: member for member in plan.members if member.content is None}
    with path.open("rb") as file:
        yield Blobs(name, plan, members, file)
