"""A file that is written past the page cache is the file that was asked for, on each kind of disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.bundle import disk_file
from generator.bundle.disk_file import DiskFile

SIZE = 8192


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_file, "_SIZE", SIZE)


def opened(path: Path) -> contextlib.closing[DiskFile]:
    return contextlib.closing(DiskFile(os.open(path, os.O_WRONLY | os.O_CREAT)))


def written(path: Path, pieces: list[bytes]) -> bytes:
    with opened(path) as file:
        for piece in pieces:
            file.write(piece)
        file.finish()
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 513])
@pytest.mark.parametrize("step", [1000, SIZE, 5 * SIZE])
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


@pytest.mark.parametrize("size", [0, 1, SIZE, 3 * SIZE, 3 * SIZE + 513])
def test_all_but_the_end_goes_past_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    disk, data = Disk(monkeypatch), random.Random(size).randbytes(size)
    assert written(tmp_path / "x", [data]) == data
    assert (disk.direct, disk.cached) == (size - size % SIZE, size % SIZE)


def test_nothing_of_it_stays_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "fsync", lambda number: said.append(("fsync",)))
    monkeypatch.setattr(os, "posix_fadvise", lambda number, *rest: said.append(rest))
    written(tmp_path / "x", [b"x"])
    assert said == [("fsync",), (0, 0, os.POSIX_FADV_DONTNEED)]


def test_a_disk_may_take_less_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:700]))
    data = random.Random(1).randbytes(2 * SIZE + 7)
    assert written(tmp_path / "x", [data]) == data


def test_a_file_system_that_knows_no_direct_writing_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", refuse_direct(fcntl.fcntl))
    data = random.Random(2).randbytes(2 * SIZE + 7)
    assert written(tmp_path / "x", [data]) == data


def test_one_that_finds_out_when_it_writes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, tries = os.write, []

    def once(number: int, data: memoryview) -> int:
        tries.append(number)
        if len(tries) == 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(number, data)

    monkeypatch.setattr(os, "write", once)
    data = random.Random(3).randbytes(2 * SIZE)
    with opened(tmp_path / "x") as file:
        # as on a file system that took the flag
        file._direct = True
        file.write(data)
        file.finish()
    assert (tmp_path / "x").read_bytes() == data


def test_behind_the_cache_a_slow_disk_is_waited_for_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    monkeypatch.setattr(fcntl, "fcntl", refuse_direct(fcntl.fcntl))
    monkeypatch.setattr(os, "fsync", forced.append)
    monkeypatch.setattr(disk_file, "_WINDOW", 2 * SIZE)
    written(tmp_path / "x", [bytes(8 * SIZE)])
    assert len(forced) == 4 + 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_what_the_disk_says_is_heard_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_number: int, _data: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with opened(tmp_path / "x") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(bytes(3 * SIZE))
    with opened(tmp_path / "y") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(b"x")
        file.finish()
    with opened(tmp_path / "z") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(bytes(SIZE))
        while True:
            file.write(b"")


def test_closed_it_ends_its_thread_and_its_file(tmp_path: Path) -> None:
    number, threads = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT), threading.enumerate()
    file = DiskFile(number)
    file.write(bytes(3 * SIZE))
    file.close()
    assert threading.enumerate() == threads
    file.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(number)


def refuse_direct(real: Callable[..., int]) -> Callable[..., int]:
    def refusing(number: int, command: int, flags: int = 0) -> int:
        if command == fcntl.F_SETFL and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(number, command, flags)

    return refusing
