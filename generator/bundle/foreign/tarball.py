"""Reads the tar files of other tools: USTAR, GNU and PAX headers, within bounds, and nothing is ever extracted.

``archive`` reads bundles and knows one spelling of a header. This reads what docker, podman, skopeo, crane, buildx and
tar write, and refuses what none of them puts into an image archive: devices, sparse files, names that lead out of the
archive, a second member of a name, and two sizes for one member, which two readers would take for two archives
(CVE-2025-62518). Layout: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar's ``tar.h``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from generator.bundle.foreign.fields import is_header, name_field, number, plain_text, records
from generator.bundle.format.archive import BLOCK, CHUNK, Reads, padding
from generator.errors import BundleError

MAX_MEMBERS = 100_000
MAX_DEPTH = 16
_MAX_HEADERS = 64 << 10
"""bytes that one PAX header or GNU long name may have"""
_ALL_HEADERS = 8 << 20
"""bytes that all of them may have"""
_MAX_END = 1 << 20
"""zeros behind the end mark: tar fills up a record, 10 KiB by default, 1 MiB at most"""
_OCTAL_LIMIT = 8 << 30

_KINDS: dict[bytes, Literal["file", "folder", "hard link", "symlink"]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "symlink",
    b"5": "folder",
}
_REFUSED = {b"3": "a device", b"4": "a device", b"6": "a named pipe", b"S": "a sparse file", b"M": "a part of a file"}


@dataclass(frozen=True)
class Entry:
    """One member. ``target`` is the name that a link points to, resolved within the archive, "" for other kinds.

    ``offset``: where its content begins, in bytes of the uncompressed tar. Names have no "./" before, no "/" behind.
    """

    name: str
    kind: Literal["file", "folder", "hard link", "symlink"]
    size: int
    target: str
    offset: int


class _Skips(Protocol):
    def skip(self, size: int) -> None: ...


class TarReader:
    """Iterates over the members; between two of them ``read`` gives the content of the first.

    ``size`` is that of the file where it is a plain one: what is not read is then skipped (``skip``). BundleError: the
    archive is cut, damaged, or has what no image archive has.
    """

    def __init__(self, stream: Reads, name: str, size: int | None = None) -> None:
        self._stream, self.name, self._size = stream, name, size
        self.position = 0
        self._left = self._padding = self._headers = 0
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._member = ""

    def read(self, size: int, /) -> bytes:
        """The next bytes of the member, at most ``size``; b"" at its end."""
        wanted = min(size, self._left)
        if wanted <= 0:
            return b""
        found = self._raw(wanted)
        if not found:
            raise self._cut(f"inside {self._member}")
        self._left -= len(found)
        return found

    def __iter__(self) -> Iterator[Entry]:
        count = 0
        while (block := self._block()) is not None:
            count += 1
            if count > MAX_MEMBERS:
                raise self.unsafe(f"it has more than {MAX_MEMBERS:,} members")
            entry = self._entry(block)
            self._check_place(entry)
            yield entry
            self._skip()
        self._check_end()

    def _entry(self, block: bytes) -> Entry:
        """The member that begins with this header, with what the headers before it say of it."""
        said: dict[str, str] = {}
        while (kind := block[156:157]) in b"LKxg":
            data = self._header_data(number(block[124:136], self.unsafe))
            if kind == b"x":
                found = records(data, self.unsafe)
                if said.keys() & found.keys():
                    raise self.unsafe("a member has two PAX headers that do not agree")
                said |= found
            elif kind == b"g":
                if {"path", "linkpath", "size"} & records(data, self.unsafe).keys():
                    raise self.unsafe("a global PAX header names a path or a size")
            else:
                key = "path" if kind == b"L" else "linkpath"
                if key in said:
                    raise self.unsafe("a member has two long names")
                said[key] = plain_text(data.partition(b"\0")[0], self.unsafe)
            following = self._block()
            if following is None:
                raise self._cut("after a header of a long name")
            block = following
        return self._plain(block, said)

    def _plain(self, block: bytes, said: Mapping[str, str]) -> Entry:
        kind = block[156:157]
        name = said.get("path") or self._name(block)
        self._member = name
        if kind not in _KINDS:
            raise self.unsafe(f"{name!r} is {_REFUSED.get(kind, f'of the unknown type {kind!r}')}")
        size = number(block[124:136], self.unsafe)
        if "size" in said:
            # a writer of PAX has no other place for a size that eleven octal digits do not hold
            wanted = int(said["size"]) if re.fullmatch(r"[0-9]{1,18}", said["size"]) else -1
            if wanted != size and not (size == 0 and wanted >= _OCTAL_LIMIT):
                raise self.unsafe(f"{name!r} has two sizes, {size} and {said['size'][:20]}")
            size = wanted
        found = _KINDS[kind]
        if found == "file" and name.endswith("/"):
            found = "folder"  # as tar before POSIX told directories
        if found != "file" and size:
            raise self.unsafe(f"{name!r} is a {found} with content")
        clean = self._clean(name)
        target = ""
        if found in ("symlink", "hard link"):
            link = said.get("linkpath") or name_field(block[157:257], self.unsafe)
            target = self._target(clean, link, symlink=found == "symlink")
        self._left, self._padding = size, padding(size)
        return Entry(clean, found, size, target, self.position)

    def _block(self) -> bytes | None:
        """The next header, ``None`` at the end mark."""
        block = self._exactly(BLOCK)
        if not block:
            raise self._cut("without an end mark")
        if len(block) < BLOCK:
            raise self._cut("inside a header")
        if not block.strip(b"\0"):
            return None
        if not is_header(block):
            raise BundleError(f"{self.name} is damaged: no tar header stands at byte {self.position - BLOCK:,}",
                              hint="copy the whole file again")  # fmt: skip
        return block

    def _header_data(self, size: int) -> bytes:
        self._headers += size
        if size > _MAX_HEADERS or self._headers > _ALL_HEADERS:
            raise self.unsafe(f"a header of a long name has {size:,} bytes")
        data = self._exactly(size + padding(size))
        if len(data) < size + padding(size):
            raise self._cut("inside a header")
        return data[:size]

    def _name(self, block: bytes) -> str:
        name, prefix = name_field(block[:100], self.unsafe), ""
        # "ustar\0": POSIX; GNU writes "ustar  " and has other things in the place of the prefix
        if block[257:263] == b"ustar\0":
            prefix = name_field(block[345:500], self.unsafe)
        return f"{prefix}/{name}" if prefix else name

    def _clean(self, name: str) -> str:
        """A member's name, which must stay inside the archive: as ``tar -c .`` writes it, without the "./" before."""
        clean = name.removesuffix("/")
        clean = clean.removeprefix("./") if clean != "." else clean
        parts = clean.split("/")
        if clean != "." and ({"", ".", ".."} & set(parts) or "\\" in clean or len(parts) > MAX_DEPTH):
            raise self.unsafe(f"the name {name!r} leads out of the archive, or is not in its plain form")
        return clean

    def _target(self, name: str, link: str, *, symlink: bool) -> str:
        """Where a link points to, in the archive: a symbolic link from its own directory, a hard link from the top."""
        parts = name.split("/")[:-1] if symlink and not link.startswith("/") else []
        for part in link.split("/"):
            if part == ".." and parts:
                parts.pop()
            elif part not in ("", ".", "..") and not link.startswith("/"):
                parts.append(part)
            elif part != ".":
                raise self.unsafe(f"{name!r} is a link that leads out of the archive ({link!r})")
        return self._clean("/".join(parts))

    def _check_place(self, entry: Entry) -> None:
        """A name stands once, and nothing lies below a file or a link, whichever of the two comes first."""
        parts = entry.name.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        if below := [parent for parent in above if parent in self._files]:
            raise self.unsafe(f"{entry.name!r} lies below {below[0]!r}, which is no directory")
        if entry.name in self._files or (entry.kind != "folder" and entry.name in self._folders):
            raise self.unsafe(f"{entry.name!r} stands in it twice")
        self._folders.update(above)
        (self._folders if entry.kind == "folder" else self._files).add(entry.name)

    def _skip(self) -> None:
        """Go behind the content and the padding of the member."""
        rest = self._left + self._padding
        if self._size is not None and self._left > CHUNK:
            if self.position + rest > self._size:
                raise self._cut(f"inside {self._member}")
            cast(_Skips, self._stream).skip(rest)
            self.position += rest
        else:
            while self._left:
                self.read(CHUNK)
            if len(self._exactly(self._padding)) < self._padding:
                raise self._cut(f"inside {self._member}")
        self._left = self._padding = 0

    def _check_end(self) -> None:
        """Zeros alone may stand behind the end mark, and no more than fill up a record."""
        total = 0
        while data := self._raw(CHUNK):
            total += len(data)
            if data.strip(b"\0") or total > _MAX_END:
                raise self.unsafe("something stands behind its end")

    def _exactly(self, size: int) -> bytes:
        """``size`` bytes, fewer only at the end of the stream."""
        data = self._raw(size) if size else b""
        while 0 < len(data) < size and (more := self._raw(size - len(data))):
            data += more
        return data

    def _raw(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            hint = "check that disk or that link"
            raise BundleError(f"{self.name} cannot be read: {error.strerror}", hint=hint) from error
        self.position += len(data)
        return data

    def _cut(self, where: str) -> BundleError:
        # what is skipped is not read: a file's own size says where it ends
        end = self.position if self._size is None else self._size
        message = f"{self.name} is cut short: it ends at byte {end:,}, {where}"
        return BundleError(message, hint="copy the whole file again")

    def unsafe(self, reason: str) -> BundleError:
        """The error for what no tool writes into an archive of images."""
        message = f"{self.name} is not safe to read: before byte {self.position:,}: {reason}"
        return BundleError(message, hint="do not use it; get the file again from its sender")
