"""What a bundle holds, counted: for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass

from generator.bundle.model import BundleIndex, short_root
from generator.bundle.reference import familiar
from generator.text import human


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
    }


def leaning(index: BundleIndex) -> str:
    """What a delta leaves out and which bundles have it; that nothing is left out where it is a whole bundle."""
    if not index.bases:
        return "no base has any of its layers: it is a whole bundle"
    blobs = index.blobs()
    size = sum(blobs[one.digest].size for one in index.absent)
    bases = ", ".join(f"{base.name} (root digest {short_root(base.root)})" for base in index.bases)
    return f"a delta: {len(index.absent)} layers ({human(size)}) are not in it, but in {bases}"


def rows(index: BundleIndex) -> list[tuple[str, ...]]:
    """A bundle for people: image, platforms, size, own and shared bytes; one row for each further name of an image."""
    found: list[tuple[str, ...]] = []
    for image in report(index):
        first, *others = (familiar(name) for name in image.references)
        found.append((first, " ".join(image.platforms), human(image.size), human(image.unique), human(image.shared)))
        found.extend((name, "", "", "", "") for name in others)
    return found
