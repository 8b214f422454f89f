"""The content of an image: its layers, listed while their bytes arrive and overlaid in memory, never on disk.

Layers come from engines, registries and bundles, so from anybody: headers are read strictly (POSIX.1-2017 pax, "ustar
Interchange Format" and "pax Header Block"; GNU tar's long names and base-256 numbers), numbers, names and their count
are bounded, and a compressed layer is never inflated further than one piece ahead.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from generator.images.compression import unpacked
from generator.images.strictjson import Malformed, fields, items, parse, text

BLOCK = 512
MOST_BYTES = 256 << 30
MOST_ENTRIES = 1_000_000
MAX_NAMES_SIZE = 1 << 20
"""bytes that the names and attributes of one entry may have"""
PATH_MAX = 4096
"""Characters of a path: Linux takes as many bytes (limits.h)."""
MOST_MEMORY = 1 << 30
"""Bytes of memory, about, that the listings of all images of one run may take."""
ENTRY_MEMORY = 200
"""Bytes of memory, about, that an entry takes besides its names."""
MOST_IMPLIED = 64 << 20
"""Bytes of memory, about, for the directories of an image that its layers leave out."""
HEAD = 20
"""bytes of an ELF file's e_ident, e_type and e_machine"""
MACHINES = {
    "32-bit LSB machine 3": "386",
    "64-bit LSB machine 21": "ppc64le",
    "64-bit MSB machine 22": "s390x",
    "32-bit LSB machine 40": "arm",
    "64-bit LSB machine 62": "amd64",
    "64-bit LSB machine 183": "arm64",
    "64-bit LSB machine 243": "riscv64",
}
"""ELF machine -> architecture of a Docker platform; arm/v7 and amd64/v3 have the same."""
LINKS = 40
"""Links that are followed in one path, as Linux does (path_resolution(7))."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
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


Listing = Mapping[str, Entry]
"""One layer: absolute paths in the order of its tar, whiteouts among them."""


@dataclass
class Room:
    """Bytes of memory, about, that are left for listings."""

    left: int


@dataclass(frozen=True)
class Settings:
    """The part of an image's config that a contract can ask for (OCI image-spec, config.md)."""

    user: str
    workdir: str
    ports: tuple[str, ...]
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """What an image contains. ``size``: bytes of all its layers, unpacked, with files that a later layer hides."""

    settings: Settings
    files: Listing
    size: int

    def resolve(self, path: str) -> str:
        """The path without links in its directories; a link at its end stays. "" for a circle of links."""
        done, left, links = "", path.strip("/").split("/"), 0
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            here = posixpath.dirname(done) if part == ".." else f"{done}/{part}"
            entry = self.files.get(here)
            if entry is not None and entry.type == "link" and left:
                links += 1
                if links > LINKS:
                    return ""
                left = [*entry.target.split("/"), *left]
                done = "" if entry.target.startswith("/") else done
                continue
            done = "" if here == "/" else here
        return done or "/"

    def find(self, path: str, *, follow: bool = True) -> Entry | None:
        """The entry at a path, through links; ``follow``: also through a link at its end."""
        for _ in range(LINKS):
            path = self.resolve(path)
            entry = self.files.get(path)
            if entry is None or entry.type != "link" or not follow:
                return entry
            path = posixpath.join(posixpath.dirname(path), entry.target)
        return None


def content_of(config: bytes, layers: Sequence[Listing]) -> Content:
    """What an image of this config and these layers contains. Raises Malformed."""
    size = sum(entry.size for layer in layers for entry in layer.values())
    return Content(parse_settings(config), overlaid(layers), size)


_SETTINGS = ("User", "WorkingDir", "ExposedPorts", "Labels", "Env", "Cmd", "Entrypoint")


