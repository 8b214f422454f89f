"""Headers: one spelling, read by every tar, and nothing else is read."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generator.bundle.format import BLOCK, header
from generator.bundle.reader import verify
from generator.errors import BundleError
from tests.bundle.conftest import Made
from tests.bundle.tars import sealed

BLOB = "blobs/sha256/" + "ab" * 32
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
def test_every_other_header_is_refused(made: Made, block: bytes) -> None:
    for at in (0, made.member("index.json").offset):
        with pytest.raises(BundleError):
            verify(io.BytesIO(made.data[:at] + block + made.data[at + BLOCK :]))


@given(st.integers(0, BLOCK - 9), st.integers(1, 255), st.booleans())
def test_no_second_spelling(made: Made, position: int, mask: int, first: bool) -> None:
    """A changed header is refused, also with a right checksum."""
    at = 0 if first else made.member("index.json").offset
    # the checksum itself is left out
    changed = made.flipped(at + (position if position < 148 else position + 8), mask)
    with pytest.raises(BundleError):
        verify(io.BytesIO(changed[:at] + sealed(changed[at : at + BLOCK]) + changed[at + BLOCK :]))
