"""Goes along the members of a bundle and holds every byte against the record.

The place and the header of each member are known before it is read, so each can be checked alone: one after the other
as a pipe gives them, or several at a time, by threads, where the source can be read anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from generator.bundle.format.archive import (
    BLOCK,
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
from generator.bundle.format.consistency import Expectations
from generator.bundle.format.damage import Damage, cut_short, damaged, unsafe
from generator.bundle.format.members import Contents, Expected
from generator.bundle.format.source import Source, Window
from generator.errors import BundleError

_PIECE = 256 << 10
"""Bytes: a quarter of what the pipe to an engine holds, so that the engine has the others while one is hashed."""


class Tap(Protocol):
    """Sees each member go by: its begin, its pieces, and then whether it was right."""

    def begin(self, member: Expected) -> None: ...

    def data(self, chunk: bytes) -> None: ...

    def end(self, member: Expected, good: bool) -> None: ...


def check_rest(
    source: Source,
    name: str,
    plan: Contents,
    *,
    tap: Tap | None = None,
    progress: Progress | None = None,
    outcome: str = "",
) -> None:
    """Check everything behind the record in one pass, showing it to ``tap``.

    The record has been read. ``outcome`` ends the error (nothing was loaded).
    """
    found: list[Damage] = []
    walk = _Walk(_Checker(source, name, plan, outcome), source, plan.members[0].end, progress or quiet, tap)
    for member in plan.members[1:]:
        reason = walk.member(member)
        if reason is not None:
            found.append(reason)
        if walk.ended:
            size = source.size if source.size is not None else walk.position
            raise cut_short(name, plan, size, [d for d in found if not d.missing], outcome)
    end = take(source, len(TRAILER), name)
    if len(end) < len(TRAILER):
        raise cut_short(name, plan, walk.position + len(end), found, outcome)
    more = len(take(source, 1, name)) if end == TRAILER and source.size is None else 0
    found += _behind(source, plan, end, more)
    if found:
        raise damaged(name, plan, found, outcome)


def check_apart(
    source: Source,
    name: str,
    plan: Contents,
    *,
    progress: Progress | None = None,
    threads: int = 0,
) -> None:
    """The same as ``check_rest``, by several threads (0: one for each core), for a source that can be read anywhere."""
    checker = _Checker(source, name, plan, "")
    shared = _SharedProgress(progress or quiet, plan.size)
    size = source.size or 0
    # the largest first: at the end no thread waits for one that has just begun with it
    members = sorted(plan.members[1:], key=lambda member: -member.size)
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        futures = {m.offset: pool.submit(_one, checker, m, shared) for m in members if m.end <= size}
        try:
            # in the order of the file, so that the first error is the same each time
            results = [futures[offset].result() for offset in sorted(futures)]
        except BaseException:
            shared.stopped = True
            for future in futures.values():
                future.cancel()
            raise
    check_end(source, name, plan, [damage for damage in results if damage is not None])


def check_end(source: Source, name: str, plan: Contents, found: Sequence[Damage] = (), outcome: str = "") -> None:
    """Raises DamagedError where a source that can be read anywhere does not end as it must, or damage was ``found``."""
    size = source.size or 0
    if size < plan.size:
        raise cut_short(name, plan, size, found, outcome)
    found = [*found, *_behind(source, plan, source.read_at(len(TRAILER), plan.size - len(TRAILER)), 0)]
    if found:
        raise damaged(name, plan, found, outcome)


def take(stream: Reads, size: int, name: str) -> bytes:
    """Exactly ``size`` bytes, fewer only at the end of the stream (a pipe gives them in pieces)."""
    try:
        data = stream.read(size) if size else b""
        while 0 < len(data) < size and (more := stream.read(size - len(data))):
            data += more
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}", hint="check that disk or that link") from error
    return data


class _SharedProgress:
    """The progress of all threads together. Whoever is told to stop raises."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._done = 0
        self._lock = threading.Lock()
        self.stopped = False

    def add(self, what: str, size: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        with self._lock:
            self._done += size
            self._progress(what, self._done, self._total)


def _one(checker: _Checker, member: Expected, shared: _SharedProgress) -> Damage | None:
    last = member.offset

    def progress(what: str, done: int, _total: int) -> None:
        nonlocal last
        shared.add(what, done - last)
        last = done

    walk = _Walk(checker, Window(checker.source, member.offset), member.offset, progress)
    try:
        return walk.member(member)
    except BundleError as error:
        # a bad sector is one damaged place among others
        if isinstance(error.__cause__, OSError):
            return checker.damage(member, member.offset, member.end, f"cannot be read: {error.__cause__.strerror}")
        raise


def _behind(source: Source, plan: Contents, end: bytes, more: int) -> list[Damage]:
    """What is wrong with the last bytes, and behind them."""
    start, extra = plan.size - len(TRAILER), source.size - plan.size if source.size is not None else more
    if end != TRAILER:
        return [Damage("the end mark", (), start, plan.size, "is not zero", source.where(start, plan.size))]
    if extra:
        said = f"has {extra:,} bytes behind it" if source.size is not None else "has bytes behind it"
        return [Damage("the end", (), plan.size, plan.size + extra, said, source.where(plan.size, plan.size + extra))]
    return []


@dataclass(frozen=True)
class _Checker:
    """What a member is held against."""

    source: Source
    name: str
    plan: Contents
    outcome: str

    @functools.cached_property
    def expectations(self) -> Expectations:
        return Expectations(self.plan.index)

    def damage(self, member: Expected, start: int, end: int, reason: str) -> Damage:
        return Damage(member.label, member.images, start, end, reason, self.source.where(start, end))

    def not_expected(self, member: Expected, reason: str) -> BundleError:
        return unsafe(self.name, member.offset, reason, self.outcome)


class _Walk:
    """Reads members one after the other from ``stream``, which stands at byte ``position`` of the bundle."""

    def __init__(
        self,
        checker: _Checker,
        stream: Reads,
        position: int,
        progress: Progress,
        tap: Tap | None = None,
    ) -> None:
        self._checker, self._stream, self._tap, self._progress = checker, stream, tap, progress
        self.position = position
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
            return self._checker.damage(member, member.offset, member.end, wrong or reason)
        if wrong:
            return self._checker.damage(member, member.start, member.start + member.size, wrong)
        return None

    def _header(self, member: Expected) -> bool:
        """Read its header; whether it is torn. A whole header of something else is no damage but another archive."""
        block = self._read(BLOCK)
        if self.ended or block == header(member.name, member.size):
            return False
        try:
            other = parse_header(block)
        except HeaderError as error:
            if error.damaged:
                return True
            raise self._checker.not_expected(member, str(error)) from None
        raise self._checker.not_expected(member, _other(other, member))

    def _content(self, member: Expected) -> str | None:
        keep = member.role in ("index", "manifest", "config")
        kept: list[bytes] = []
        sha = hashlib.sha256()
        left = member.size
        while left and not self.ended:
            chunk = self._read(min(left, _PIECE))
            left -= len(chunk)
            sha.update(chunk)
            if keep:
                kept.append(chunk)
            if self._tap:
                self._tap.data(chunk)
            self._progress(member.label, self.position, self._checker.plan.size)
        if self.ended:
            return None
        if "sha256:" + sha.hexdigest() != member.digest:
            return "does not match its digest" if member.content is None else "is not what the record makes of it"
        return self._checker.expectations.disagreement(member.digest, b"".join(kept)) if keep else None

    def _read(self, size: int) -> bytes:
        data = take(self._stream, size, self._checker.name)
        self.position += len(data)
        self.ended = self.ended or len(data) < size
        return data


def _other(other: Member, member: Expected) -> str:
    if other.name == member.name:
        return f"member {other.name!r} has {other.size:,} bytes, the record says {member.size:,}"
    return f"member {other.name!r} stands where {member.name!r} belongs"
