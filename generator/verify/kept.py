"""What earlier runs learnt, below ``.fategen/verify/``: layers by diff id, images and results by digest.

What is kept is a function of what names it, so nothing in it is ever out of date; a file that cannot be read is made
again. Each is written beside its name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generator.verify.evidence import Listing
from generator.verify.layers import Entry
from generator.verify.results import Result

LAYERS = "layers-2"
"""Another name whenever a listing says more than before: what an older one does not say would count as not there."""
UNUSED = 60 * 24 * 3600
"""Seconds after which what nobody asked for is removed."""


@dataclass(frozen=True)
class Parts:
    """An image: its config as it is stored, and the diff ids of its layers."""

    config: bytes
    layers: tuple[str, ...]


class Kept:
    """The directory, and the layers of this run in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._layers: dict[str, Listing] = {}

    def layer(self, diff_id: str) -> Listing | None:
        if diff_id not in self._layers:
            found = self._read(LAYERS, _hex(diff_id))
            try:
                self._layers[diff_id] = {path: Entry(*entry) for path, entry in found.items()}
            except (AttributeError, TypeError):
                return None
        return self._layers[diff_id]

    def put_layer(self, diff_id: str, listing: Listing) -> None:
        self._layers[diff_id] = listing
        self._write(LAYERS, _hex(diff_id), listing)

    def diff_id(self, blob: str) -> str:
        """The diff id of a compressed layer that was met before, "" for another."""
        found = self._read("blobs", _hex(blob))
        return found if isinstance(found, str) else ""

    def put_blob(self, blob: str, diff_id: str) -> None:
        self._write("blobs", _hex(blob), diff_id)

    def image(self, identity: str, platform: str) -> Parts | None:
        """An image all of whose layers are here."""
        found = self._read("images", _name(identity, platform))
        try:
            parts = Parts(found["config"].encode("utf-8"), tuple(found["layers"]))
        except (AttributeError, KeyError, TypeError):
            return None
        return parts if all(self.layer(diff_id) is not None for diff_id in parts.layers) else None

    def put_image(self, identity: str, platform: str, parts: Parts) -> None:
        found = {"config": parts.config.decode("utf-8"), "layers": parts.layers}
        self._write("images", _name(identity, platform), found)

    def results(self, *key: str) -> tuple[Result, ...] | None:
        found = self._read("results", _name(*key))
        try:
            return tuple(Result(**{**one, "log": tuple(one["log"])}) for one in found)
        except (KeyError, TypeError):
            return None

    def put_results(self, results: Sequence[Result], *key: str) -> None:
        self._write("results", _name(*key), [asdict(result) for result in results])

    def tidy(self) -> None:
        """Removes what was neither written nor read for a long time."""
        before = time.time() - UNUSED
        for path in self._directory.glob("*/*"):
            # another run tidies and renames at the same time
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _read(self, kind: str, name: str) -> Any:
        path = self._directory / kind / f"{name}.json"
        try:
            found = json.loads(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError):
            return None
        return found

    def _write(self, kind: str, name: str, value: object) -> None:
        directory = self._directory / kind
        directory.mkdir(parents=True, exist_ok=True)
        part = directory / f".{name}.{os.getpid()}.part"
        part.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")
        part.replace(directory / f"{name}.json")


def _hex(digest: str) -> str:
    return digest.rpartition(":")[2]


def _name(*key: str) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()
