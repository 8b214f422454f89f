"""What a bundle holds, counted: for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.bundle.check import VerifyResult
from generator.bundle.format.base import short_root
from generator.bundle.format.model import BundleIndex
from generator.bundle.load import LoadResult
from generator.images.reference import familiar
from generator.text import human, table, without

WIDTH = 100
"""Columns of a terminal that a table of images may take."""
COLUMNS = ("IMAGE", "PLATFORMS", ">SIZE", ">ITS OWN", ">SHARED")
"""Of what a bundle or another archive holds."""
ZSTD_NOTE = "layers in zstd: Docker loads them from version 23 on, podman and containerd as well"
_STATES = {"new": "new", "same": "was there", "replaced": "replaced "}


@dataclass(frozen=True)
class ImageReport:
    """One image. ``size`` in bytes, of which ``shared`` are in other images of the bundle too; the rest is its own."""

    name: str
    references: tuple[str, ...]
    platforms: tuple[str, ...]
    digest: str
    size: int
    shared: int

    @property
    def unique(self) -> int:
        return self.size - self.shared

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "references": list(self.references),
            "platforms": list(self.platforms),
            "digest": self.digest,
            "size": self.size,
            "unique": self.unique,
            "shared": self.shared,
        }


def report(index: BundleIndex) -> tuple[ImageReport, ...]:
    """Each image of a bundle with its bytes."""
    of_image = [{blob.digest: blob.size for blob in image.blobs()} for image in index.images]
    users: dict[str, int] = {}
    for blobs in of_image:
        for digest in blobs:
            users[digest] = users.get(digest, 0) + 1
    return tuple(
        ImageReport(
            image.label,
            image.references,
            image.platforms,
            image.target.digest,
            sum(of_image[number].values()),
            sum(size for digest, size in of_image[number].items() if users[digest] > 1),
        )
        for number, image in enumerate(index.images)
    )


def as_json(index: BundleIndex, size: int) -> dict[str, object]:
    """A bundle for programs; ``size`` is that of the whole file in bytes."""
    return {
        "name": index.name,
        "root": index.root,
        "short_root": short_root(index.root),
        "size": size,
        "images": [image.as_json() for image in report(index)],
        "bases": [{"name": base.name, "root": base.root} for base in index.bases],
        "absent": [one.digest for one in index.absent],
        "files": [{"name": file.name, "digest": file.digest, "size": file.size} for file in index.files],
    }


def leaning(index: BundleIndex, olds: Sequence[BundleIndex] = ()) -> str:
    """What a delta leaves out and which bundles have it; that nothing is left out where ``olds`` are no help."""
    if not index.bases:
        other = sorted({form or "plain tars" for old in olds for form in old.forms - index.forms})
        why = f" (their layers are {' and '.join(other)})" if other else ""
        return f"no base has any of its layers{why}: it is a whole bundle"
    blobs = index.blobs()
    size = sum(blobs[one.digest].size for one in index.absent)
    many = "1 layer is" if len(index.absent) == 1 else f"{len(index.absent)} layers are"
    return f"a delta: {many} not in it ({human(size)}), but in {index.leans_on}"


def file_list(index: BundleIndex) -> str:
    """The small files of a bundle in a line, "" where it has none."""
    files = ", ".join(f"{file.name} ({human(file.size)})" for file in index.files)
    return f"files: {files}" if files else ""


def rows(index: BundleIndex) -> list[tuple[str, ...]]:
    """A bundle for people: image, platforms, size, own and shared bytes, digest; a row for each further name."""
    found: list[tuple[str, ...]] = []
    for image in report(index):
        first, *others = (familiar(name) for name in image.references)
        sizes = human(image.size), human(image.unique), human(image.shared)
        found.append((first, " ".join(image.platforms), *sizes, image.digest[7:15]))
        found.extend((name, "", "", "", "", "") for name in others)
    return found


def images_table(index: BundleIndex) -> str:
    """The images of a bundle as a table, with their digests where it has room; below, what else is to be said."""
    lines = table((*COLUMNS, "DIGEST"), rows(index))
    if max(map(len, lines.splitlines())) > WIDTH:
        lines = table(COLUMNS, rows(index))
    below = [line for line in (file_list(index), ZSTD_NOTE * index.zstd) if line]
    return "\n\n".join([lines, *(["\n".join(below)] if below else [])])


def summary(name: str, index: BundleIndex, size: int) -> str:
    """A line for the file of ``size`` bytes: what to compare with the other side."""
    return f"{name}  {human(size)}  root digest {short_root(index.root)}"


def whole(result: VerifyResult, seconds: float) -> str:
    """What verify says of a good bundle."""
    images = len(result.index.images)
    signed = f", signed by {result.signer}" if result.signer else ""
    return (
        f"{result.path} is whole: {images} image{'s' * (images > 1)}, {result.blobs} blobs, {human(result.size)}, "
        f"{seconds:.1f} s{signed}\nroot digest {short_root(result.index.root)}: compare it with the sender's"
        + (f"\n{leaning(result.index)}" if result.index.bases else "")
    )


def whole_json(result: VerifyResult) -> dict[str, object]:
    found = {"blobs": result.blobs, "whole": True, "signer": result.signer}
    return {**as_json(result.index, result.size), **found}


def loaded_table(result: LoadResult) -> str:
    """What became of each name."""
    cells = [
        (
            familiar(i.reference),
            i.platform,
            _short(i.id),
            _STATES[i.state] + (_short(i.before) if i.state == "replaced" else ""),
        )
        for i in result.images
    ]
    return table(("IMAGE", "PLATFORM", "ID", ""), cells)


def loaded_json(result: LoadResult) -> dict[str, object]:
    images = [
        {"reference": i.reference, "id": i.id, "platform": i.platform, "state": i.state, "before": i.before}
        for i in result.images
    ]
    return {"root": result.index.root, "platform": result.platform, "signer": result.signer, "images": images}


def _short(identity: str) -> str:
    """What docker prints of an id."""
    return without("sha256:", identity)[:12]
