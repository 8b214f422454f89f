"""Writers of a layer in each of its forms: what is written to them is its tar, ``digest`` and ``size`` are of the form.

All of them give the same bytes for the same tar, on any number of cores; another build of zlib or zstd may give others.
"""

from __future__ import annotations

import hashlib
import os
from types import TracebackType
from typing import IO, Literal, Protocol

from generator.errors import Problem
from generator.images.gzipped import GzipWriter
from generator.images.inflate import NO_ZSTD, zstd_module
from generator.images.oci import Form

_LEVEL = 9
"""of zstd: 12 % smaller than gzip -6 and twice as fast (measured with layers of /usr; 19 is ten times as slow)"""

_LACKING = Problem("--layers zstd", NO_ZSTD)


class Writer(Protocol):
    """Leaving its ``with`` block in peace ends the stream. OSError where the file cannot be written."""

    size: int

    @property
    def digest(self) -> str: ...

    def __enter__(self) -> Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, data: bytes) -> None: ...


def writer(form: Form, file: IO[bytes], *, fast: bool = False) -> Writer:
    """Writes to ``file``; ``fast`` is for gzip, see GzipWriter. InputError: zstd, and this Python has none."""
    return GzipWriter(file, fast=fast) if form == "gzip" else _Writer(file, form)


def check_form(form: str) -> None:
    """Before the first layer is read. InputError: zstd, and this Python has none."""
    if form == "zstd":
        zstd_module(_LACKING)


class _Writer:
    """The tar as it is, or in one zstd frame."""

    def __init__(self, file: IO[bytes], form: Literal["raw", "zstd"]) -> None:
        self._file, self._sha, self.size = file, hashlib.sha256(), 0
        self._compressor = None
        if form == "zstd":
            zstd = zstd_module(_LACKING)
            # with one worker or more the bytes do not depend on their number; each holds 10 to 30 MB
            options = {"compression_level": _LEVEL, "nb_workers": min(8, os.cpu_count() or 1)}
            self._compressor = zstd.ZstdCompressor(
                options={getattr(zstd.CompressionParameter, name): value for name, value in options.items()}
            )

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha.hexdigest()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._compressor is not None:
            self._put(self._compressor.flush())

    def write(self, data: bytes) -> None:
        self._put(data if self._compressor is None else self._compressor.compress(data))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self.size += len(data)
