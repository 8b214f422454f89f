"""How layers are compressed: told by their first bytes, unpacked in pieces, written as gzip.

zstd is in Python from 3.14 on, before in the package backports.zstd (the extra ``zstd``).
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, Literal

from generator.errors import InputError, Problem

try:
    from isal import isal_zlib
except ImportError:
    # a platform for which it is not built, and fategen-load.pyz
    isal_zlib = None  # type: ignore[assignment]

Kind = Literal["", "gzip", "zstd"]
"""How a layer is compressed; "" for a plain tar."""
PIECE = 1 << 20
"""bytes that are unpacked or compressed at a time"""
NO_ZSTD = "this Python has no zstd (3.14 has)"
_INSTALL = "pip install backports.zstd, where fategen is installed"
_WINDOW_LOG = 27
"""zstd: at most 128 MiB of window, as ``zstd -d`` takes without being asked"""
_GZIP = re.compile(rb"\x1f\x8b\x08")
# the second is a skippable frame, with which a stream of several frames may begin
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


def compression_of(head: bytes) -> Kind:
    """How a layer that begins with these bytes (four are enough) is compressed."""
    return "gzip" if _GZIP.match(head) else "zstd" if _ZSTD.match(head) else ""


class DamagedStream(ValueError):
    """A compressed stream cannot be unpacked; the message is the decompressor's."""


class Decompressor:
    """Unpacks a compressed stream whose bytes are given as they come, never more than one piece ahead.

    Several streams may follow each other (pigz and others write so), and zeros the last. ``what`` begins the message
    of an InputError: it is zstd, and this Python has none.
    """

    def __init__(self, kind: Literal["gzip", "zstd"], what: str) -> None:
        self._new: Callable[[], Any] = lambda: zlib.decompressobj(wbits=31)
        self._errors: tuple[type[Exception], ...] = (zlib.error,)
        if kind == "zstd":
            zstd = zstd_module(Problem(what, f"it is zstd-compressed, and {NO_ZSTD}"))
            options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
            self._new, self._errors = (lambda: zstd.ZstdDecompressor(options=options)), (zstd.ZstdError, EOFError)
        self._stream = self._new()

    @property
    def ended(self) -> bool:
        """Whether a stream is at its end, and not in its middle."""
        return bool(self._stream.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most ``PIECE`` bytes. Raises DamagedStream."""
        more = False
        while data or more:
            if self._stream.eof:
                if not data.strip(b"\0"):
                    return
                self._stream = self._new()
            try:
                piece = self._stream.decompress(data, PIECE)
            except self._errors as error:
                raise DamagedStream(str(error)) from None
            yield piece
            # zlib gives back what it has not read; zstd keeps it
            data = self._stream.unused_data if self._stream.eof else getattr(self._stream, "unconsumed_tail", b"")
            more = len(piece) == PIECE and not self._stream.eof


def zstd_module(problem: Problem) -> Any:
    """Python's zstd, or its backport. InputError with this problem where there is neither."""
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:
        raise InputError(problem, hint=_INSTALL) from None
    return zstd


class GzipWriter:
    """Writes what it is given to ``file`` as gzip whose bytes depend on the content alone: no name, no time.

    Leaving the ``with`` block without an error ends the stream; then ``digest`` (``sha256:…``) and ``size`` (bytes)
    are those of the compressed stream. ISA-L, where there is one, is ten times as fast as gzip -6, and the layers of
    FATE become 8 % larger; another build of zlib, or ISA-L on another kind of processor, may write other bytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        library = zlib if isal_zlib is None else isal_zlib
        self._file, self._sha, self.size = file, hashlib.sha256(), 0
        self._deflate = library.compressobj(3, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._buffer = bytearray()
        self._crc = self._length = 0

    def __enter__(self) -> GzipWriter:
        # no name, no time, "unknown" operating system
        self._put(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._put(self._deflate.compress(bytes(self._buffer)) + self._deflate.flush())
            self._put(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha.hexdigest()

    def write(self, data: bytes) -> None:
        """Takes the next bytes. OSError where the file cannot be written."""
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        self._buffer += data
        # in pieces of one size: what is compressed must not depend on how the bytes arrive
        while len(self._buffer) >= PIECE:
            self._put(self._deflate.compress(bytes(self._buffer[:PIECE])))
            del self._buffer[:PIECE]

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self.size += len(data)
