"""A file that is written to the disk itself, past the page cache, by a thread of its own.

A bundle is read next on another machine. In the cache its pages would push out those of others, and a virtual machine
has each of them from its host first: 485 MB took 0.3 s or 1.6 s through the cache, on the same disk, and 0.3 s past it.
Nothing of it stays in the cache: ``bundle verify`` afterwards reads what the disk has, not what memory remembers.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor

_SIZE = 4 << 20
"""Bytes that are written at once; there are two buffers of it. mmap aligns them, as O_DIRECT wants it (open(2))."""
_WINDOW = 64 << 20
"""Bytes after which the disk is waited for, where a cache may be between: a slow one is not found out at the end."""


class DiskFile:
    """An open file, ``number`` (which it closes), from its beginning on. Each method raises OSError as the disk does.

    Where a file system knows no O_DIRECT the cache is used, and waited for.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._direct = self._set_direct(True)
        self._filled, self._spare = mmap.mmap(-1, _SIZE), mmap.mmap(-1, _SIZE)
        self._used = self._unforced = 0
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] = Future()
        self._writing.set_result(None)

    def write(self, data: bytes | memoryview, /) -> None:
        """The next bytes; they are on the disk after ``finish``. Of none, it tells what became of those before."""
        if self._writing.done():
            self._writing.result()
        view = memoryview(data)
        while view:
            piece = view[: _SIZE - self._used]
            self._filled[self._used : self._used + len(piece)] = piece
            self._used += len(piece)
            view = view[len(piece) :]
            if self._used == _SIZE:
                self._hand_over()

    def finish(self) -> None:
        """Everything is on the disk when this returns."""
        self._hand_over()
        self._writing.result()
        os.fsync(self._number)
        # the last piece has come through the cache, and on some disks all (macOS has no such call)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Closes the file as it is, once; what became of bytes before is not told any more."""
        self._thread.shutdown(cancel_futures=True)
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def _hand_over(self) -> None:
        self._writing.result()
        self._writing = self._thread.submit(self._put, memoryview(self._filled)[: self._used])
        self._filled, self._spare, self._used = self._spare, self._filled, 0

    def _put(self, left: memoryview) -> None:
        if len(left) < _SIZE and self._direct:
            # the file's end is no multiple of a disk's block
            self._direct = self._set_direct(False)
        while left:
            try:
                count = os.write(self._number, left)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._direct = self._set_direct(False)
                continue
            left = left[count:]
            self._unforced += count
        if self._unforced >= _WINDOW:
            os.fsync(self._number)
            self._unforced = 0

    def _set_direct(self, on: bool) -> bool:
        """Whether the file is written past the cache from now on."""
        flag = getattr(os, "O_DIRECT", 0)
        flags = fcntl.fcntl(self._number, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._number, fcntl.F_SETFL, flags | flag if on else flags & ~flag)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return on and bool(flag)
