"""One pass over an archive or a layout directory: its files, what is in the small ones, and, if asked, digests.

What a file is for is told at the end only (``manifest.json`` and ``index.json`` come last in most archives). So every
small JSON document is kept in memory, and the rest is handed to ``take``, which hashes or keeps it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.foreign.tarball import MAX_MEMBERS, TarReader
from generator.bundle.format.archive import CHUNK, Progress, Reads
from generator.errors import BundleError, InputError, Problem
from generator.images.compression import Chained, Compression, Inflated, compression
from generator.images.strictjson import LIMIT

_ALL_DOCUMENTS = 64 << 20
"""bytes of JSON that are kept in memory at most"""
_HEAD = 512
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_NAMED = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?")
_TOP = ("oci-layout", "index.json", "manifest.json")


@dataclass(frozen=True)
class Taken:
    """What was found out about a file's content: its digest, and the digest of what it unpacks to.

    ``trouble``: why it cannot be unpacked. All are "" where nobody asked.
    """

    digest: str = ""
    diff_id: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class File:
    """A file of the archive; a link counts as the file that it points to, under its own name."""

    name: str
    size: int
    compression: Compression
    taken: Taken

    @property
    def stated(self) -> str:
        """The digest of the content that the name states, "" where it states none."""
        if found := _BLOB.fullmatch(self.name):
            return f"sha256:{found[1]}"
        # podman's and skopeo's <diff id>.tar, docker's and podman's <id>.json, crane's sha256:<id> and <digest>.tar.gz
        found = _NAMED.fullmatch(self.name) if "/" not in self.name else None
        return f"sha256:{found[1]}" if found else ""


@dataclass(frozen=True)
class Scan:
    """What is in an archive: its files by name, the content of the small JSON ones, and its size in bytes."""

    files: Mapping[str, File]
    documents: Mapping[str, bytes]
    size: int
    directory: bool


Take = Callable[[str, Compression, Reads], Taken]
"""Takes a file: its name, how it is compressed, its content; reads that to the end."""


def scan_tar(reader: TarReader, take: Take | None = None, progress: Progress | None = None) -> Scan:
    """Read a tar to its end. BundleError: it is cut, damaged or hostile; and whatever ``take`` raises."""
    found = _Files(reader.name)
    links: dict[str, str] = {}
    for entry in reader:
        if entry.kind == "file":
            if entry.name.startswith("blobs/sha256/") and not _BLOB.fullmatch(entry.name):
                raise reader.unsafe(f"{entry.name!r} is not named by a sha256 digest in lower case")
            found.add(entry.name, entry.size, reader, take)
        elif entry.target:
            links[entry.name] = entry.target
        if progress:
            progress(entry.name, reader.position, 0)
    plain = set(found.files)
    for name, target in links.items():
        # a link to a link is none of a tool's making either
        if target not in plain:
            raise reader.unsafe(f"{name!r} is a link to {target!r}, which is no file of it")
        found.link(name, target)
    return Scan(found.files, found.documents, reader.position, False)


def scan_directory(path: Path, take: Take | None = None, progress: Progress | None = None) -> Scan:
    """Read an OCI layout directory. It is the user's own, so that links in it are followed (``blobs`` may be one)."""
    if not (path / "oci-layout").is_file():
        raise InputError(Problem(str(path), "is a directory without an oci-layout file: it is not an OCI layout"))
    found = _Files(str(path))
    total = 0
    for name in _layout_files(path):
        with (path / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found.add(name, size, file, take)
        total += size
        if progress:
            progress(name, total, 0)
    return Scan(found.files, found.documents, total, True)


def digests(name: str, kind: Compression, content: Reads) -> Taken:
    """Takes a file by hashing it. What no digest in an OCI manifest covers is unpacked too, for its diff id."""
    outer = _Hashed(content)
    if not kind or _BLOB.fullmatch(name):
        outer.drain()
        return Taken(outer.digest, "" if kind else outer.digest)
    try:
        inner = _Hashed(Inflated(outer, kind, name))
        inner.drain()
        return Taken(outer.digest, inner.digest)
    except BundleError as error:
        outer.drain()
        return Taken(outer.digest, "", error.message)


class _Files:
    def __init__(self, archive: str) -> None:
        self.files: dict[str, File] = {}
        self.documents: dict[str, bytes] = {}
        self._archive, self._kept = archive, 0

    def add(self, name: str, size: int, content: Reads, take: Take | None) -> None:
        head = content.read(_HEAD) if size else b""
        whole: Reads = Chained(head, content)
        if name in _TOP and size > LIMIT:
            raise BundleError(f"{self._archive} is not safe to read: its {name} has {size:,} bytes, at most {LIMIT:,}",
                              hint="do not use it")  # fmt: skip
        if size <= LIMIT and head.lstrip()[:1] in (b"{", b"["):
            self._kept += size
            if self._kept > _ALL_DOCUMENTS:
                raise BundleError(f"{self._archive} is not safe to read: it has more than {_ALL_DOCUMENTS:,} bytes of "
                                  "metadata", hint="do not use it")  # fmt: skip
            data = b"".join(iter(lambda: whole.read(CHUNK), b""))
            self.documents[name] = data
            whole = Chained(data, content)
        kind = compression(head)
        self.files[name] = File(name, size, kind, take(name, kind, whole) if take else Taken())

    def link(self, name: str, target: str) -> None:
        self.files[name] = self.files[target]
        if target in self.documents:
            self.documents[name] = self.documents[target]


class _Hashed:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: Reads) -> None:
        self._stream, self._sha = stream, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._sha.update(data)
        return data

    def drain(self) -> None:
        while self.read(CHUNK):
            pass

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha.hexdigest()


def _layout_files(path: Path) -> Iterator[str]:
    yield from (name for name in _TOP if (path / name).is_file())
    blobs = path / "blobs/sha256"
    names = sorted(entry.name for entry in os.scandir(blobs)) if blobs.is_dir() else []
    if len(names) > MAX_MEMBERS:
        raise BundleError(f"{path} has more than {MAX_MEMBERS:,} blobs")
    for name in names:
        if _BLOB.fullmatch(f"blobs/sha256/{name}") and (blobs / name).is_file():
            yield f"blobs/sha256/{name}"
