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
from typing import BinaryIO

from generator.errors import EngineError

FREE_SPACE = "free some space there, then run the same command again"


def write_atomically(
    path: Path, content: str | bytes, *, sync: bool = True, temporary: str = "", mode: int = 0o644
) -> None:
    """Write a small file: whole or not at all, and no other file is left behind. Raises OSError.

    ``sync`` waits until its bytes are on the disk; a cache that can be made again needs no wait. ``temporary`` is a
    fixed name to write under, if nobody else writes ``path``: a killed run then leaves one file that the next replaces.
    """
    if temporary:
        temporary = str(path.with_name(temporary))
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    else:
        number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        # mkstemp keeps the file to its owner; a file system without modes (vfat) refuses a change
        with contextlib.suppress(PermissionError):
            os.fchmod(number, mode)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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


def try_lock(path: Path) -> BinaryIO | None:
    """Open ``path`` for reading and writing, unbuffered, and lock it; None if another process or thread has it.

    The file is made if it is missing and never truncated. Closing it releases the lock. Raises OSError.
    """
    try:
        return _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


@contextlib.contextmanager
def lock(path: Path, when_busy: Callable[[], object] = lambda: None) -> Iterator[BinaryIO]:
    """Lock ``path`` as ``try_lock`` does for as long as the block runs, which gets the open file. Raises OSError.

    Where another process or thread has it, ``when_busy`` is called once (it may raise to give up); then its end is
    waited for.
    """
    file = try_lock(path)
    if file is None:
        when_busy()
        file = _open_locked(path, fcntl.LOCK_EX)
    with file:
        yield file


@contextlib.contextmanager
def disk_errors(path: Path, hint: str = FREE_SPACE) -> Iterator[None]:
    """Turn an OSError of the block into an EngineError that names ``path``, a file or a directory."""
    try:
        yield
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _open_locked(path: Path, operation: int) -> BinaryIO:
    while True:
        file = os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b", buffering=0
        )
        try:
            fcntl.flock(file, operation)
            # its last owner may have renamed or removed it between our open and our lock
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
