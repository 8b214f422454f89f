"""Writes the file of a bundle: hidden and locked until it is complete and on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from generator.errors import EngineError, InputError, Problem
from generator.files import disk_errors, sync_directory, try_lock, write_atomically

_MARGIN = 1 << 20
_ANOTHER_DISK = "free some space there, or name a file on another disk with -o (FAT32 holds files of up to 4 GiB)"
_BATCH = 32 << 20
"""Bytes that are written before the disk is waited for."""


def check_place(output: Path) -> None:
    """Raises InputError if no file can be written to ``output``."""
    if output.is_dir():
        raise InputError(Problem("-o", f"{output} is a directory"), hint=f"-o {output}/NAME.tar")
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
def output_file(output: Path) -> Iterator[SyncedFile]:
    """A hidden file beside ``output`` that takes its place at the end of the block; on any error it is removed.

    Checksum and signature of an older file are deleted before the rename, so they never sit next to a bundle they
    don't match. A killed run leaves only the hidden file, and the next one writes over it. Raises EngineError if the
    disk is full or fails, or another fategen writes ``output``.
    """
    part = output.with_name(f".{output.name}.part")
    with disk_errors(output, _ANOTHER_DISK):
        locked = try_lock(part)
        if locked is None:
            message = f"{output} is being written by another fategen"
            raise EngineError(message, hint="wait for it, or name another file with -o")
        with locked:
            try:
                locked.truncate(0)
                with contextlib.closing(SyncedFile(locked.fileno())) as file:
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
    with disk_errors(path, _ANOTHER_DISK):
        write_atomically(path, f"{digest}  {output.name}\n", temporary=f".{path.name}.part")
        sync_directory(path.parent)


class SyncedFile:
    """An open file that a thread has brought to the disk while more is written. Methods raise OSError.

    So little is left for the end, no other program's pages have to leave the memory for it, and a disk that is full or
    fails is noticed early.
    """

    def __init__(self, number: int) -> None:
        self._number, self._unsynced = number, 0
        self._thread = ThreadPoolExecutor(1)
        self._syncing: Future[None] = self._thread.submit(lambda: None)

    def write(self, data: bytes, /) -> None:
        """Write the next bytes; they are on the disk after ``finish``. Raises any error from earlier ones too."""
        if self._syncing.done():
            self._syncing.result()
        left = memoryview(data)
        while left:
            left = left[os.write(self._number, left) :]
        self._unsynced += len(data)
        if self._unsynced >= _BATCH:
            self._syncing.result()
            self._syncing, self._unsynced = self._thread.submit(self._sync), 0

    def finish(self) -> None:
        """Returns when everything is on the disk."""
        self._syncing.result()
        os.fsync(self._number)

    def close(self) -> None:
        """Ends the thread; the file stays open."""
        self._thread.shutdown()

    def _sync(self) -> None:
        os.fdatasync(self._number)
        os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_DONTNEED)
