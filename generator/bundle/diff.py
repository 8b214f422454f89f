"""What one bundle has that another has not: its images, and the bytes that a delta would carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from generator.bundle.delta import leave_out
from generator.bundle.format.model import BundleIndex, Image
from generator.bundle.format.reference import familiar
from generator.text import human

State = Literal["new", "changed", "same", "gone"]


@dataclass(frozen=True)
class Change:
    """One name. ``blobs`` and ``size`` (bytes) are what a delta carries for its image; images may share them."""

    reference: str
    state: State
    blobs: int
    size: int


@dataclass(frozen=True)
class Difference:
    """Both bundles. ``blobs`` and ``size`` (bytes) are what a delta carries, ``all_…`` what the new one stands for."""

    changes: tuple[Change, ...]
    blobs: int
    size: int
    all_blobs: int
    all_size: int

    def as_json(self) -> dict[str, object]:
        return {
            "images": [
                {"reference": c.reference, "state": c.state, "blobs": c.blobs, "bytes": c.size} for c in self.changes
            ],
            "delta": {"blobs": self.blobs, "bytes": self.size},
            "whole": {"blobs": self.all_blobs, "bytes": self.all_size},
        }

    def rows(self) -> list[tuple[str, ...]]:
        return [
            (familiar(c.reference), c.state, str(c.blobs or ""), human(c.size) if c.blobs else "") for c in self.changes
        ]


def diff(old: BundleIndex, new: BundleIndex) -> Difference:
    """Compare two bundles; of deltas, the whole that they stand for is compared."""
    delta = leave_out(new, [old])
    carried = delta.carried()
    before, after = _by_name(old), _by_name(new)
    changes = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            changes.append(Change(name, "gone", 0, 0))
            continue
        blobs = {blob.digest: blob.size for blob in after[name].blobs() if blob.digest in carried}
        state: State = (
            "new" if name not in before else "same" if before[name].target == after[name].target else "changed"
        )
        changes.append(Change(name, state, len(blobs), sum(blobs.values())))
    whole = new.blobs()
    return Difference(
        tuple(changes), len(carried), sum(blob.size for blob in carried.values()), len(whole), new.size
    )  # fmt: skip


def _by_name(index: BundleIndex) -> dict[str, Image]:
    return {name: image for image in index.images for name in image.references}
