"""Lists what a layer holds while its bytes go by: gzip, zstd or plain, headers only, nothing kept of the contents.

Of a file that may be executed its first bytes are looked at too, since they say for which platform it is.

Layers are read from engines, registries and bundles, so from anybody: headers are read strictly (POSIX.1-2017 pax,
"ustar Interchange Format" and "pax Header Block"; GNU tar's long names and base-256 numbers), numbers, names and their
count are bounded, and a compressed layer is never inflated further than one piece ahead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
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


class LayerReader:
    """Takes a layer in pieces of any size; ``end`` gives what it holds: path -> entry. Both raise BadLayer.

    ``diff_id`` is the digest of the uncompressed tar, known at the end.
    InputError: it is in zstd, and this Python has none.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES, most_entries: int = MOST_ENTRIES) -> None:
        self._head: bytes | None = b""
        """what came before it is known how the layer is compressed"""
        self._decompressor: Decompressor | None = None
        self._sha, self._left, self._most = hashlib.sha256(), most_bytes, most_bytes
        self._tar = _Tar(most_entries)

    def feed(self, data: bytes) -> None:
        if self._head is not None:
            self._head = data = self._head + data
            if len(data) < 4:
                return
            self._head = None
            if kind := compression_of(data):
                self._decompressor = Decompressor(kind, "a layer")
        if self._decompressor is None:
            self._take(data)
            return
        try:
            for piece in self._decompressor.feed(data):
                self._take(piece)
        except DamagedStream as error:
            raise BadLayer(f"its compression is damaged ({error})") from None

    def end(self) -> dict[str, Entry]:
        if self._head:  # fewer bytes than tell how it is compressed
            self._take(self._head)
        if self._decompressor is not None and not self._decompressor.ended:
            raise BadLayer("its compression ends too early")
        return self._tar.end()

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._sha.hexdigest()}"

    def _take(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise BadLayer(f"it has more than {self._most:,} bytes")
        self._sha.update(data)
        self._tar.feed(data)


class _Tar:
    """A parser that reads as if from a file: it is suspended wherever the next bytes have not come yet."""

    def __init__(self, most_entries: int) -> None:
        self._most = most_entries
        self._data, self._at = b"", 0
        self._inside = False
        """whether an entry is not over yet"""
        self._name = self._target = ""
        self._pax: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}
        self._parser = self._parse()
        next(self._parser)

    def feed(self, data: bytes) -> None:
        self._parser.send(data)

    def end(self) -> dict[str, Entry]:
        if self._inside or self._at < len(self._data):
            raise BadLayer("it ends in the middle of an entry")
        return self._entries

    def _parse(self) -> Generator[None, bytes, None]:
        while (block := (yield from self._bytes(BLOCK))).strip(b"\0"):
            self._inside = True
            stated = block[148:156].strip(b" \0")
            if stated.strip(b"01234567") or int(stated or b"0", 8) != sum(block) - sum(block[148:156]) + 8 * 32:
                raise BadLayer("no tar header stands where one belongs")
            if block[156:157] in (b"x", b"g", b"L", b"K"):
                yield from self._extra_header(block)
            else:
                yield from self._entry(block)
            self._inside = False
        # the end mark is two blocks of zeros; what follows is padding
        while True:
            self._data, self._at = b"", 0
            yield

    def _bytes(self, count: int) -> Generator[None, bytes, bytes]:
        while len(self._data) - self._at < count:
            self._data, self._at = self._data[self._at :] + (yield), 0
        self._at += count
        return self._data[self._at - count : self._at]

    def _skip(self, count: int) -> Generator[None, bytes, None]:
        while (present := len(self._data) - self._at) < count:
            count -= present
            self._data, self._at = (yield), 0
        self._at += count

    def _extra_header(self, block: bytes) -> Generator[None, bytes, None]:
        """Names of the next entry that its own header has no room for."""
        kind, size = block[156:157], _number(block[124:136])
        if size > LONGEST:
            raise BadLayer(f"the names of one entry have {size:,} bytes")
        content = (yield from self._bytes(size + -size % BLOCK))[:size]
        if kind == b"L":
            self._name = _text(content)
        elif kind == b"K":
            self._target = _text(content)
        elif kind == b"x":
            self._pax = _pax_records(content)

    def _entry(self, block: bytes) -> Generator[None, bytes, None]:
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
        entry = Entry(kind, _number(block[100:108]) & 0o7777, uid, gid, size if kind == "file" else 0, "")
        if kind == "hard link":
            # one more name of a file of this layer, whose content is counted once
            other = self._entries.get(_absolute(target))
            if other is None:
                raise BadLayer(f"{path} is a hard link to {target}, which is not before it")
            entry = other._replace(size=0)
        elif kind == "link":
            entry = entry._replace(target=target)
        self._name = self._target = ""
        self._pax = {}
        if kind == "file":
            if size >= HEAD and entry.mode & 0o111:
                entry = entry._replace(elf=elf_of((yield from self._bytes(HEAD))))
                size -= HEAD
                yield from self._skip(size + -(size + HEAD) % BLOCK)
            else:
                yield from self._skip(size + -size % BLOCK)
        self._entries.pop(path, None)  # what comes again comes last
        self._entries[path] = entry
        if len(self._entries) > self._most:
            raise BadLayer(f"it has more than {self._most:,} entries")

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
            raise BadLayer("a pax header is not one")
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
