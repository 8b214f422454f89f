"""The file that a bundle is written into: hidden and locked until it is whole, on the disk before it has its name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from generator.errors import EngineError, InputError, Problem

_MARGIN = 1 << 20


def forget(output: Path) -> None:
    """What was said of an older file goes first: at no moment does it stand beside a file that it does not fit."""
    for suffix in (".sha256", ".sig"):
        output.with_name(output.name + suffix).unlink(missing_ok=True)


def check_place(output: Path) -> None:
    """InputError where no file can be written."""
    if output.is_dir():
        raise InputError(Problem("-o", f"{output} is a directory"), hint=f"-o {output}/NAME.fate.tar")
    if not output.parent.is_dir():
        why = "" if output.parent.exists() else ": it does not exist"
        raise InputError(Problem("-o", f"{output.parent} is not a directory{why}"), hint=f"mkdir -p {output.parent}")


def check_space(output: Path, size: int, besides: int) -> None:
    """EngineError where there is no room for ``size`` bytes and ``besides``, which are layers on the same disk."""
    free = shutil.disk_usage(output.parent).free
    if free < size + _MARGIN + besides:
        layers = f", and the layers that come for it {besides:,}" if besides else ""
        raise EngineError(
            f"{output.parent} has {free:,} bytes free, the bundle needs {size + _MARGIN:,}{layers}",
            hint="free some space there, or name a file on another disk with -o",
        )


@contextlib.contextmanager
def part_file(output: Path) -> Iterator[tuple[int, Path]]:
    """The hidden file beside ``output``, open, locked and empty; on any error it is removed, after a rename it is gone.

    The lock is held until the block has ended.
    """
    part = output.with_name(f".{output.name}.part")
    number = _lock(part, output)
    try:
        yield number, part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(number)


def _lock(part: Path, output: Path) -> int:
    while True:
        # no O_TRUNC: until the lock is held, the file may be another run's
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the other run may have renamed or removed it between the open and the lock
            if _is(part, number):
                os.truncate(number, 0)
                return number
        except OSError as error:
            os.close(number)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            message = f"{output} is being written by another fategen"
            raise EngineError(message, hint="wait for it, or name another file with -o") from None
        os.close(number)


def _is(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False


def write_sums(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # some file systems (FUSE, SMB) cannot; the file itself is on the disk
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(number)


@contextlib.contextmanager
def disk_errors(output: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{output.parent} became full while {output.name} ({size:,} bytes) was written; it was removed"
            hint = "free some space there, or name a file on another disk with -o"
        elif error.errno == errno.EFBIG:
            message = f"{output.parent} cannot hold a file of {size:,} bytes"
            hint = "FAT32 ends at 4 GiB: use exFAT or ext4, or name a file on another disk with -o"
        else:
            message, hint = f"{output} cannot be written: {error.strerror}", "check that disk and its permissions"
        raise EngineError(message, hint=hint) from error
