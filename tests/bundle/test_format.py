"""Headers: one spelling, read by every tar, and nothing else is read."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.bundle.format import BLOCK, MEMBER_NAME, HeaderError, header, padding, parse_header

BLOB = "blobs/sha256/" + "ab" * 32
NAMES = ["oci-layout", "index.json", "manifest.json", "fategen/bundle.json", "fategen/SHA256SUMS", BLOB]


@given(st.sampled_from(NAMES), st.integers(0, 1 << 62))
def test_a_header_is_read_back(name: str, size: int) -> None:
    assert parse_header(header(name, size)) == (name, size)


@pytest.mark.parametrize("size", [0, 1, 511, 512, (8 << 30) - 1, 8 << 30, 20 << 30])
def test_another_reader_sees_the_same(size: int) -> None:
    info = tarfile.TarInfo.frombuf(header(BLOB, size), "ascii", "strict")
    assert (info.name, info.size, info.mode, info.uid, info.mtime, info.type) == (BLOB, size, 0o644, 0, 0, b"0")


def test_directories() -> None:
    assert parse_header(header("blobs/", 0)) == ("blobs/", 0)
    assert tarfile.TarInfo.frombuf(header("blobs/sha256/", 0), "ascii", "strict").isdir()


def test_padding_fills_the_block() -> None:
    assert [padding(n) for n in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def other(name: str, kind: bytes = tarfile.REGTYPE, form: int = tarfile.USTAR_FORMAT, **more: object) -> bytes:
    """A header as tarfile writes it."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(form)[:BLOCK]


HOSTILE = {
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
"""Names, kinds and sizes that no bundle has are in test_hostile_archives."""


@pytest.mark.parametrize("block", HOSTILE.values(), ids=HOSTILE)
def test_every_other_header_is_refused(block: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(block)


def resealed(block: bytes) -> bytes:
    """The block with a right checksum."""
    total = sum(block) - sum(block[148:156]) + 8 * 32
    return block[:148] + b"%06o\0 " % total + block[156:]


@given(st.integers(0, BLOCK - 1), st.integers(1, 255))
def test_no_second_spelling(position: int, mask: int) -> None:
    """A changed header with a right checksum is another member's, or refused: never the same member in other bytes."""
    block = bytearray(header(BLOB, 1000))
    block[position] ^= mask
    try:
        member = parse_header(resealed(bytes(block)))
    except HeaderError:
        return
    assert 148 <= position < 156 or member != (BLOB, 1000)
    assert header(*member) == resealed(bytes(block))


@given(st.binary(min_size=0, max_size=600))
def test_garbage(block: bytes) -> None:
    with pytest.raises(HeaderError):
        parse_header(block)


def test_writing_refuses_what_reading_would() -> None:
    for name, size in (("../x", 0), ("blobs/sha256/x", 0), ("index.json", -1)):
        with pytest.raises(ValueError, match="not a member"):
            header(name, size)
    assert MEMBER_NAME.fullmatch("fategen/compose.yaml")
