"""Verify by several threads finds what one pass finds."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from generator.bundle.reader import DamagedError, verify
from generator.errors import BundleError, InputError
from tests.bundle.conftest import Made


def test_a_slip_in_a_files_name_has_an_answer(tmp_path: Path) -> None:
    (tmp_path / "fate-1.3.0.fate.tar").touch()
    with pytest.raises(InputError, match=r"no such file; did you mean fate-1\.3\.0\.fate\.tar\?"):
        verify(tmp_path / "fate-1.3.fate.tar")


def damages(made: Made) -> dict[str, bytes]:
    """Bundles that are wrong in some way."""
    several = bytearray(made.data)
    for member in made.plan.members[4:]:
        several[member.start] ^= 1
    several[made.plan.members[5].offset + 7] ^= 1
    several[-3] ^= 1
    return {
        "several": bytes(several),
        "cut": made.data[: len(made.data) // 2],
        "cut and flipped": bytes(several[: len(several) // 2]),
        "cut at the end mark": made.data[:-600],
        "padding": made.flipped(made.plan.members[-2].end - 1),
        "end": made.flipped(len(made.data) - 1),
        "more": made.data + b"more",
        "another name": made.data[: made.member("index.json").offset]
        + made.data[made.member("manifest.json").offset : made.member("manifest.json").start]
        + made.data[made.member("index.json").start :],
    }


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_threads_tell_the_same_as_one_pass(made: Made, tmp_path: Path, threads: int) -> None:
    for what, data in damages(made).items():
        path = tmp_path / "x.fate.tar"
        path.write_bytes(data)
        stream = io.BytesIO(data)
        stream.name = str(path)
        with pytest.raises(BundleError) as apart:
            verify(path, threads=threads)
        with pytest.raises(BundleError) as one:
            verify(stream)
        wanted = one.value.render().replace("has bytes after", "has 4 bytes after")
        wanted = wanted.replace(
            f"-{len(made.data):,} of the file, has 4", f"-{len(made.data) + 3:,} of the file, has 4"
        )
        assert apart.value.render() == wanted, what


def test_progress_of_all_threads_ends_at_the_size_of_the_file(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)
    seen: list[int] = []
    verify(path, threads=4, progress=lambda _what, done, _total: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] <= len(made.data)


def test_ctrl_c_ends_all_threads(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)

    def stop(_what: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(path, threads=4, progress=stop)


def test_a_bad_sector_is_one_damaged_place(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)
    layer = made.member("layer:b")
    pread = os.pread

    def read(number: int, size: int, offset: int) -> bytes:
        if offset == layer.start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(number, size, offset)

    monkeypatch.setattr(os, "pread", read)
    with pytest.raises(DamagedError) as error:
        verify(path)
    assert [d.what for d in error.value.damages] == [layer.label]
    assert "cannot be read: Input/output error" in str(error.value)
