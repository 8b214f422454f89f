"""What one bundle has that another does not: images, and the bytes that a delta bundle would contain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from generator.bundle.index import BundleIndex
from generator.bundle.save import leave_out
from generator.config import reference
from generator.config.reference import familiar
from generator.images.image import Image, Layer
from generator.text import human, table

State = Literal["new", "changed", "same", "gone"]


@dataclass(frozen=True)
class Change:
    """One name. ``was`` is the old name of the image that it is compared with, "" for a new one.

    ``blobs`` and ``size`` (bytes) are what a delta carries for it; images may share them.
    """

    reference: str
    state: State
    blobs: int
    size: int
    was: str
    same_layers: bool


@dataclass(frozen=True)
class Difference:
    """Both bundles. ``blobs`` and ``size`` (bytes) are what a delta carries, ``all_…`` all that the new one needs."""

    changes: tuple[Change, ...]
    blobs: int
    size: int
    all_blobs: int
    all_size: int

    def as_json(self) -> dict[str, object]:
        return {
            "images": [{**asdict(change), "was": change.was or None, "bytes": change.size} for change in self.changes],
            "delta": {"blobs": self.blobs, "bytes": self.size},
            "whole": {"blobs": self.all_blobs, "bytes": self.all_size},
        }

    def as_text(self) -> str:
        rows = table(("IMAGE", "WAS", "", ">BLOBS", ">BYTES"), [_row(change) for change in self.changes])
        carried = f"{self.blobs} of {self.all_blobs} blobs, {human(self.size)} of {human(self.all_size)}"
        return f"{rows}\n\na delta bundle would contain {carried}"


def diff(old: BundleIndex, new: BundleIndex) -> Difference:
    """Compares each image with the old one of its name, else with the only old one of its repository."""
    carried, whole = leave_out(new, [old]).carried(), new.blobs()
    before, after = _by_name(old), _by_name(new)
    renamed = _renamed(before, after)
    changes = [Change(name, "gone", 0, 0, name, False) for name in before.keys() - after.keys() - {*renamed.values()}]
    for name, image in after.items():
        sizes = {blob.digest: blob.size for blob in image.blobs() if blob.digest in carried}
        was = name if name in before else renamed.get(name, "")
        state: State = "new" if not was else "same" if before[was].target == image.target else "changed"
        same_layers = was != "" and _layers(before[was]) == _layers(image)
        changes.append(Change(name, state, len(sizes), sum(sizes.values()), was, same_layers))
    changes.sort(key=lambda change: change.reference)
    size = sum(blob.size for blob in carried.values())
    return Difference(tuple(changes), len(carried), size, len(whole), new.size)


def _renamed(before: Mapping[str, Image], after: Mapping[str, Image]) -> dict[str, str]:
    """New names and the old ones that they replace, of repositories with one image in each bundle."""
    repositories: dict[str, tuple[set[str], set[str]]] = {}
    for position, images in enumerate((before, after)):
        for name in images:
            repositories.setdefault(reference.repository(name), (set(), set()))[position].add(name)
    names: dict[str, str] = {}
    for old, new in repositories.values():
        if len({before[name] for name in old}) == len({after[name] for name in new}) == 1:
            names.update(zip(sorted(new - old), sorted(old - new), strict=False))
    return names


def _row(change: Change) -> tuple[str, ...]:
    """A line of the table. A delta carries the manifest of an unchanged image too, which is not new."""
    tag = change.was.rpartition(":")[2] if change.was != change.reference else ""
    state = "only its config" if change.state == "changed" and change.same_layers else change.state
    carried = change.blobs and change.state != "same"
    return (familiar(change.reference), tag, state, *((str(change.blobs), human(change.size)) if carried else ("", "")))


def _layers(image: Image) -> set[tuple[str, tuple[Layer, ...]]]:
    return {(platform_image.platform, platform_image.layers) for platform_image in image.platform_images}


def _by_name(index: BundleIndex) -> dict[str, Image]:
    return {name: image for image in index.images for name in image.references}
