"""The file that a bundle is written into, on each kind of disk: past the page cache where the file system can."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from generator.bundle.writer import DirectWriter

BUFFER = 4 << 20


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DirectWriter]:
    number = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.closing(DirectWriter(number)) as file:
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
    """A file system that takes O_DIRECT, and then refuses what such a one may refuse (open(2)).

    Or it knows no O_DIRECT (``no flag``), takes the flag and refuses the write (``no write``), or takes ``most`` bytes
    at a time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, case: str = "", most: int = 1 << 30) -> None:
        self.flags, self.at, self.direct, self.cached = os.O_WRONLY, 0, 0, 0
        self.case, self.most = case, most
        self._write = os.write
        monkeypatch.setattr(fcntl, "fcntl", self.fcntl)
        monkeypatch.setattr(os, "write", self.write)

    def fcntl(self, _number: int, command: int, flags: int = 0) -> int:
        if self.case == "no flag" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.flags = flags if command == fcntl.F_SETFL else self.flags
        return self.flags

    def write(self, number: int, data: memoryview) -> int:
        if self.flags & os.O_DIRECT:
            if self.case == "no write" or self.at % 512:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            assert len(data) % 512 == 0, "no multiple of a block"
        count = self._write(number, data[: self.most])
        self.direct += count if self.flags & os.O_DIRECT else 0
        self.cached += 0 if self.flags & os.O_DIRECT else count
        self.at += count
        return count


@pytest.mark.parametrize("size", [0, 1, BUFFER, 3 * BUFFER + 513])
def test_all_but_the_end_goes_past_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    disk, data = Disk(monkeypatch), random.Random(size).randbytes(size)
    assert written(tmp_path / "x", [data]) == data
    assert (disk.direct, disk.cached) == (size - size % BUFFER, size % BUFFER)


@pytest.mark.parametrize(("case", "most"), [("no flag", BUFFER), ("no write", BUFFER), ("", 700_001), ("", 512)])
def test_what_a_file_system_refuses_is_written_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, most: int
) -> None:
    disk, data = Disk(monkeypatch, case, most), random.Random(1).randbytes(2 * BUFFER + 7)
    assert written(tmp_path / "x", [data]) == data
    assert (disk.direct > 0) == (case == "")


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
