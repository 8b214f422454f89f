"""The file that a bundle is written into: what the disk refuses is noticed, and nothing is lost on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.writer import SyncedFile

BATCH = 32 << 20


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SyncedFile]:
    number = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.closing(SyncedFile(number)) as file:
            yield file
    finally:
        os.close(number)


@pytest.mark.parametrize("size", [0, 1, BATCH, 2 * BATCH + 513])
@pytest.mark.parametrize("most", [1 << 30, 700_001])
def test_it_holds_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, most: int) -> None:
    """Also where the file system takes ``most`` bytes at a time."""
    data, write = random.Random(size).randbytes(size), os.write
    monkeypatch.setattr(os, "write", lambda number, piece: write(number, piece[:most]))
    with opened(tmp_path / "x") as file:
        for at in range(0, size, 5_000_000):
            file.write(data[at : at + 5_000_000])
        file.finish()
    assert (tmp_path / "x").read_bytes() == data


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_what_the_disk_says_is_heard_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with opened(tmp_path / "x") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.write(bytes(BATCH))
        file.finish()


def test_closed_it_ends_its_thread(tmp_path: Path) -> None:
    threads = threading.enumerate()
    with opened(tmp_path / "x") as file:
        file.write(bytes(2 * BATCH))
    assert threading.enumerate() == threads