def parse_settings(config: bytes) -> Settings:
    """The settings in an image's config. Raises Malformed."""
    inner = fields(fields(parse(config), "the config", (), ("config",)).get("config") or {}, "config", (), _SETTINGS)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(text(word, key) for word in items(inner.get(key) or [], key))

    pairs = [variable.partition("=") for variable in texts("Env")]
    ports = fields(inner.get("ExposedPorts") or {}, "ExposedPorts", ())
    return Settings(
        user=text(inner.get("User") or "", "User"),
        workdir=text(inner.get("WorkingDir") or "/", "WorkingDir"),
        # "8080" is 8080/tcp (OCI image-spec, config.md)
        ports=tuple(sorted(port if "/" in port else f"{port}/tcp" for port in ports)),
        labels={name: text(value, name) for name, value in fields(inner.get("Labels") or {}, "Labels", ()).items()},
        environment={name: value for name, _, value in pairs},
        command=texts("Cmd"),
        entrypoint=texts("Entrypoint"),
    )


def overlaid(layers: Iterable[Listing]) -> dict[str, Entry]:
    """The files of an image: each layer over those before it, as its whiteouts say (OCI image-spec, layer.md).

    Raises Malformed if they imply more directories than fit into memory.
    """
    files: dict[str, Entry] = {}
    implied = 0
    for layer in layers:
        removed: set[str] = set()
        emptied: set[str] = set()
        for path, entry in layer.items():
            directory, _, name = path.rpartition("/")
            if name == OPAQUE:
                emptied.add(directory)
            elif name.startswith(WHITEOUT):
                removed.add(f"{directory}/{name[len(WHITEOUT) :]}")
            elif entry.type != "directory" and path in files and files[path].type == "directory":
                emptied.add(path)
        if removed or emptied:
            empty = removed | emptied
            files = {p: e for p, e in files.items() if p not in removed and empty.isdisjoint(_parents(p))}
        own = {p: e for p, e in layer.items() if not p.rpartition("/")[2].startswith(WHITEOUT)}
        files |= own
        # a tar need not have the directories of its files; whoever unpacks it makes them
        for path in own:
            for parent in _parents(path):
                if not parent or parent in files:
                    break
                files[parent] = _IMPLIED
                implied += _memory(parent, _IMPLIED)
            if implied > MOST_IMPLIED:
                raise Malformed("its layers leave out too many directories of their files")
    return files


_IMPLIED = Entry("directory", 0o755, 0, 0, 0, "")


