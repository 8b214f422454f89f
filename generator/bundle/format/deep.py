"""Unpacks layers while they are checked, and holds what comes out against the diff ids of the record.

No byte of it is kept. A layer that unpacks to absurdly much is a bomb, and is given up as soon as that shows.
"""

from __future__ import annotations

import hashlib

from generator.bundle.format.model import BundleIndex
from generator.images import inflate
from generator.images.oci import compressed_with

MAX_RATIO = 200
"""times its size that a layer may unpack to, unless somebody says another number"""
_SLACK = 64 << 20
"""bytes that any layer may unpack to, however small it is"""
_LIMIT = 1 << 40
"""bytes that no layer may unpack to"""


class Deep:
    """What each layer of a bundle must unpack to. InputError: some are in zstd, and this Python has none."""

    def __init__(self, index: BundleIndex, max_ratio: int = MAX_RATIO) -> None:
        self._max_ratio = max_ratio
        self._wanted: dict[str, set[str]] = {}
        self._unpackers: dict[str, inflate.Unpacker | None] = {}
        for image in index.images:
            for variant in image.variants:
                for layer in variant.layers:
                    self._wanted.setdefault(layer.blob.digest, set()).add(layer.diff_id)
                    kind = compressed_with(layer.blob.media_type)
                    unpacker = inflate.decompressor(kind, f"{image.label}: a layer") if kind else None
                    self._unpackers[layer.blob.digest] = unpacker

    def layer(self, digest: str) -> Unpacked:
        """Takes the bytes of this layer."""
        return Unpacked(self._wanted[digest], self._unpackers[digest], self._max_ratio)


class Unpacked:
    """One layer on its way; a plain tar has no ``unpacker``."""

    def __init__(self, wanted: set[str], unpacker: inflate.Unpacker | None, max_ratio: int) -> None:
        self._wanted, self._max_ratio = wanted, max_ratio
        self._sha = hashlib.sha256()
        self._content = inflate.Unpacking(unpacker) if unpacker else None
        self._errors = unpacker.errors if unpacker else ()
        self._in = self._out = 0
        self._wrong = ""

    def write(self, chunk: bytes) -> None:
        """The next bytes as they stand in the bundle."""
        self._in += len(chunk)
        if self._content is None:
            self._sha.update(chunk)
        elif not self._wrong:
            try:
                self._unpack(chunk, self._content)
            except self._errors as error:
                self._wrong = f"cannot be unpacked ({str(error).rpartition(': ')[2]})"

    def problem(self) -> str | None:
        """What is wrong with it, after its last byte."""
        if not self._wrong and self._content and not self._content.ended:
            self._wrong = "cannot be unpacked (it ends too early)"
        found = {"sha256:" + self._sha.hexdigest()}
        if not self._wrong and found != self._wanted:
            self._wrong = f"unpacks to {found.pop()}, not to its diff id {', '.join(sorted(self._wanted))}"
        return self._wrong or None

    def _unpack(self, chunk: bytes, content: inflate.Unpacking) -> None:
        for piece in content.feed(chunk):
            self._sha.update(piece)
            self._out += len(piece)
            if self._out > min(self._in * self._max_ratio + _SLACK, _LIMIT):
                self._wrong = f"unpacks to more than {self._max_ratio} times its size: a bomb, or mostly zeros"
                return
