"""Writes the file of a bundle: hidden and locked until it is complete and on the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from generator.errors import EngineError, InputError, Problem
from generator.files import sync_directory, try_lock, write_atomically

_MARGIN = 1 << 20
_BUFFER = 4 << 20
"""Bytes that are written at once; there are two buffers of it. mmap aligns them, as O_DIRECT wants it (open(2))."""


def check_place(output: Path) -> None:
    """Raises InputError if no file can be written to ``output``."""
    if output.is_dir():
        raise InputError(Problem("-o", f"{output} is a directory"), hint=f"-o {output}/NAME.fate.tar")
    if not output.parent.is_dir():
        why = "" if output.parent.exists() else ": it does not exist"
        raise InputError(Problem("-o", f"{output.parent} is not a directory{why}"), hint=f"mkdir -p {output.parent}")


def check_space(output: Path, size: int, besides: int) -> None:
    """Raises EngineError if there is no room for ``size`` bytes and ``besides``, which are layers on the same disk."""
    free = shutil.disk_usage(output.parent).free
    if free < size + _MARGIN + besides:
        layers = f", and the layers that are fetched for it {besides:,}" if besides else ""
        raise EngineError(
            f"{output.parent} has {free:,} bytes free, the bundle needs {size + _MARGIN:,}{layers}",
            hint="free some space there, or name a file on another disk with -o",
        )


@contextlib.contextmanager
def output_file(output: Path, size: int) -> Iterator[DirectWriter]:
    """A hidden file beside ``output`` that takes its place at the end of the block; on any error it is removed.

    Checksum and signature of an older file are deleted before the rename, so they never sit next to a bundle they
    don't match. A killed run leaves only the hidden file, and the next one writes over it. Raises EngineError if the
    disk is full or fails, or another fategen writes ``output``.
    """
    part = output.with_name(f".{output.name}.part")
    with _disk_errors(output, size):
        locked = try_lock(part)
        if locked is None:
            message = f"{output} is being written by another fategen"
            raise EngineError(message, hint="wait for it, or name another file with -o")
        with locked:
            try:
                locked.truncate(0)
                with contextlib.closing(DirectWriter(locked.fileno())) as file:
                    yield file
                    file.finish()
                for suffix in (".sha256", ".sig"):
                    output.with_name(output.name + suffix).unlink(missing_ok=True)
                part.replace(output)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        sync_directory(output.parent)


def write_checksum(output: Path, digest: str) -> None:
    """Writes ``output`` + ``.sha256`` for ``sha256sum -c``."""
    path = output.with_name(output.name + ".sha256")
    with _disk_errors(path, 0):
        write_atomically(path, f"{digest}  {output.name}\n", temporary=f".{path.name}.part")
        sync_directory(path.parent)


@contextlib.contextmanager
def _disk_errors(output: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{output.parent} became full while {output.name} ({size:,} bytes) was written; it was removed"
            hint = "free some space there, or name a file on another disk with -o"
        elif error.errno == errno.EFBIG:
            message = f"{output.parent} cannot hold a file of {size:,} bytes"
            hint = "FAT32 allows at most 4 GiB: use exFAT or ext4, or name a file on another disk with -o"
        else:
            message, hint = f"{output} cannot be written: {error.strerror}", "check the disk and its permissions"
        raise EngineError(message, hint=hint) from error


class DirectWriter:
    """An open file that a thread writes past the page cache if the file system can. Methods raise OSError.

    Through the cache 1 GB took 1.3 to 1.7 times as long on a busy machine, and its pages would push out those of
    others, while a bundle is read next on another machine; ``bundle verify`` then reads what the disk has.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._filled, self._spare, self._used = mmap.mmap(-1, _BUFFER), mmap.mmap(-1, _BUFFER), 0
        self._direct = False
        with contextlib.suppress(OSError):
            self._set_direct(True)
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] = self._thread.submit(lambda: None)

    def write(self, data: bytes, /) -> None:
        """Write the next bytes; they are on the disk after ``finish``.

        Raises any error from earlier writes, even if ``data`` is empty.
        """
        if self._writing.done():
            self._writing.result()
        view = memoryview(data)
        while view:
            piece, view = view[: _BUFFER - self._used], view[_BUFFER - self._used :]
            self._filled[self._used : self._used + len(piece)] = piece
            self._used += len(piece)
            if self._used == _BUFFER:
                self._hand_over()

    def finish(self) -> None:
        """Returns when everything is on the disk."""
        self._hand_over()
        self._writing.result()
        os.fsync(self._number)

    def close(self) -> None:
        """Ends the thread; the file stays open."""
        self._thread.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        self._writing.result()
        self._writing = self._thread.submit(self._put, memoryview(self._filled)[: self._used])
        self._filled, self._spare, self._used = self._spare, self._filled, 0

    def _put(self, left: memoryview) -> None:
        if len(left) < _BUFFER:
            # the file's end is no multiple of a disk's block
            self._set_direct(False)
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._set_direct(False)

    def _set_direct(self, direct: bool) -> None:
        """Whether the file is written past the cache from now on. Raises OSError if the file system cannot."""
        if direct != self._direct:
            flags = fcntl.fcntl(self._number, fcntl.F_GETFL)
            fcntl.fcntl(self._number, fcntl.F_SETFL, flags ^ getattr(os, "O_DIRECT", 0))
            self._direct = direct
