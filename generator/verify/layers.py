"""Lists the files of a layer while its bytes arrive (gzip, zstd or plain): reads only headers and keeps no content.

The first bytes of an executable file are read too, since they say for which platform it is.

Layers are read from engines, registries and bundles, so from anybody: headers are read strictly (POSIX.1-2017 pax,
"ustar Interchange Format" and "pax Header Block"; GNU tar's long names and base-256 numbers), numbers, names and their
count are bounded, and a compressed layer is never inflated further than one piece ahead.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from generator.images.compression import DamagedStream, Decompressor, compression_of

BLOCK = 512
MOST_BYTES = 256 << 30
MOST_ENTRIES = 1_000_000
LONGEST = 1 << 20
"""bytes that the names and attributes of one entry may have"""
HEAD = 20
"""bytes of an ELF file's e_ident, e_type and e_machine"""
_TYPES = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "link", b"3": "device", b"4": "device",
    b"5": "directory", b"6": "pipe",
}  # fmt: skip


class Entry(NamedTuple):
    """One path of a layer. ``type`` is ``file``, ``directory``, ``link`` or another word; ``mode`` has setuid bits too.

    ``size`` is a file's, in bytes; ``target`` a link's text; ``elf`` what ``elf_of`` says of an executable file.
    """

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    target: str
    elf: str = ""


class BadLayer(ValueError):
    """The bytes are not a layer that can be read; the message says what is wrong with them."""


Listing = Mapping[str, Entry]
"""One layer: absolute paths in the order of its tar, whiteouts among them."""


def read_layer(
    pieces: Iterable[bytes], *, most_bytes: int = MOST_BYTES, most_entries: int = MOST_ENTRIES
) -> tuple[str, Listing]:
    """Reads a layer to its end: its diff ID (the digest of the uncompressed tar), and what it holds.

    BadLayer where it cannot be read; InputError: it is in zstd, and this Python has none.
    """
    tar = _Tar(_unpacked(iter(pieces)), most_bytes)
    entries: dict[str, Entry] = {}
    while block := tar.read_header():
        if block[156:157] in (b"x", b"g", b"L", b"K"):
            tar.read_extra_header(block)
            continue
        path, entry = tar.read_entry(block, entries)
        entries.pop(path, None)  # what comes again comes last
        entries[path] = entry
        if len(entries) > most_entries:
            raise BadLayer(f"it has more than {most_entries:,} entries")
    return tar.digest(), entries


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    while len(head) < 4 and (piece := next(pieces, b"")):
        head += piece
    kind = compression_of(head)
    if not kind:
        yield head
        yield from pieces
        return
    decompressor = Decompressor(kind, "a layer")
    try:
        for piece in itertools.chain([head], pieces):
            yield from decompressor.feed(piece)
    except DamagedStream as error:
        raise BadLayer(f"its compression is damaged ({error})") from None
    if not decompressor.ended:
        raise BadLayer("its compression ends too early")