def _parents(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def read_layer(pieces: Iterable[bytes], room: Room) -> tuple[str, Listing]:
    """Reads a layer to its end: its diff ID (the digest of the uncompressed tar), and what it contains.

    ``room`` is for all layers whose listings are kept together. Raises Malformed if the layer cannot be read,
    InputError if it is zstd and this Python has none.
    """
    tar = _Tar(unpacked(iter(pieces)))
    entries: dict[str, Entry] = {}
    extra: dict[str, str] = {}
    while block := tar.read_header():
        if block[156:157] in (b"x", b"g", b"L", b"K"):
            extra.update(_read_extra(tar, block))
            continue
        path, entry = _read_entry(tar, block, extra, entries)
        extra = {}
        entries.pop(path, None)  # what comes again comes last
        entries[path] = entry
        room.left -= _memory(path, entry)
        if len(entries) > MOST_ENTRIES or room.left < 0:
            raise Malformed(
                f"it has more than {MOST_ENTRIES:,} entries, or all images have too many: verify fewer at once"
            )
    return tar.digest(), entries


def _memory(path: str, entry: Entry) -> int:
    return ENTRY_MEMORY + sys.getsizeof(path) + sys.getsizeof(entry.target)


class _Tar:
    """The bytes of a tar, from its pieces, hashed as they are read or skipped."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._total = pieces, 0
        self._data, self._at = b"", 0
        self._sha = hashlib.sha256()

    def digest(self) -> str:
        """Of the whole tar: what follows its end mark is padding."""
        while self._next():
            pass
        return f"sha256:{self._sha.hexdigest()}"

    def read_header(self) -> bytes:
        """The next header, b"" at the end of the tar: a block of zeros, or nothing more."""
        if self._at == len(self._data) and not self._next():
            return b""
        block = self.read(BLOCK)
        if not block.strip(b"\0"):
            return b""
        stated = block[148:156].strip(b" \0")
        if stated.strip(b"01234567") or int(stated or b"0", 8) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise Malformed("there is no tar header where one belongs")
        return block

    def read(self, count: int, *, skip: bool = False) -> bytes:
        """The next ``count`` bytes; nothing if they are only to be skipped."""
        parts = []
        while count:
            if self._at == len(self._data) and not self._next():
                raise Malformed("it ends in the middle of an entry")
            part = self._data[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            if not skip:
                parts.append(part)
        return b"".join(parts)

    def _next(self) -> bool:
        """Takes the next piece, at the end of the one before; whether there is one."""
        self._data, self._at = b"", 0
        while not self._data and (piece := next(self._pieces, None)) is not None:
            self._total += len(piece)
            if self._total > MOST_BYTES:
                raise Malformed(f"it has more than {MOST_BYTES:,} bytes")
            self._sha.update(piece)
            self._data = piece
        return bool(self._data)


def _read_extra(tar: _Tar, block: bytes) -> dict[str, str]:
    """What the next entry's own header has no room for, by its pax key."""
    kind, size = block[156:157], _number(block[124:136])
    if size > MAX_NAMES_SIZE:
        raise Malformed(f"the names of one entry have {size:,} bytes")
    content = tar.read(size + -size % BLOCK)[:size]
    if kind in (b"L", b"K"):
        return {"path" if kind == b"L" else "linkpath": _text(content)}
    return _parse_pax(content) if kind == b"x" else {}


def _read_entry(tar: _Tar, block: bytes, extra: Mapping[str, str], entries: Mapping[str, Entry]) -> tuple[str, Entry]:
    """The path and the entry of a header, past its content; ``entries`` are those before it."""

    def number(key: str, field: bytes) -> int:
        if key not in extra:
            return _number(field)
        if not re.fullmatch(r"[0-9]{1,19}", extra[key]):
            raise Malformed(f"the {key} of an entry is {extra[key][:20]!r}")
        return int(extra[key])

    kind = _TYPES.get(block[156:157], "")
    if not kind:
        raise Malformed(f"an entry is of the unknown type {block[156:157]!r}")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    path = _absolute(extra.get("path") or name)
    target = extra.get("linkpath") or _text(block[157:257])
    if max(len(path), len(target)) > PATH_MAX:
        raise Malformed(f"a path has more than {PATH_MAX:,} characters: {path[:80]!r}")
    uid, gid, size = number("uid", block[108:116]), number("gid", block[116:124]), number("size", block[124:136])
    mode = _number(block[100:108]) & 0o7777
    if kind == "hard link":
        # one more name of a file of this layer, whose content is counted once
        other = entries.get(_absolute(target))
        if other is None:
            raise Malformed(f"{path} is a hard link to {target}, which does not come before it")
        return path, other._replace(size=0)
    if kind != "file":
        return path, Entry(kind, mode, uid, gid, 0, target if kind == "link" else "")
    head = tar.read(HEAD) if size >= HEAD and mode & 0o111 else b""
    tar.read(size + -size % BLOCK - len(head), skip=True)
    return path, Entry(kind, mode, uid, gid, size, "", elf_of(head))


def elf_of(head: bytes) -> str:
    """The architecture of a program that begins with these bytes (System V gABI, "ELF Header"): ``amd64``, or of an
    unknown one ``64-bit LSB machine 8``; "" for no program."""
    if len(head) < HEAD or not head.startswith(b"\x7fELF") or head[4] not in (1, 2) or head[5] not in (1, 2):
        return ""
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    found = f"{32 * head[4]}-bit {'LSB' if head[5] == 1 else 'MSB'} machine {machine}"
    return MACHINES.get(found, found)


def _parse_pax(content: bytes) -> dict[str, str]:
    """Names and numbers of a pax header: records of ``LENGTH KEY=VALUE`` and a line end, LENGTH that of all of it."""
    values: dict[str, str] = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 8)
        digits = content[position:space] if space > 0 else b""
        if not digits.isdigit() or (end := position + int(digits)) > len(content) or content[end - 1 : end] != b"\n":
            raise Malformed("a pax header is malformed")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise Malformed("a pax header has a record without a value")
        # others (times, extended attributes) are not asked for
        if key in (b"path", b"linkpath", b"size", b"uid", b"gid"):
            values[key.decode("ascii")] = value.decode("utf-8", "surrogateescape")
        position = end
    return values


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise Malformed(f"{field!r} is not an octal number")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _absolute(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Malformed(f"{name[:200]!r} leads out of the layer")
    return "/" + "/".join(parts)
