"""gzip as it is written here."""

from __future__ import annotations

import gzip
import io
import random
import sys

import pytest

from generator.errors import InputError
from generator.images.compression import gzip_layer, unpacked
from generator.images.strictjson import Malformed
from tests.bundle.layouts import sha256

MIB = 1 << 20


class Short(io.BytesIO):
    """A stream that gives at most ``step`` bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, self._step))


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_gzip_depends_on_the_content_alone(size: int) -> None:
    data = (random.Random(size).randbytes(9_973) * (size // 9_973 + 1))[:size]
    written = set()
    for step in (size + 1, 100_003, 4096):
        out = io.BytesIO()
        diff_id, blob = gzip_layer(Short(data, step), out)
        assert (diff_id, blob.digest, blob.size) == (sha256(data), sha256(out.getvalue()), out.tell())
        written.add(out.getvalue())
    [content] = written
    assert gzip.decompress(content) == data
    assert content[4:8] == bytes(4), "no time"
    assert len(content) < 10_100 + size // 50


def test_a_python_without_zstd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="a layer: it is zstd-compressed, and this Python has no zstd") as error:
        list(unpacked(iter([bytes.fromhex("28b52ffd")])))
    assert "backports.zstd" in error.value.hint


def test_a_zstd_window_of_gigabytes_is_refused() -> None:
    """RFC 8878, 3.1.1.1.2: the descriptor's byte says how much memory unpacking needs, here 2 GiB."""
    frame = bytes.fromhex("28b52ffd 00 a8 01 10 00") + bytes(512)
    with pytest.raises(Malformed, match="its compression is damaged"):
        list(unpacked(iter([frame])))
