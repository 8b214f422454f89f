"""Reads bundles: ``inspect`` looks at the record, ``verify`` at every byte. One pass, no seeking, bounded memory.

A bundle file is a function of its record and its blobs (see ``members``), so the place and the header of every member
are known before they are read. That is why damage in one place does not hide damage in another, and why there is
nothing in a file that two programs could read differently.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from generator.bundle.archive import (
    BLOCK,
    CHUNK,
    TRAILER,
    HeaderError,
    Member,
    Progress,
    Reads,
    header,
    padding,
    parse_header,
    quiet,
)
from generator.bundle.consistency import Expectations
from generator.bundle.damage import Damage, DamagedError, cut_short, damaged, unsafe
from generator.bundle.members import RECORD, Contents, Expected, contents
from generator.bundle.model import BundleIndex, decode
from generator.bundle.strictjson import LIMIT, Malformed
from generator.errors import BundleError, InputError, Problem

_FOREIGN = {
    b"\x1f\x8b": "it is gzip-compressed",
    b"\x28\xb5\x2f\xfd": "it is zstd-compressed",
    b"BZh": "it is bzip2-compressed",
    b"\xfd7zXZ": "it is xz-compressed",
    b"PK\x03\x04": "it is a zip file",
}


@dataclass(frozen=True)
class Inspection:
    """What a bundle says of itself. ``file_size`` is the file's size in bytes, ``None`` for a pipe."""

    name: str
    index: BundleIndex
    size: int
    file_size: int | None


@dataclass(frozen=True)
class VerifyResult:
    """A bundle in which every byte is right: ``size`` in bytes, ``blobs`` that were hashed."""

    path: str
    index: BundleIndex
    size: int
    blobs: int


class Tap(Protocol):
    """Sees each member go by: its begin, its pieces, and then whether it was right."""

    def begin(self, member: Expected) -> None: ...

    def data(self, chunk: bytes) -> None: ...

    def end(self, member: Expected, good: bool) -> None: ...


@contextlib.contextmanager
def opened(source: Path | Reads) -> Iterator[tuple[Reads, str, int | None]]:
    """The stream of a bundle, its name for messages, its size where it is a plain file. InputError: not readable."""
    if not isinstance(source, Path):
        yield source, str(getattr(source, "name", "the input")), None
        return
    try:
        file: BinaryIO = source.open("rb")
    except FileNotFoundError:
        raise InputError(Problem(str(source), "there is no such file")) from None
    except OSError as error:
        raise InputError(Problem(str(source), f"cannot be read: {error.strerror}")) from None
    with file:
        status = os.fstat(file.fileno())
        yield file, str(source), status.st_size if stat.S_ISREG(status.st_mode) else None


def inspect(source: Path | Reads) -> Inspection:
    """Read the record, the first member, and nothing else; it is whole (its root digest is), the rest is unread."""
    with opened(source) as (stream, name, file_size):
        plan = read_record(stream, name)
    return Inspection(name, plan.index, plan.size, file_size)


def verify(source: Path | Reads, *, progress: Progress | None = None) -> VerifyResult:
    """Check every byte of a bundle. ``DamagedError`` lists all damage; another BundleError: it is not a bundle."""
    with opened(source) as (stream, name, file_size):
        plan = read_record(stream, name)
        check_rest(stream, name, plan, file_size=file_size, progress=progress)
    blobs = sum(member.content is None for member in plan.members)
    return VerifyResult(name, plan.index, plan.size, blobs)


def read_record(stream: Reads, name: str) -> Contents:
    """Read the first member; the stream then stands at the second."""
    block = _take(stream, BLOCK, name)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    for magic, what in _FOREIGN.items():
        if block.startswith(magic):
            raise BundleError(f"{name} is not a bundle: {what}", hint="unpack it, then try again")
    try:
        member = parse_header(block)
    except HeaderError as error:
        raise BundleError(f"{name} is not a fategen bundle: {error}", hint="fategen bundle save writes one") from None
    if member.name != RECORD:
        message = f"{name} is not a fategen bundle: it begins with {member.name!r}, a bundle with {RECORD!r}"
        raise BundleError(message, hint="another tool's archive: docker load takes it as it is")
    if member.size > LIMIT:
        raise BundleError(f"{name} is damaged or unsafe: its record has {member.size:,} bytes, at most {LIMIT:,}")
    data = _take(stream, member.size + padding(member.size), name)
    if len(data) < member.size + padding(member.size):
        raise BundleError(f"{name} is cut short: it ends inside its first member", hint="copy the whole file again")
    where = f"{name} is damaged: bytes {BLOCK:,}-{BLOCK + len(data) - 1:,} of the file ({RECORD})"
    try:
        index = decode(data[: member.size])
    except Malformed as error:
        raise BundleError(f"{where}: {error}", hint="copy that range again, or the whole file") from None
    if data[member.size :].strip(b"\0"):
        raise BundleError(f"{where}: its padding is not zero", hint="copy that range again, or the whole file")
    return contents(index)


