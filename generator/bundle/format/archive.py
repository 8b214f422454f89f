"""The tar file itself: 512-byte USTAR headers in exactly one spelling, written and read here, never extracted.

Python's tarfile has been got round again and again (CVE-2024-12718, CVE-2025-4517, CVE-2026-11940), and two parsers
that disagree about one header are an attack of their own (CVE-2025-62518). So a header is accepted only if its bytes
are the bytes that this module would write for the same name and size: no links, devices, PAX, GNU names or sparse
files, no owner, no time. Layout: POSIX.1-2017 pax, "ustar Interchange Format"; sizes from 8 GiB on in GNU base-256.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from generator.images.image import CHUNK as CHUNK
from generator.images.image import Reads as Reads
from generator.progress import Progress as Progress
from generator.progress import quiet as quiet

BLOCK = 512
TRAILER = bytes(2 * BLOCK)
OCTAL_LIMIT = 8 << 30
"""first size that eleven octal digits do not hold"""

MEMBER = re.compile(
    r"oci-layout|index\.json|manifest\.json|fategen/\.?[A-Za-z0-9][A-Za-z0-9._-]{0,62}|blobs/|blobs/sha256/"
    r"|blobs/sha256/[0-9a-f]{64}"
)
_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"S": "a sparse file",
    b"x": "a PAX header",
    b"g": "a global PAX header",
}


class Writes(Protocol):
    """What is asked of a place for bytes."""

    def write(self, data: bytes, /) -> object: ...


class HeaderError(ValueError):
    """A header is not one that a bundle can have. ``damaged``: its checksum is wrong, so it is torn, not hostile."""

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged


@dataclass(frozen=True)
class Member:
    """One member of the tar; a directory's name ends in "/" and its size is 0."""

    name: str
    size: int


def padding(size: int) -> int:
    """Zero bytes that follow ``size`` bytes of content up to the next block."""
    return -size % BLOCK


def header(name: str, size: int) -> bytes:
    """The 512 bytes that stand before ``size`` bytes of content. A name outside ``MEMBER`` is a ``ValueError``."""
    if not MEMBER.fullmatch(name) or size < 0:
        raise ValueError(f"not a member of a bundle: {name!r}, {size} bytes")
    folder = name.endswith("/")
    number = b"%011o\0" % size if size < OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(BLOCK)
    head[: len(name)] = name.encode("ascii")
    head[100:108] = b"0000755\0" if folder else b"0000644\0"
    head[108:124] = b"0000000\0" * 2
    head[124:136] = number
    head[136:148] = b"00000000000\0"
    head[148:156] = b" " * 8
    head[156:157] = b"5" if folder else b"0"
    head[257:265] = b"ustar\00000"
    head[329:345] = b"0000000\0" * 2
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _size(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    if not re.fullmatch(rb"[0-7]{11}\0", field):
        raise HeaderError("its size is not eleven octal digits or a positive base-256 number")
    return int(field[:11], 8)


def parse_header(block: bytes) -> Member:
    """The member that a header announces. ``HeaderError`` for every header but the one that ``header`` would write."""
    if len(block) != BLOCK:
        raise HeaderError("the file ends inside a header", damaged=True)
    checksum = sum(block) - sum(block[148:156]) + 8 * 32
    if block[148:156] not in (b"%06o\0 " % checksum, b"%07o\0" % checksum):
        raise HeaderError("no tar header stands here", damaged=True)
    raw, _, rest = block[:100].partition(b"\0")
    name = raw.decode("ascii", "backslashreplace")
    kind = block[156:157]
    if kind in _TYPES:
        raise HeaderError(f"member {name!r} is {_TYPES[kind]}")
    if kind not in (b"0", b"5") or (kind == b"5") != name.endswith("/"):
        raise HeaderError(f"member {name!r} is neither a plain file nor a directory")
    if rest.strip(b"\0") or not MEMBER.fullmatch(name):
        raise HeaderError(f"member {name!r} has no place in a bundle")
    size = _size(block[124:136])
    if kind == b"5" and size:
        raise HeaderError(f"member {name!r} is a directory with content")
    if block != header(name, size):
        raise HeaderError(f"member {name!r} has a header that fategen does not write (owner, time, link or prefix)")
    return Member(name, size)
