"""A bundle cut into parts for small media: their names, and the list ``X.fate.tar.parts.json`` that describes them.

``cat X.fate.tar.[0-9]* | docker load`` works without the list. With it each part is known by its own checksums before a
byte is used: one that is missing, cut, swapped, doubled or of another bundle is told from one that is damaged. The list
is a help and no authority: what is loaded still has to match the record in the first part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.format.base import NAME
from generator.errors import BundleError, InputError, Problem
from generator.images.strictjson import Malformed, digest, encode, fields, items, parse, size, text

SUFFIX = ".parts.json"
HEAD = 1 << 16
"""bytes at the begin of a part by which it is recognised"""
MAX_PARTS = 999
_PART = re.compile(r"(.+)\.([0-9]{3})")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
# what a medium holds, less room for its own file system and for the list
_MEDIA = {"dvd": 4_692_000_000, "dvd-dl": 8_536_000_000, "fat32": (4 << 30) - 1}
_LEAST = 1 << 20


@dataclass(frozen=True)
class Part:
    """``size`` in bytes, the digest of the whole part, and of its first ``HEAD`` bytes."""

    size: int
    sha256: str
    head: str


@dataclass(frozen=True)
class PartList:
    """``name`` is the file name of the whole bundle, ``root`` its root digest, ``parts`` in order."""

    name: str
    root: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Bytes of the whole bundle."""
        return sum(part.size for part in self.parts)

    def part(self, number: int) -> str:
        """The file name of a part, counted from 0."""
        return part_name(self.name, number)

    def encode(self) -> bytes:
        """The bytes of the list's file."""
        parts = [{"size": p.size, "sha256": p.sha256, "head": p.head} for p in self.parts]
        count = {"count": len(parts), "total": self.total}
        return encode({"schema": 1, "name": self.name, "root": self.root, **count, "parts": parts}) + b"\n"


def part_name(name: str, number: int) -> str:
    """``X.fate.tar.001`` for number 0."""
    return f"{name}.{number + 1:03d}"


def decode(data: bytes) -> PartList:
    """The list in the file of a list; ``Malformed`` where it is none."""
    found = fields(parse(data), "the list", ("schema", "name", "root", "count", "total", "parts"), closed=True)
    if found["schema"] != 1:
        raise Malformed("a newer fategen wrote it")
    name = text(found["name"], "name")
    if not NAME.fullmatch(name):
        raise Malformed(f"{name[:40]!r} is not a file name")
    parts = []
    for number, value in enumerate(items(found["parts"], "parts")):
        where = f"parts[{number}]"
        entry = fields(value, where, ("size", "sha256", "head"), closed=True)
        sums = digest(entry["sha256"], f"{where}.sha256"), digest(entry["head"], f"{where}.head")
        parts.append(Part(size(entry["size"], f"{where}.size"), *sums))
    made = PartList(name, digest(found["root"], "root"), tuple(parts))
    if not 1 <= len(parts) <= MAX_PARTS or made.encode() != data:
        raise Malformed("it does not add up")
    return made


def list_beside(path: Path) -> Path | None:
    """The list of the bundle that ``path`` names: the whole name, a part, or the list itself. None: a plain file."""
    if path.name.endswith(SUFFIX) or not path.name:
        return path if path.name else None
    beside = path.with_name(path.name + SUFFIX)
    if not path.exists() and beside.exists():
        return beside
    part = _PART.fullmatch(path.name)
    if part:
        beside = path.with_name(part[1] + SUFFIX)
        if beside.exists():
            return beside
        if path.name.endswith(".fate.tar." + part[2]):
            hint = f"copy it too; without it: cat {part[1]}.[0-9]* | fategen bundle verify -"
            raise InputError(
                Problem(str(path), f"is a part of a bundle, and {beside.name} is not beside it"), hint=hint
            )
    return None


def read_list(path: Path) -> PartList:
    """The list in a file. InputError: it cannot be read, BundleError: it is damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(1 << 20)
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    try:
        return decode(data)
    except Malformed as error:
        raise BundleError(f"{path} is not a list of parts: {error}", hint="copy it again") from None


def part_size(value: str) -> int:
    """Bytes of a part: ``dvd``, ``dvd-dl``, ``fat32``, or a number with a unit (``700MB``, ``4.3GiB``)."""
    if value in _MEDIA:
        return _MEDIA[value]
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kmgt]|[kmg]i|)b?", value.lower())
    wrong = f"{value!r} is not a size: {', '.join(_MEDIA)}, or a number such as 700MB or 4GiB"
    if not found:
        raise InputError(Problem("--split", wrong))
    bytes_ = int(float(found[1]) * _UNITS[found[2]])
    if bytes_ < _LEAST:
        raise InputError(Problem("--split", f"{value} is too small: a part has at least 1 MiB"))
    return bytes_


def recognise(parts: Sequence[Part], head: str) -> list[int]:
    """The numbers of the parts that begin with this."""
    return [number for number, part in enumerate(parts) if part.head == head]
