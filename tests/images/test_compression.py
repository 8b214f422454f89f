"""gzip as it is written here."""

from __future__ import annotations

import gzip
import io
import random
import sys

import pytest

from generator.errors import InputError
from generator.images.compression import Decompressor, GzipWriter
from tests.bundle.layouts import sha256

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_gzip_depends_on_the_content_alone(size: int) -> None:
    data = (random.Random(size).randbytes(9_973) * (size // 9_973 + 1))[:size]
    written = set()
    for piece in (size + 1, 100_003, 4096):
        out = io.BytesIO()
        with GzipWriter(out) as writer:
            for start in range(0, size, piece):
                writer.write(data[start : start + piece])
        assert (writer.digest, writer.size) == (sha256(out.getvalue()), out.tell())
        written.add(out.getvalue())
    [content] = written
    assert gzip.decompress(content) == data
    assert content[4:8] == bytes(4), "no time"
    assert len(content) < 10_100 + size // 50


def test_a_python_without_zstd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="a layer: it is zstd-compressed, and this Python has no zstd") as error:
        Decompressor("zstd", "a layer")
    assert "backports.zstd" in error.value.hint