def check_rest(
    stream: Reads,
    name: str,
    plan: Contents,
    *,
    tap: Tap | None = None,
    file_size: int | None = None,
    progress: Progress | None = None,
    outcome: str = "",
) -> None:
    """Check everything behind the record, showing it to ``tap``. ``outcome`` ends the error (nothing was loaded)."""
    walk = _Walk(stream, name, plan, tap, progress or quiet, outcome)
    found: list[Damage] = []
    for member in plan.members[1:]:
        reason = walk.member(member)
        if reason is not None:
            found.append(reason)
        if walk.ended:
            size = file_size if file_size is not None else walk.position
            raise cut_short(name, plan, size, [d for d in found if not d.missing], outcome)
    end = _take(stream, len(TRAILER), name)
    if len(end) < len(TRAILER):
        raise cut_short(name, plan, walk.position + len(end), found, outcome)
    if end != TRAILER:
        found.append(Damage("the end mark", (), walk.position, plan.size, "is not zero"))
    elif _take(stream, 1, name):
        more = f"{file_size - plan.size:,} bytes" if file_size is not None else "bytes"
        found.append(Damage("the end", (), plan.size, file_size or plan.size + 1, f"has {more} behind it"))
    if found:
        raise damaged(name, plan, found, outcome)


class _Walk:
    def __init__(
        self, stream: Reads, name: str, plan: Contents, tap: Tap | None, progress: Progress, outcome: str
    ) -> None:
        self._stream, self._name, self._plan, self._tap = stream, name, plan, tap
        self._progress, self._outcome = progress, outcome
        self._expectations = Expectations(plan.index)
        self.position = plan.members[0].end
        self.ended = False

    def member(self, member: Expected) -> Damage | None:
        """Read one member; what is wrong with it, or ``None``."""
        if self._tap:
            self._tap.begin(member)
        torn = self._header(member)
        wrong = None if self.ended else self._content(member)
        pad = b"" if self.ended else self._read(padding(member.size))
        if self._tap:
            self._tap.end(member, not (torn or wrong or self.ended or pad.strip(b"\0")))
        if self.ended:
            return Damage(member.label, member.images, member.offset, member.end, "is missing", missing=True)
        if torn or pad.strip(b"\0"):
            reason = "has a torn header" if torn else "has padding that is not zero"
            return Damage(member.label, member.images, member.offset, member.end, wrong or reason)
        if wrong:
            return Damage(member.label, member.images, member.start, member.start + member.size, wrong)
        return None

    def _header(self, member: Expected) -> bool:
        """Read its header; whether it is torn. A whole header of something else is no damage but another archive."""
        block = self._read(BLOCK)
        if self.ended or block == header(member.name, member.size):
            return False
        at = member.offset
        try:
            other = parse_header(block)
        except HeaderError as error:
            if error.damaged:
                return True
            raise unsafe(self._name, at, str(error), self._outcome) from None
        raise unsafe(self._name, at, _other(other, member), self._outcome)

    def _content(self, member: Expected) -> str | None:
        keep = member.role in ("index", "manifest", "config")
        kept: list[bytes] = []
        sha = hashlib.sha256()
        left = member.size
        while left and not self.ended:
            chunk = self._read(min(left, CHUNK))
            left -= len(chunk)
            sha.update(chunk)
            if keep:
                kept.append(chunk)
            if self._tap:
                self._tap.data(chunk)
            self._progress(member.label, self.position, self._plan.size)
        if self.ended:
            return None
        if "sha256:" + sha.hexdigest() != member.digest:
            return "does not match its digest" if member.content is None else "is not what the record makes of it"
        return self._expectations.disagreement(member.digest, b"".join(kept)) if keep else None

    def _read(self, size: int) -> bytes:
        data = _take(self._stream, size, self._name)
        self.position += len(data)
        self.ended = self.ended or len(data) < size
        return data


def _other(other: Member, member: Expected) -> str:
    if other.name == member.name:
        return f"member {other.name!r} has {other.size:,} bytes, the record says {member.size:,}"
    return f"member {other.name!r} stands where {member.name!r} belongs"


def _take(stream: Reads, size: int, name: str) -> bytes:
    """Exactly ``size`` bytes, fewer only at the end of the stream (a pipe gives them in pieces)."""
    try:
        data = stream.read(size) if size else b""
        while 0 < len(data) < size and (more := stream.read(size - len(data))):
            data += more
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}", hint="check that disk or that link") from error
    return data


def stdin() -> Reads:
    """Standard input as a bundle."""
    return sys.stdin.buffer


__all__ = ["DamagedError", "Inspection", "VerifyResult", "inspect", "opened", "stdin", "verify"]
