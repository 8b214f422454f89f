"""The file that a bundle is written into, on each kind of disk: past the page cache where the file system can."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from generator.bundle.output import DiskFile

BUFFER = 4 << 20


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DiskFile]:
    number = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.closing(DiskFile(number)) as file:
            yield file
    finally:
        os.close(number)


def written(path: Path, pieces: Sequence[bytes]) -> bytes:
    with opened(path) as file:
        for piece in pieces:
            file.write(piece)
        file.finish()
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 513])
@pytest.mark.parametrize("step", [1_000_000, BUFFER, 5 * BUFFER])
def test_it_holds_what_was_written(tmp_path: Path, size: int, step: int) -> None:
    data = random.Random(size).randbytes(size)
    assert written(tmp_path / "x", [data[at : at + step] for at in range(0, size, step)]) == data


class Disk:
    """A file system that takes O_DIRECT, and then refuses what such a one may refuse (open(2))."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flags, self.at, self.direct, self.cached = os.O_WRONLY, 0, 0, 0
        self._write = os.write
        monkeypatch.setattr(fcntl, "fcntl", self.fcntl)
        monkeypatch.setattr(os, "write", self.write)

    def fcntl(self, _number: int, command: int, flags: int = 0) -> int:
        self.flags = flags if command == fcntl.F_SETFL else self.flags
        return self.flags

    def write(self, number: int, data: memoryview) -> int:
        if self.flags & os.O_DIRECT:
            if len(data) % 512 or self.at % 512:
                raise AssertionError("no multiple of a block")
            self.direct += len(data)
        else:
            self.cached += len(data)
        self.at += len(data)
        return self._write(number, data)


@pytest.mark.parametrize("size", [0, 1, BUFFER, 3 * BUFFER + 513])
def test_all_but_the_end_goes_past_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    disk, data = Disk(monkeypatch), random.Random(size).randbytes(size)
    assert written(tmp_path / "x", [data]) == data
    assert (disk.direct, disk.cached) == (size - size % BUFFER, size % BUFFER)


def test_a_disk_may_take_less_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:700_000]))
    data = random.Random(1).randbytes(2 * BUFFER + 7)
    assert written(tmp_path / "x", [data]) == data


def test_a_file_system_without_direct_writing_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", refuse_direct(fcntl.fcntl))
    data = random.Random(2).randbytes(2 * BUFFER + 7)
    assert written(tmp_path / "x", [data]) == data


def test_a_file_system_that_takes_the_flag_and_refuses_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch)
    write, tries = os.write, []

    def once(number: int, data: memoryview) -> int:
        tries.append(number)
        if len(tries) == 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(number, data)

    monkeypatch.setattr(os, "write", once)
    data = random.Random(3).randbytes(2 * BUFFER)
    assert written(tmp_path / "x", [data]) == data


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_what_the_disk_says_is_heard_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_number: int, _data: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with opened(tmp_path / "x") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(bytes(3 * BUFFER))
    with opened(tmp_path / "y") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(b"x")
        file.finish()
    with opened(tmp_path / "z") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(bytes(BUFFER))
        while True:
            file.write(b"")


def test_closed_it_ends_its_thread(tmp_path: Path) -> None:
    threads = threading.enumerate()
    with opened(tmp_path / "x") as file:
        file.write(bytes(3 * BUFFER))
    assert threading.enumerate() == threads


def refuse_direct(real: Callable[..., int]) -> Callable[..., int]:
    def refusing(number: int, command: int, flags: int = 0) -> int:
        if command == fcntl.F_SETFL and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(number, command, flags)

    return refusing
