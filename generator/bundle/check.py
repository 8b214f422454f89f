"""Reads bundles: ``inspect`` looks at the record, ``verify`` at every byte. Bounded memory, nothing is written.

A bundle file is a function of its record and its blobs (see ``members``), so the place and the header of every member
are known before they are read. That is why damage in one place does not hide damage in another, and why there is
nothing in a file that two programs could read differently.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from generator.bundle.format.archive import BLOCK, HeaderError, Progress, Reads, padding, parse_header
from generator.bundle.format.damage import DamagedError
from generator.bundle.format.members import RECORD, Contents, contents
from generator.bundle.format.model import BundleIndex, decode
from generator.bundle.format.source import opened
from generator.bundle.format.walk import check_apart, check_rest, take
from generator.errors import BundleError
from generator.images.strictjson import LIMIT, Malformed

_COMPRESSED = {
    b"\x1f\x8b": ("gzip-compressed", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", "unzstd"),
    b"BZh": ("bzip2-compressed", "bunzip2"),
    b"\xfd7zXZ": ("xz-compressed", "unxz"),
    b"PK\x03\x04": ("a zip file", "unzip"),
}
_SAVE = "fategen bundle save"
_DOCKER_ARCHIVE = re.compile(rb"manifest\.json|repositories|[0-9a-f]{64}(/.*|\.json|\.tar|\.tar\.gz)|sha256:.*")
_OCI_LAYOUT = re.compile(rb"(\./)?(blobs/.*|index\.json|oci-layout|)")


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


def inspect(source: Path | Reads) -> Inspection:
    """Read the record, the first member, and nothing else; it is whole (its root digest is), the rest is unread."""
    with opened(source) as (stream, name, file_size):
        plan = read_record(stream, name)
    return Inspection(name, plan.index, plan.size, file_size)


def verify(
    source: Path | Reads,
    *,
    approve: Approve | None = None,
    progress: Progress | None = None,
    threads: int = 0,
) -> VerifyResult:
    """Check every byte of a bundle. ``DamagedError`` lists all damage; another BundleError: it is not a bundle.

    ``approve`` is asked first: see ``signature.required``. ``threads`` (0: one for each core) share the work where the
    source is a file.
    """
    with opened(source) as (stream, name, _):
        plan = read_record(stream, name)
        signer = approve(plan.index, name) if approve else ""
        if stream.anywhere:
            check_apart(stream, name, plan, progress=progress, threads=threads)
        else:
            check_rest(stream, name, plan, progress=progress)
    blobs = sum(member.is_blob for member in plan.members)
    return VerifyResult(name, plan.index, plan.size, blobs, signer)


def read_record(stream: Reads, name: str) -> Contents:
    """Read the first member; the stream then stands at the second."""
    block = take(stream, BLOCK, name)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    try:
        member = parse_header(block)
    except HeaderError as error:
        raise _not_a_bundle(block, name, str(error)) from None
    if member.name != RECORD:
        raise _not_a_bundle(block, name, f"it begins with {member.name!r}, a bundle with {RECORD!r}")
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


def _not_a_bundle(block: bytes, name: str, reason: str) -> BundleError:
    """Says what a file that begins with ``block`` is, and what makes a bundle of it."""
    for magic, (what, unpack) in _COMPRESSED.items():
        if block.startswith(magic):
            return BundleError(f"{name} is not a bundle: it is {what}", hint=f"unpack it first: {unpack} {name}")
    if len(block) < BLOCK:
        return BundleError(f"{name} is not a bundle, or it is cut short: it has {len(block)} bytes", hint=_SAVE)
    if block[257:262] != b"ustar":
        return BundleError(f"{name} is not a bundle: it is not a tar, or its beginning is missing", hint=_SAVE)
    first = block[:100].partition(b"\0")[0]
    if _DOCKER_ARCHIVE.fullmatch(first):
        hint = f"skopeo copy docker-archive:{name} oci:DIR, then {_SAVE} --from layout:DIR"
        return BundleError(f"{name} is not a bundle: it is a docker save archive", hint=hint)
    if _OCI_LAYOUT.fullmatch(first):
        what = "it is an OCI layout, or a docker save archive since Docker 25"
        hint = f"skopeo copy oci-archive:{name} oci:DIR (or docker-archive:), then {_SAVE} --from layout:DIR"
        return BundleError(f"{name} is not a bundle: {what}", hint=hint)
    return BundleError(f"{name} is not a bundle: {reason}", hint=_SAVE)


def stdin() -> Reads:
    """Standard input as a bundle."""
    return sys.stdin.buffer


__all__ = ["DamagedError", "Inspection", "VerifyResult", "inspect", "stdin", "verify"]
