"""What is compressed, told by its first bytes and never by a name, and read back within bounds.

A file may be a bomb: so what comes out is bounded by what went in, a decompressor's memory by its format's window, and
the number of streams that stand one behind the other by what they hold.
"""

from __future__ import annotations

import bz2
import functools
import lzma
import re
from typing import Literal

from generator.bundle.format.archive import Reads
from generator.errors import BundleError
from generator.images.inflate import GZIP, INSTALL, ZSTD, Unpacker, decompressor

Compression = Literal["", "gzip", "bzip2", "xz", "zstd"]

RATIO = 200
"""bytes that may come out for each that went in, beyond the first ``SLACK``"""
SLACK = 256 << 20
_XZ_MEMORY = 160 << 20
_CHUNK = 64 << 10
_STREAMS = 1000
"""streams one behind the other that need not hold 1 KiB each"""
UNPACK: dict[Compression, str] = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}
"""The program that takes a compression away from a file."""
_MAGIC: dict[Compression, re.Pattern[bytes]] = {
    "gzip": GZIP,
    "bzip2": re.compile(rb"BZh[1-9]"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": ZSTD,
}


def compression(head: bytes) -> Compression:
    """How the data that begins with ``head`` (six bytes are enough) is compressed; "" where it is not."""
    return next((kind for kind, magic in _MAGIC.items() if magic.match(head)), "")


class Inflated:
    """The content of a compressed stream, to be read once.

    ``what`` begins the messages; ``slack`` replaces ``SLACK``; ``hint`` is the next step where Python has no zstd.
    Raises BundleError: damaged, cut, a bomb. InputError: zstd, and this Python has none.
    """

    def __init__(
        self, stream: Reads, kind: Compression, what: str, slack: int | None = None, hint: str = INSTALL
    ) -> None:
        self.name = what
        self._stream, self._kind, self._what = stream, kind, what
        self._slack = SLACK if slack is None else slack
        self._make, self._errors = _decompressor(kind, what, hint)
        self._inner = self._make()
        self._streams = 1
        self._pending = self._ready = b""
        self._in = self._out = 0
        self._ended = False

    def read(self, size: int, /) -> bytes:
        if not self._ready and size > 0:
            self._ready = self._inflate(max(size, _CHUNK))
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _inflate(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._ended:
            data = self._next() if self._inner.needs_input else b""
            if self._inner.needs_input and not data:
                message = f"{self._what} is cut short: its {self._kind} stream does not end"
                raise BundleError(message, hint="copy the whole file again")
            try:
                found = self._inner.decompress(data, size)
            except self._errors as error:
                message = f"{self._what} is damaged: its {self._kind} stream: {error}"
                raise BundleError(message, hint="copy it again") from None
            self._out += len(found)
            if self._out > self._slack + RATIO * self._in:
                raise self._unsafe(f"more than {RATIO} bytes come out for each one that went in ({self._in:,})")
            if self._inner.eof:
                self._begin(self._inner.unused_data)
            if found:
                return found
        return b""

    def _next(self) -> bytes:
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        data = self._stream.read(_CHUNK)
        self._in += len(data)
        return data

    def _begin(self, rest: bytes) -> None:
        """Begin the next stream, if there is one; zeros may fill up a block at the end, as on a tape."""
        rest = rest or self._next()
        while rest and not rest.strip(b"\0"):
            rest = self._next()
        if not rest:
            self._ended = True
            return
        while len(rest) < 6 and (more := self._next()):
            rest += more
        if compression(rest) != self._kind:
            raise self._unsafe(f"something stands behind the end of its {self._kind} stream")
        self._streams += 1
        if self._streams > _STREAMS + self._out // 1024:
            raise self._unsafe(f"{self._streams:,} {self._kind} streams with hardly anything in them")
        self._inner = self._make()
        self._pending = rest

    def _unsafe(self, reason: str) -> BundleError:
        return BundleError(f"{self._what} is not safe to read: {reason}", hint="do not use it")


class Chained:
    """Bytes that were read already, and then the rest of the stream."""

    def __init__(self, head: bytes, stream: Reads) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        found, self._head = self._head[:size], self._head[size:]
        return found


def _decompressor(kind: Compression, what: str, hint: str) -> Unpacker:
    if kind == "bzip2":
        return Unpacker(bz2.BZ2Decompressor, (OSError, ValueError, EOFError))
    if kind == "xz":
        make = functools.partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        return Unpacker(make, (lzma.LZMAError, EOFError))
    if kind == "zstd":
        return decompressor("zstd", what, hint)
    return decompressor("gzip", what)
