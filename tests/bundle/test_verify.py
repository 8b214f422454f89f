"""Verify by several threads finds what one pass finds, and ``--deep`` what a layer unpacks to."""

from __future__ import annotations

import errno
import gzip
import io
import os
import sys
from pathlib import Path

import pytest

from generator.bundle.check import verify
from generator.bundle.format import deep
from generator.bundle.format.damage import DamagedError
from generator.bundle.format.deep import MAX_RATIO, Unpacked
from generator.bundle.save import save
from generator.errors import BundleError, InputError
from generator.images.inflate import decompressor
from generator.images.layout import SourceImage
from tests.bundle.conftest import Made
from tests.bundle.layouts import BASE, GZIP, TAR, ZSTD, Layout, sha256, tar_of, zstd


def test_a_slip_in_a_files_name_has_an_answer(tmp_path: Path) -> None:
    (tmp_path / "fate-1.3.0.fate.tar").touch()
    with pytest.raises(InputError, match=r"there is no such file; did you mean fate-1\.3\.0\.fate\.tar\?"):
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
        wanted = one.value.render().replace("has bytes behind", "has 4 bytes behind")
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


def bundle_with(path: Path, layer: bytes, diff_id: str, media_type: str = GZIP) -> Path:
    layout = Layout(path / "a")
    own = (layout.put(layer, media_type), diff_id)
    layout.finish((layout.manifest([layout.layer(BASE), own]), "docker.io/fgtest/a:1.0"))
    source = SourceImage(("fgtest/a:1.0",), layout.path, ("linux/amd64",))
    return save([source], path / "x.fate.tar", name="x").path


CONTENT = tar_of({"own": b"own" * 5000})
GOOD = {
    "gzip": (gzip.compress(CONTENT), GZIP),
    "several members": (gzip.compress(CONTENT[:700]) + gzip.compress(CONTENT[700:]), GZIP),
    "zeros behind it": (gzip.compress(CONTENT) + bytes(100), GZIP),
    "plain tar": (CONTENT, TAR),
    "zstd": (zstd(CONTENT), ZSTD),
    "several zstd frames": (zstd(CONTENT[:700]) + zstd(CONTENT[700:]), ZSTD),
    # as zstd:chunked writes it
    "a skippable zstd frame": (zstd(CONTENT) + b"\x50\x2a\x4d\x18\x04\0\0\0toc!", ZSTD),
}


@pytest.mark.parametrize(("layer", "media_type"), GOOD.values(), ids=GOOD)
def test_layers_that_unpack_to_their_diff_ids(tmp_path: Path, layer: bytes, media_type: str) -> None:
    path = bundle_with(tmp_path, layer, sha256(CONTENT), media_type)
    verify(path, max_ratio=MAX_RATIO)
    verify(io.BytesIO(path.read_bytes()), max_ratio=MAX_RATIO)


def test_where_this_python_has_no_zstd_its_layers_are_hashed_and_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle_with(tmp_path, zstd(CONTENT), sha256(CONTENT), ZSTD)
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    verify(path)
    with pytest.raises(InputError, match="a: a layer: it is zstd-compressed, and this Python has no zstd"):
        verify(path, max_ratio=MAX_RATIO)


BAD = {
    "other content": (gzip.compress(b"x" + CONTENT), r"unpacks to sha256:\w+, not to its diff id sha256:"),
    "half a stream": (gzip.compress(CONTENT)[:-20], r"cannot be unpacked \(it ends too early\)"),
    "no deflate": (gzip.compress(CONTENT)[:10] + b"\xff" * 500, r"cannot be unpacked \(invalid block type"),
    "garbage behind it": (gzip.compress(CONTENT) + b"garbage", r"cannot be unpacked \(incorrect header check\)"),
    "a wrong check sum": (gzip.compress(CONTENT)[:-8] + bytes(8), r"cannot be unpacked \(incorrect data check\)"),
}


BAD_ZSTD = {
    "other content": (zstd(b"x" + CONTENT), r"unpacks to sha256:\w+, not to its diff id sha256:"),
    "half a stream": (zstd(CONTENT)[:-20], r"cannot be unpacked \(it ends too early\)"),
    "garbage behind it": (zstd(CONTENT) + b"garbage", r"cannot be unpacked \("),
}


@pytest.mark.parametrize(
    ("layer", "words", "media_type"),
    [*((*bad, GZIP) for bad in BAD.values()), *((*bad, ZSTD) for bad in BAD_ZSTD.values())],
    ids=[*BAD, *(f"zstd: {name}" for name in BAD_ZSTD)],
)
def test_layers_that_unpack_to_something_else(tmp_path: Path, layer: bytes, words: str, media_type: str) -> None:
    path = bundle_with(tmp_path, layer, sha256(CONTENT), media_type)
    verify(path)
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(DamagedError, match=words) as error:
            verify(source, max_ratio=MAX_RATIO)
        assert len(error.value.damages) == 1


def test_a_bomb_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "_SLACK", 1 << 20)
    bomb = gzip.compress(bytes(8 << 20), mtime=0)
    for ratio, words in ((MAX_RATIO, "more than 200 times its size"), (2000, "unpacks to sha256")):
        layer = Unpacked({"sha256:" + "0" * 64}, decompressor("gzip", "a"), ratio)
        for at in range(0, len(bomb), 1000):
            layer.write(bomb[at : at + 1000])
        assert words in str(layer.problem())
