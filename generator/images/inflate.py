"""How layers are unpacked: gzip and zstd with one interface, which is that of Python's own bz2 and lzma.

zstd is in Python from 3.14 on, before in the package backports.zstd (the extra ``zstd``).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

from generator.errors import InputError, Problem

WINDOW_LOG = 27
"""zstd: at most 128 MiB of window, as ``zstd -d`` takes without being asked"""
PIECE = 1 << 20
"""bytes that come out at a time"""
GZIP = re.compile(rb"\x1f\x8b\x08")
# the second is a skippable frame, with which a stream of several frames may begin
ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
NO_ZSTD = "this Python has no zstd (3.14 has)"
INSTALL = "pip install backports.zstd, where fategen is installed"


class Decompressor(Protocol):
    """One stream; ``eof`` is its end, and ``unused_data`` what stands behind it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Unpacker(NamedTuple):
    """``make`` makes a decompressor, ``errors`` are what that raises for a stream that is none."""

    make: Callable[[], Decompressor]
    errors: tuple[type[Exception], ...]


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._needs_input = True

    @property
    def needs_input(self) -> bool:
        return self._needs_input

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        found = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._needs_input = not self._inner.unconsumed_tail and len(found) < max_length
        return found


class Unpacking:
    """What comes out of a stream whose bytes are given as they come.

    Several streams may stand one behind the other (pigz and others write so), and zeros behind the last.
    """

    def __init__(self, unpacker: Unpacker) -> None:
        self._make = unpacker.make
        self._inner = self._make()

    @property
    def ended(self) -> bool:
        """Whether a stream is at its end, and not in its middle."""
        return self._inner.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most ``PIECE`` bytes; raises the unpacker's ``errors``."""
        while data or not (self._inner.needs_input or self._inner.eof):
            if self._inner.eof:
                if not data.strip(b"\0"):
                    return
                self._inner = self._make()
            yield self._inner.decompress(data, PIECE)
            data = self._inner.unused_data if self._inner.eof else b""


def compressed(head: bytes) -> Literal["", "gzip", "zstd"]:
    """How a layer that begins with these bytes (four are enough) is compressed; "" where it is a plain tar."""
    return "gzip" if GZIP.match(head) else "zstd" if ZSTD.match(head) else ""


def decompressor(kind: Literal["gzip", "zstd"], what: str, hint: str = INSTALL) -> Unpacker:
    """For a stream of this kind. InputError: zstd, and this Python has none."""
    if kind == "gzip":
        return Unpacker(_Gzip, (zlib.error,))
    zstd = zstd_module(Problem(what, f"it is zstd-compressed, and {NO_ZSTD}"), hint)
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return Unpacker(lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError))


def zstd_module(problem: Problem, hint: str = INSTALL) -> Any:
    """Python's zstd, or its backport. InputError with this problem where there is neither."""
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:
        raise InputError(problem, hint=hint) from None
    return zstd
