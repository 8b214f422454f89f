"""How layers are compressed: told by their first bytes, unpacked in pieces, written as gzip.

zstd is in Python from 3.14 on, before in the package backports.zstd (the extra ``zstd``).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import IO, Any, Literal

from generator.errors import InputError, Problem
from generator.images.image import Readable
from generator.images.oci import OCI_GZIP, Descriptor
from generator.images.strictjson import Malformed

try:
    from isal import isal_zlib
except ImportError:
    # a platform for which it is not built, and fategen-load.pyz
    isal_zlib = None  # type: ignore[assignment]

PIECE = 1 << 20
"""bytes that are unpacked or compressed at a time"""
_WINDOW_LOG = 27
"""zstd: at most 128 MiB of window, as ``zstd -d`` takes without being asked"""
# the second is a skippable frame, with which a stream of several frames may begin
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


def compression_of(head: bytes) -> Literal["", "gzip", "zstd"]:
    """How a layer that begins with these bytes (four are enough) is compressed; "" for a plain tar."""
    return "gzip" if head.startswith(b"\x1f\x8b\x08") else "zstd" if _ZSTD.match(head) else ""


def unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A layer's tar, in pieces of at most ``PIECE`` bytes, never unpacked further than one piece ahead.

    Several compressed streams may follow each other (pigz and others write so), and zeros the last. Raises Malformed.
    """
    head = b""
    while len(head) < 4 and (piece := next(pieces, b"")):
        head += piece
    kind = compression_of(head)
    if not kind:
        yield head
        yield from pieces
        return
    new: Callable[[], Any] = partial(zlib.decompressobj, wbits=31)
    errors: tuple[type[Exception], ...] = (zlib.error,)
    if kind == "zstd":
        zstd = zstd_module()
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        new, errors = partial(zstd.ZstdDecompressor, options=options), (zstd.ZstdError, EOFError)
    stream = new()
    for data in chain([head], pieces):
        more = False
        while data or more:
            if stream.eof:
                if not data.strip(b"\0"):
                    break
                stream = new()
            try:
                piece = stream.decompress(data, PIECE)
            except errors as error:
                raise Malformed(f"its compression is damaged ({error})") from None
            yield piece
            # zlib gives back what it has not read; zstd keeps it
            data = stream.unused_data if stream.eof else getattr(stream, "unconsumed_tail", b"")
            more = len(piece) == PIECE and not stream.eof
    if not stream.eof:
        raise Malformed("its compression ends too early")


def zstd_module() -> Any:
    """Python's zstd, or its backport. InputError if there is neither."""
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            from backports import zstd  # type: ignore[import-not-found, no-redef, unused-ignore]
    except ImportError:
        problem = Problem("a layer", "it is zstd-compressed, and this Python has no zstd (3.14 has)")
        raise InputError(problem, hint="pip install backports.zstd, where fategen is installed") from None
    return zstd


def gzip_layer(tar: Readable, file: IO[bytes]) -> tuple[str, Descriptor]:
    """Write a layer's tar to ``file`` as gzip; the tar's digest (the diff ID), and the blob.

    The bytes depend on the content alone: no name, no time. ISA-L, if there is one, is ten times as fast as gzip -6,
    and layers become 8 % larger; it, or another build of zlib, may write other bytes.
    """
    deflate = (isal_zlib or zlib).compressobj(3, zlib.DEFLATED, 31)
    unpacked, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    piece = b"-"
    while piece:
        # pieces of one size: what is written must not depend on how the bytes arrive
        piece = b""
        while len(piece) < PIECE and (data := tar.read(PIECE - len(piece))):
            piece += data
        unpacked.update(piece)
        data = deflate.compress(piece) if piece else deflate.flush()
        packed.update(data)
        size += file.write(data)
    return f"sha256:{unpacked.hexdigest()}", Descriptor(f"sha256:{packed.hexdigest()}", size, OCI_GZIP)
