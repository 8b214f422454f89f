"""The fields of tar headers: numbers, names and PAX records, each in bounds or refused."""

from __future__ import annotations

import re
from typing import Protocol

from generator.bundle.format.archive import BLOCK
from generator.errors import BundleError

MAX_NAME = 512
"""bytes that a name may have"""
_LENGTH = re.compile(rb"([1-9][0-9]{0,7}) ")


class Refuses(Protocol):
    """Makes the error for what is not read, with the archive and the place."""

    def __call__(self, reason: str, /) -> BundleError: ...


def is_header(block: bytes) -> bool:
    """Whether 512 bytes have the checksum of a header; an empty archive begins with zeros."""
    if len(block) < BLOCK or not block.strip(b"\0"):
        return len(block) == BLOCK
    stated = re.fullmatch(rb" *([0-7]{1,7})[\0 ]*", block[148:156])
    return stated is not None and int(stated[1], 8) == sum(block) - sum(block[148:156]) + 8 * 32


def number(field: bytes, refuse: Refuses) -> int:
    """A size: octal digits, or GNU's base-256 with its first bit set."""
    if field[:1] == b"\x80":
        found = int.from_bytes(field[1:], "big")
        if found < 1 << 62:
            return found
    elif octal := re.fullmatch(rb" *([0-7]*)[ \0]*", field):
        return int(octal[1] or b"0", 8)
    raise refuse("a size is negative, too large, or not a number")


def records(data: bytes, refuse: Refuses) -> dict[str, str]:
    """The records of a PAX header: ``LENGTH KEY=VALUE\\n``. What is not about names or sizes is left out."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        end = at + int(length[1]) if length else 0
        if length is None or not length.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise refuse("a PAX header is malformed")
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        at = end
        if not equals or key.startswith(b"GNU.sparse"):
            raise refuse("a PAX header tells of a sparse file" if equals else "a PAX header is malformed")
        if key in (b"path", b"linkpath", b"size"):
            name = key.decode()
            if name in found:
                raise refuse(f"a PAX header has {name!r} twice")
            found[name] = plain_text(value, refuse)
    return found


def name_field(field: bytes, refuse: Refuses) -> str:
    """A name in a header's own field: up to its first NUL, behind which nothing may stand."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise refuse(f"the name {text!r} has more behind its end")
    return plain_text(text, refuse)


def plain_text(data: bytes, refuse: Refuses) -> str:
    """A name from any place: printable, so that a message can show it."""
    if len(data) > MAX_NAME:
        raise refuse(f"a name has {len(data):,} bytes, at most {MAX_NAME} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or (data and not text):
        raise refuse(f"the name {data[:80]!r} is not plain text")
    return text