class _Tar:
    """Reads headers from the pieces of a tar and skips what is between them."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self._pieces, self._most, self._total = pieces, most, 0
        self._data, self._at = b"", 0
        self._sha = hashlib.sha256()
        self._name = self._target = ""
        self._pax: dict[str, str] = {}

    def digest(self) -> str:
        """Of the whole tar: what follows its end mark is padding."""
        while self._next():
            pass
        return f"sha256:{self._sha.hexdigest()}"

    def read_header(self) -> bytes:
        """The next header, b"" at the end of the tar: a block of zeros, or nothing more."""
        if self._at == len(self._data) and not self._next():
            return b""
        block = self._read(BLOCK)
        if not block.strip(b"\0"):
            return b""
        stated = block[148:156].strip(b" \0")
        if stated.strip(b"01234567") or int(stated or b"0", 8) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise BadLayer("there is no tar header where one belongs")
        return block

    def read_extra_header(self, block: bytes) -> None:
        """Names of the next entry that its own header has no room for."""
        kind, size = block[156:157], _number(block[124:136])
        if size > LONGEST:
            raise BadLayer(f"the names of one entry have {size:,} bytes")
        content = self._read(size + -size % BLOCK)[:size]
        if kind == b"L":
            self._name = _text(content)
        elif kind == b"K":
            self._target = _text(content)
        elif kind == b"x":
            self._pax = _pax_records(content)

    def read_entry(self, block: bytes, entries: Mapping[str, Entry]) -> tuple[str, Entry]:
        """The path and the entry of a header, past its content; ``entries`` are those before it."""
        kind = _TYPES.get(block[156:157], "")
        if not kind:
            raise BadLayer(f"an entry is of the unknown type {block[156:157]!r}")
        name = self._pax.get("path") or self._name
        if not name:
            name = _text(block[:100])
            if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
                name = f"{prefix}/{name}"
        target = self._pax.get("linkpath") or self._target or _text(block[157:257])
        path, size = _absolute(name), self._int("size", block[124:136])
        uid, gid = self._int("uid", block[108:116]), self._int("gid", block[116:124])
        mode = _number(block[100:108]) & 0o7777
        self._name = self._target = ""
        self._pax = {}
        if kind == "hard link":
            # one more name of a file of this layer, whose content is counted once
            other = entries.get(_absolute(target))
            if other is None:
                raise BadLayer(f"{path} is a hard link to {target}, which does not come before it")
            return path, other._replace(size=0)
        if kind != "file":
            return path, Entry(kind, mode, uid, gid, 0, target if kind == "link" else "")
        head = self._read(HEAD) if size >= HEAD and mode & 0o111 else b""
        self._skip(size + -size % BLOCK - len(head))
        return path, Entry(kind, mode, uid, gid, size, "", elf_of(head))

    def _next(self) -> bool:
        """Takes the next piece, at the end of the one before."""
        for piece in self._pieces:
            self._total += len(piece)
            if self._total > self._most:
                raise BadLayer(f"it has more than {self._most:,} bytes")
            self._sha.update(piece)
            self._data, self._at = piece, 0
            if piece:
                return True
        self._data, self._at = b"", 0
        return False

    def _read(self, count: int) -> bytes:
        parts, left = [], count
        while left > len(self._data) - self._at:
            parts.append(self._data[self._at :])
            left -= len(parts[-1])
            if not self._next():
                raise BadLayer("it ends in the middle of an entry")
        self._at += left
        return b"".join([*parts, self._data[self._at - left : self._at]])

    def _skip(self, count: int) -> None:
        while count > len(self._data) - self._at:
            count -= len(self._data) - self._at
            if not self._next():
                raise BadLayer("it ends in the middle of an entry")
        self._at += count

    def _int(self, key: str, field: bytes) -> int:
        if key not in self._pax:
            return _number(field)
        if not re.fullmatch(r"[0-9]{1,19}", self._pax[key]):
            raise BadLayer(f"the {key} of an entry is {self._pax[key][:20]!r}")
        return int(self._pax[key])


def elf_of(head: bytes) -> str:
    """What a file that begins with these bytes is (System V gABI, "ELF Header"): ``64-bit LSB machine 62``, or ""."""
    bits = {1: "32-bit", 2: "64-bit"}.get(head[4]) if len(head) >= HEAD else None
    order = {1: "LSB", 2: "MSB"}.get(head[5]) if bits else None
    if not (head.startswith(b"\x7fELF") and order):
        return ""
    machine = int.from_bytes(head[18:20], "little" if order == "LSB" else "big")
    return f"{bits} {order} machine {machine}"


def _pax_records(content: bytes) -> dict[str, str]:
    """The records of a pax header: ``LENGTH KEY=VALUE`` and a line end, LENGTH being that of all of it."""
    records: dict[str, str] = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 8)
        digits = content[position:space] if space > 0 else b""
        if not digits.isdigit() or (end := position + int(digits)) > len(content) or content[end - 1 : end] != b"\n":
            raise BadLayer("a pax header is malformed")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise BadLayer("a pax header has a record without a value")
        # others (times, extended attributes) are not asked for
        if key in (b"path", b"linkpath", b"size", b"uid", b"gid"):
            records[key.decode("ascii")] = value.decode("utf-8", "surrogateescape")
        position = end
    return records


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise BadLayer(f"{field!r} is not an octal number")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _absolute(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadLayer(f"{name[:200]!r} leads out of the layer")
    return "/" + "/".join(parts)
