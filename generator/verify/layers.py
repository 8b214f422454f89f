"""Lists what a layer holds while its bytes go by: gzip, zstd or plain, headers only, nothing kept of the contents.

Of a file that may be executed its first bytes are looked at too, since they say for which platform it is.

Layers are read from engines, registries and bundles, so from anybody: headers are read strictly (POSIX.1-2017 pax,
"ustar Interchange Format" and "pax Header Block"; GNU tar's long names and base-256 numbers), numbers, names and their
count are bounded, and a compressed layer is never inflated further than one piece ahead.
"""

from __future__ import annotations

import hashlib
import re

from generator.images.inflate import Unpacking, compressed, decompressor
from generator.verify.elf import HEAD, elf_of
from generator.verify.evidence import Entry, Listing

BLOCK = 512
MOST_BYTES = 256 << 30
MOST_ENTRIES = 1_000_000
LONGEST = 1 << 20
"""bytes that the names and attributes of one entry may have"""
_TYPES = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "link", b"3": "device", b"4": "device",
    b"5": "directory", b"6": "pipe",
}  # fmt: skip
_EXTRA = (b"x", b"g", b"L", b"K")


class BadLayer(ValueError):
    """The bytes are not a layer that can be read; the message says what is wrong with them."""


class LayerReader:
    """Takes a layer in pieces of any size; ``end`` gives what it holds. Both raise BadLayer.

    ``diff_id`` is the digest of the uncompressed tar, where it is asked for (``digest``); it is known at the end.
    InputError: it is in zstd, and this Python has none.
    """

    def __init__(self, *, digest: bool = False) -> None:
        self._begin: bytes | None = b""
        """what came before it is known how the layer is compressed"""
        self._content: Unpacking | None = None
        self._errors: tuple[type[Exception], ...] = ()
        self._sha = hashlib.sha256() if digest else None
        self._total = 0
        self._tar = _Tar()

    def feed(self, data: bytes) -> None:
        if self._begin is not None:
            self._begin = data = self._begin + data
            if len(data) < 4:
                return
            self._begin = None
            if kind := compressed(data):
                unpacker = decompressor(kind, "a layer")
                self._content, self._errors = Unpacking(unpacker), unpacker.errors
        if self._content is None:
            self._take(data)
            return
        try:
            for piece in self._content.feed(data):
                self._take(piece)
        except self._errors as error:
            raise BadLayer(f"its compression is damaged ({error})") from None

    def end(self) -> Listing:
        if self._begin and self._sha is not None:
            # fewer bytes than tell how it is compressed
            self._take(self._begin)
        if self._content is not None and not self._content.ended:
            raise BadLayer("its compression ends too early")
        return self._tar.end()

    @property
    def diff_id(self) -> str:
        assert self._sha is not None
        return f"sha256:{self._sha.hexdigest()}"

    def _take(self, data: bytes) -> None:
        self._total += len(data)
        if self._total > MOST_BYTES:
            raise BadLayer(f"it has more than {MOST_BYTES:,} bytes")
        if self._sha is not None:
            self._sha.update(data)
        self._tar.feed(data)


class _Tar:
    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0
        self._wanted: tuple[bytes, int] | None = None
        """the type and size of an extra header whose content is to come"""
        self._program: tuple[str, int] | None = None
        """the path of a program whose first bytes are to come, and the bytes of all its content"""
        self._name = self._target = ""
        self._pax: dict[str, str] = {}
        self._files: dict[str, Entry] = {}
        self._ended = False

    def feed(self, data: bytes) -> None:
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        position = 0
        if self._skip:
            position, self._skip = self._skip, 0
        elif self._rest:
            data, self._rest = self._rest + data, b""
        size = len(data)
        while not self._ended:
            if self._wanted is not None:
                kind, length = self._wanted
                if size - position < length + -length % BLOCK:
                    break
                self._extra(kind, data[position : position + length])
                position += length + -length % BLOCK
                self._wanted = None
                continue
            if self._program is None:
                if size - position < BLOCK:
                    break
                content = self._header(data[position : position + BLOCK])
                position += BLOCK
            if self._program is not None:
                if size - position < HEAD:
                    break
                path, content = self._program
                self._files[path] = self._files[path]._replace(elf=elf_of(data[position : position + HEAD]))
                self._program = None
            if content:
                position += content
                if position > size:
                    self._skip = position - size
                    return
        self._rest = b"" if self._ended else data[position:]

    def end(self) -> Listing:
        if not self._ended and (self._rest or self._skip or self._wanted or self._program):
            raise BadLayer("it ends in the middle of an entry")
        return self._files

    def _header(self, block: bytes) -> int:
        """Takes one header; gives the bytes of content that follow it and are nobody's concern."""
        if not block.strip(b"\0"):
            # the end mark is two blocks of zeros; what follows is padding
            self._ended = True
            return 0
        stated = block[148:156].strip(b" \0")
        if stated.strip(b"01234567") or int(stated or b"0", 8) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise BadLayer("no tar header stands where one belongs")
        kind = block[156:157]
        if kind in _EXTRA:
            size = _number(block[124:136])
            if size > LONGEST:
                raise BadLayer(f"the names of one entry have {size:,} bytes")
            self._wanted = (kind, size)
            return 0
        if kind not in _TYPES:
            raise BadLayer(f"an entry is of the unknown type {kind!r}")
        size = self._int("size", block[124:136])
        path = self._add(block, _TYPES[kind], size)
        content = size + -size % BLOCK if _TYPES[kind] == "file" else 0
        if content and size >= HEAD and self._files[path].mode & 0o111:
            self._program = (path, content)
        return content

    def _add(self, block: bytes, kind: str, size: int) -> str:
        name = self._pax.get("path") or self._name
        if not name:
            name = _text(block[:100])
            if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
                name = f"{prefix}/{name}"
        target = self._pax.get("linkpath") or self._target or _text(block[157:257])
        path = _absolute(name)
        uid, gid = self._int("uid", block[108:116]), self._int("gid", block[116:124])
        entry = Entry(kind, _number(block[100:108]) & 0o7777, uid, gid, size if kind == "file" else 0, "")
        if kind == "hard link":
            # one more name of a file of this layer, whose content is counted once
            other = self._files.get(_absolute(target))
            if other is None:
                raise BadLayer(f"{path} is a hard link to {target}, which is not before it")
            entry = other._replace(size=0)
        elif kind == "link":
            entry = entry._replace(target=target)
        self._files.pop(path, None)
        self._files[path] = entry
        self._name = self._target = ""
        self._pax = {}
        if len(self._files) > MOST_ENTRIES:
            raise BadLayer(f"it has more than {MOST_ENTRIES:,} entries")
        return path

    def _extra(self, kind: bytes, content: bytes) -> None:
        if kind == b"L":
            self._name = _text(content)
        elif kind == b"K":
            self._target = _text(content)
        elif kind == b"x":
            self._pax = _records(content)

    def _int(self, key: str, field: bytes) -> int:
        if key not in self._pax:
            return _number(field)
        if not re.fullmatch(r"[0-9]{1,19}", self._pax[key]):
            raise BadLayer(f"the {key} of an entry is {self._pax[key][:20]!r}")
        return int(self._pax[key])


def _records(content: bytes) -> dict[str, str]:
    """The records of a pax header: ``LENGTH KEY=VALUE`` and a line end, LENGTH being that of all of it."""
    found: dict[str, str] = {}
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
            found[key.decode("ascii")] = value.decode("utf-8", "surrogateescape")
        position = end
    return found


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
