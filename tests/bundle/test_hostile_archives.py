"""Archives that attack their reader are refused as corrupt or unsafe (exit code 4), in bounded memory."""

from __future__ import annotations

import io
import itertools
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generator.bundle.format import BLOCK, TRAILER, header
from generator.bundle.reader import verify
from generator.errors import BundleError
from tests.bundle.conftest import Made
from tests.bundle.layouts import sha256
from tests.bundle.tars import blob, head, member, pax, sealed

EVIL = b"evil\n" * 30
BLOB = blob(sha256(EVIL))
LONG = "a" * 600
MIB = 1 << 20

MEMBERS: dict[str, bytes] = {
    "parent directory": member("../evil", EVIL),
    "parent directory in the middle": member("blobs/sha256/../../../evil", EVIL),
    "absolute": member("/tmp/evil", EVIL),
    "backslash": member("..\\evil", EVIL),
    "dot in the middle": member("a/./evil", EVIL),
    "two slashes": member("a//evil", EVIL),
    "no name": member("", EVIL),
    "a new line": member("evil\n", EVIL),
    "an escape code": member("\x1b[2Jevil", EVIL),
    "not UTF-8": member(b"evil\xff", EVIL),
    "NUL in the name": member(b"evil\0.json", EVIL),
    "upper-case digest": member(BLOB.upper().replace("BLOBS/SHA256", "blobs/sha256"), EVIL),
    "short digest": member("blobs/sha256/abcd", EVIL),
    "very deep": member("a/" * 40 + "x", EVIL),
    "symlink out": head("evil", 0, b"2", "../../etc/passwd"),
    "symlink to an absolute path": head("evil", 0, b"2", "/etc/passwd"),
    "symlink to nothing": head("evil", 0, b"2", "not-there"),
    "symlink, then a file below it": head("evil", 0, b"2", "manifest.json") + member("evil/passwd", EVIL),
    "symlink, then a file in its place": head("evil", 0, b"2", "manifest.json") + member("evil", EVIL),
    "symlink to a symlink": head("e1", 0, b"2", "e2") + head("e2", 0, b"2", "manifest.json"),
    "symlink to itself": head("evil", 0, b"2", "evil"),
    "symlink in the place of a directory": member("d/x", EVIL) + head("d", 0, b"2", "/etc"),
    "hard link out": head("evil", 0, b"1", "../evil"),
    "hard link to nothing": head("evil", 0, b"1", "etc/passwd"),
    "hard link to a symlink": head("e1", 0, b"2", "manifest.json") + head("e2", 0, b"1", "e1"),
    "character device": head("evil", 0, b"3"),
    "block device": head("evil", 0, b"4"),
    "named pipe": head("evil", 0, b"6"),
    "GNU sparse file": member("evil", EVIL, kind=b"S"),
    "multi-volume": member("evil", EVIL, kind=b"M"),
    "unknown type": member("evil", EVIL, kind=b"Z"),
    "directory with content": member("evil/", EVIL, kind=b"5"),
    "the same name twice": member("evil", EVIL) + member("evil", EVIL[:-1]),
    "the same name twice, once with ./": member("evil", EVIL) + member("./evil", EVIL[:-1]),
    "two sizes (CVE-2025-62518)": pax(size="1") + member("evil", EVIL),
    "two sizes, the other way": pax(size=str(len(EVIL))) + member("evil", b"", size=1) + EVIL,
    "PAX size that is none": pax(size="-1") + member("evil", EVIL),
    "PAX size of a terabyte of digits": pax(size="9" * 5000) + member("evil", EVIL),
    "PAX sparse": pax(GNU__sparse__map="0,1", GNU__sparse__size="1") + member("evil", EVIL),
    "PAX name out": pax(path="../evil") + member("x", EVIL),
    "PAX name with NUL": pax(path="evil\0x") + member("x", EVIL),
    "PAX name twice": member("pax", b"10 path=a\n10 path=b\n", kind=b"x") + member("x", EVIL),
    "two PAX headers": pax(path="a") + pax(path="b") + member("x", EVIL),
    "PAX length that is wrong": member("pax", b"99 path=a\n", kind=b"x") + member("x", EVIL),
    "PAX length of a million digits": member("pax", b"1" * MIB, kind=b"x") + member("x", EVIL),
    "200,000 PAX records": member("pax", b"5 a=\n" * (MIB // 5), kind=b"x") + member("../evil", EVIL),
    "global PAX name": member("pax", b"13 path=evil\n", kind=b"g") + member("x", EVIL),
    "long PAX name": pax(path=LONG) + member("x", EVIL),
    "long GNU name": member("././@LongLink", LONG.encode() + b"\0", kind=b"L") + member("x", EVIL),
    "GNU name of 8 GB": head("././@LongLink", 8 << 30, b"L", field=b"\x80" + (8 << 30).to_bytes(11, "big")),
    "GNU name of 100 MB": head("././@LongLink", 100 << 20, b"L"),
    "GNU names without a member": member("././@LongLink", b"a\0", kind=b"L") * 3,
    "negative size": head("evil", field=b"\xff" * 12),
    "size of 2^95": head("evil", field=b"\x80" + b"\x7f" + b"\xff" * 10),
    "size that is no number": head("evil", field=b"0000000012x\0"),
    "wrong checksum": head("evil")[:148] + b"0000000\0" + head("evil")[156:],
    "another index.json": member("index.json"),
    "another directory": head("blobs/", 0, b"5"),
    "more than the file has": head("evil", 1 << 33, field=b"\x80" + (1 << 33).to_bytes(11, "big")),
}


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_no_such_member_in_a_bundle(
    members: bytes, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what is extracted lands here, or above it
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    path = tmp_path / "a.fate.tar"
    for at in (0, made.members[1].offset, made.member("index.json").offset, len(made.data) - len(TRAILER)):
        path.write_bytes(made.data[:at] + members + made.data[at:])
        for source in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises(BundleError) as failed:
                verify(source)
            assert failed.value.exit_code == 4
            assert "\x1b" not in failed.value.render()
    assert {*tmp_path.rglob("*")} == {path, here}


class Endless(io.RawIOBase):
    """A pipe that gives a head, and then goes on without end."""

    def __init__(self, head: bytes, then: Callable[[], bytes] = lambda: bytes(MIB)) -> None:
        self._head, self._then, self.given = head, then, 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._head or self._then()
        data, self._head = left[:size], left[size:]
        self.given += len(data)
        return data


@pytest.mark.parametrize("what", ["zeros behind the end", "names", "long names", "metadata", "layers"])
def test_a_pipe_without_end_is_refused_in_little_memory(what: str, made: Made) -> None:
    numbers = itertools.count()
    long_name = member("././@LongLink", bytes(MIB - 512), kind=b"L")
    layer = made.member("layer:m")
    stream = {
        "zeros behind the end": Endless(made.data),
        "names": Endless(b"", lambda: b"".join(head(f"a{next(numbers)}") for _ in range(100))),
        "long names": Endless(b"", lambda: long_name),
        "metadata": Endless(made.data[: made.members[1].offset], lambda: member("manifest.json", bytes(4 * MIB))),
        "layers": Endless(made.data[: layer.end], lambda: member(layer.name, bytes(MIB))),
    }[what]
    tracemalloc.start()
    try:
        with pytest.raises(BundleError):
            verify(stream)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert stream.given < 8 * MIB


@pytest.mark.parametrize(("size", "words"), [((8 << 30) - 1, "the limit is"), (1 << 40, "is not a bundle")])
def test_a_huge_index_is_not_read(size: int, words: str) -> None:
    stream = Endless(header("fategen/bundle.json", size))
    with pytest.raises(BundleError, match=words):
        verify(stream)
    assert stream.given == 512


NAMES = ["oci-layout", "index.json", "manifest.json", "fategen/bundle.json", "fategen/SHA256SUMS", BLOB]


@given(st.sampled_from(NAMES), st.integers(0, 1 << 62))
@example(BLOB, (8 << 30) - 1)
@example(BLOB, 8 << 30)
def test_every_tar_reads_a_header(name: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(header(name, size), "ascii", "strict")
    assert (info.name, info.size, info.mode, info.uid, info.mtime, info.type) == (name, size, 0o644, 0, 0, b"0")


def other(name: str, kind: bytes = tarfile.REGTYPE, form: int = tarfile.USTAR_FORMAT, **more: object) -> bytes:
    """A header as tarfile writes it."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(form)[:BLOCK]


HEADERS = {
    "unicode digits": other("blobs/sha256/" + "\u0661" * 64, form=tarfile.GNU_FORMAT),
    "our folder": other("fategen/../x"),
    "dots in our folder": other("fategen/.."),
    "new line": other("index.json\n"),
    "old regular file": other("index.json", b"\0"),
    "contiguous file": other("index.json", tarfile.CONTTYPE),
    "gnu magic": other("index.json", form=tarfile.GNU_FORMAT),
    "huge size": header("index.json", 8 << 30)[:124] + b"\xff" * 12 + header("index.json", 8 << 30)[136:],
    "time": other("index.json", mtime=1),
    "owner": other("index.json", uid=1),
    "owner's name": other("index.json", uname="root"),
    "mode": other("index.json", mode=0o777),
    "link name": other("index.json", linkname="x"),
    "prefix": other("a" * 60 + "/" + "b" * 60),
    "zeros": bytes(BLOCK),
    "text": b"#!/bin/sh\n" * 52,
    "short": header("index.json", 1)[:-1],
}


@pytest.mark.parametrize("block", HEADERS.values(), ids=HEADERS)
def test_every_other_header_is_refused(made: Made, block: bytes) -> None:
    for at in (0, made.member("index.json").offset):
        with pytest.raises(BundleError):
            verify(io.BytesIO(made.data[:at] + block + made.data[at + BLOCK :]))


@given(st.integers(0, BLOCK - 9), st.integers(1, 255), st.booleans())
def test_no_second_spelling(made: Made, position: int, mask: int, first: bool) -> None:
    """A changed header is refused, also with a right checksum."""
    at = 0 if first else made.member("index.json").offset
    # the checksum itself is left out
    changed = made.flipped(at + (position if position < 148 else position + 8), mask=mask)
    with pytest.raises(BundleError):
        verify(io.BytesIO(changed[:at] + sealed(changed[at : at + BLOCK]) + changed[at + BLOCK :]))
