"""Atomic writes, locks, and what the disk refuses."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generator.errors import EngineError
from generator.files import disk_errors, lock, write_atomically


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    write_atomically(file, "old")

    def full_disk(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with (
        pytest.raises(EngineError, match=f"{tmp_path} cannot be written: No space left on device"),
        disk_errors(tmp_path),
    ):
        write_atomically(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_files_are_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        write_atomically(tmp_path / "a", b"a")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_file_system_that_refuses_modes_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    write_atomically(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "text"


def test_a_lock_is_taken_once_and_free_again_after_its_block(tmp_path: Path) -> None:
    def busy() -> None:
        raise EngineError("busy")

    with lock(tmp_path / "a") as file:
        file.write(b"kept")
        with pytest.raises(EngineError, match="busy"), lock(tmp_path / "a", busy):
            pass
    with lock(tmp_path / "a", busy) as file:
        assert file.read() == b"kept"


def test_the_lock_of_a_file_that_was_renamed_away_is_not_that_of_the_new_one(tmp_path: Path) -> None:
    with lock(tmp_path / "part") as file:
        (tmp_path / "part").rename(tmp_path / "whole")
        with lock(tmp_path / "part", lambda: pytest.fail("it is another file")):
            assert not file.closed


@pytest.mark.parametrize("made_anew", [False, True])
def test_who_waited_for_a_lock_has_that_of_the_file_that_is_there_now(tmp_path: Path, made_anew: bool) -> None:
    path, busy = tmp_path / "part", threading.Event()

    def wait() -> bool:
        with lock(path, busy.set) as file:
            return os.path.samestat(path.stat(), os.fstat(file.fileno()))

    with ThreadPoolExecutor(1) as pool:
        with lock(path):
            waiting = pool.submit(wait)
            busy.wait(10)
            # it opens the file after that
            time.sleep(0.2)
            path.rename(tmp_path / "whole")
            if made_anew:
                path.touch()
        assert waiting.result(10)


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), lock(tmp_path / "link"):
        pass
    assert not (tmp_path / "elsewhere").exists()
