"""Reads bundles: ``inspect`` looks at the record, ``verify`` at every byte. Bounded memory, nothing is written.

A bundle file is a function of its record and its blobs (see ``members``), so the place and the header of every member
are known before they are read. That is why damage in one place does not hide damage in another, and why there is
nothing in a file that two programs could read differently.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from generator.bundle.format.archive import BLOCK, HeaderError, Progress, Reads, padding, parse_header
from generator.bundle.format.damage import DamagedError
from generator.bundle.format.deep import Deep
from generator.bundle.format.members import RECORD, Contents, contents
from generator.bundle.format.model import BundleIndex, decode
from generator.bundle.format.source import Ask, opened
from generator.bundle.format.walk import check_apart, check_rest, take
from generator.errors import BundleError
from generator.images.strictjson import LIMIT, Malformed

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
    """A bundle in which every byte is right: ``size`` in bytes, ``blobs`` that were hashed, ``signer`` where asked."""

    path: str
    index: BundleIndex
    size: int
    blobs: int
    signer: str = ""


class Approve(Protocol):
    """Says who vouches for a record before anything else is read; it raises where nobody does.

    ``name`` is the bundle's path, or what a pipe is called.
    """

    def __call__(self, index: BundleIndex, name: str, /) -> str: ...


def inspect(source: Path | Reads, *, ask: Ask | None = None) -> Inspection:
    """Read the record, the first member, and nothing else; it is whole (its root digest is), the rest is unread."""
    with opened(source, ask) as (stream, name, file_size):
        plan = read_record(stream, name)
    return Inspection(name, plan.index, plan.size, file_size)


def verify(
    source: Path | Reads,
    *,
    approve: Approve | None = None,
    max_ratio: int = 0,
    progress: Progress | None = None,
    ask: Ask | None = None,
    threads: int = 0,
) -> VerifyResult:
    """Check every byte of a bundle. ``DamagedError`` lists all damage; another BundleError: it is not a bundle.

    ``approve`` is asked first: see ``signature.required``.

    With ``max_ratio`` layers are unpacked as well, and held against their diff ids; one that unpacks to more than that
    many times its size is a bomb. ``threads`` (0: one for each core) share the work where the source is a file.
    """
    with opened(source, ask) as (stream, name, _):
        plan = read_record(stream, name)
        signer = approve(plan.index, name) if approve else ""
        deep = Deep(plan.index, max_ratio) if max_ratio else None
        if stream.anywhere:
            check_apart(stream, name, plan, deep=deep, progress=progress, threads=threads)
        else:
            check_rest(stream, name, plan, deep=deep, progress=progress)
    blobs = sum(member.is_blob for member in plan.members)
    return VerifyResult(name, plan.index, plan.size, blobs, signer)


def read_record(stream: Reads, name: str) -> Contents:
    """Read the first member; the stream then stands at the second."""
    block = take(stream, BLOCK, name)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    for magic, what in _FOREIGN.items():
        if block.startswith(magic):
            raise BundleError(
                f"{name} is not a bundle: {what}",
                hint="unpack it first where it is a bundle; another tool's archive: fategen bundle convert",
            )
    try:
        member = parse_header(block)
    except HeaderError as error:
        raise BundleError(f"{name} is not a fategen bundle: {error}", hint="fategen bundle save writes one") from None
    if member.name != RECORD:
        message = f"{name} is not a fategen bundle: it begins with {member.name!r}, a bundle with {RECORD!r}"
        raise BundleError(message, hint="another tool's archive? fategen bundle convert makes a bundle of it")
    if member.size > LIMIT:
        raise BundleError(f"{name} is damaged or unsafe: its record has {member.size:,} bytes, at most {LIMIT:,}")
    data = take(stream, member.size + padding(member.size), name)
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


def stdin() -> Reads:
    """Standard input as a bundle."""
    return sys.stdin.buffer


__all__ = ["DamagedError", "Inspection", "VerifyResult", "inspect", "stdin", "verify"]
