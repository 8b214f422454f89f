"""Files on a disk that other programs use and that can fill up: atomic writes, locks, and disk errors.

Standard library alone, for Python 3.8 too: the offline loader is made of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from generator.errors import EngineError


@contextlib.contextmanager
def temporary_file(directory: Path, prefix: str = ".", mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A new file in ``directory``, which is gone after the block unless it was renamed. Raises OSError."""
    with tempfile.NamedTemporaryFile(prefix=prefix, dir=directory, delete=False) as file:
        try:
            # it is its owner's alone; a file system without modes (vfat) refuses a change
            with contextlib.suppress(PermissionError):
                os.fchmod(file.fileno(), mode)
            yield cast(IO[bytes], file)
        finally:
            Path(file.name).unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes, *, sync: bool = True, mode: int = 0o644) -> None:
    """Write a small file: whole or not at all, and no other file is left behind. Raises OSError.

    ``sync`` waits until its bytes are on the disk; a cache that can be made again needs no wait.
    """
    with temporary_file(path.parent, f".{path.name}.", mode) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        if sync:
            os.fsync(file.fileno())
        Path(file.name).replace(path)


def sync_directory(path: Path) -> None:
    """Wait until renames in a directory are on the disk. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # some file systems (FUSE, SMB) cannot sync a directory; the files in it are on the disk
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(number)


@contextlib.contextmanager
def lock(path: Path, when_busy: Callable[[], object] = lambda: None) -> Iterator[BinaryIO]:
    """Open ``path`` for reading and writing, unbuffered, and lock it as long as the block runs. Raises OSError.

    The file is made if it is missing and never truncated. Where another process or thread has it, ``when_busy`` is
    called (it may raise to give up); then its end is waited for.
    """
    flags, locked = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, False
    while not locked:
        with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                when_busy()
                fcntl.flock(file, fcntl.LOCK_EX)
            # its last owner may have renamed or removed it between our open and our lock
            with contextlib.suppress(FileNotFoundError):
                locked = os.path.samestat(path.stat(), os.fstat(file.fileno()))
            if locked:
                yield file


@contextlib.contextmanager
def disk_errors(path: Path, hint: str = "free some space there, then run the same command again") -> Iterator[None]:
    """Turn an OSError of the block into an EngineError that names ``path``, a file or a directory.

    ``hint`` is for a disk that is full, or fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "check its owner and permissions"
        elif error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.EROFS):
            hint = "check that it can exist there and that the file system is writable"
        raise EngineError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
