"""What another tool's archive holds, counted: for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from generator.bundle.foreign.images import ForeignImage
from generator.bundle.foreign.survey import Survey
from generator.images.reference import familiar
from generator.text import human


@dataclass(frozen=True)
class Sizes:
    """Bytes of an image in the archive, of which ``shared`` are in other images of it too."""

    size: int
    shared: int


def sizes(images: tuple[ForeignImage, ...]) -> tuple[Sizes, ...]:
    """For each image; what is not there counts nothing, and what is there twice under two names, once."""
    of_image = [_blobs(image) for image in images]
    users: dict[str, int] = {}
    for blobs in of_image:
        for key in blobs:
            users[key] = users.get(key, 0) + 1
    return tuple(
        Sizes(sum(blobs.values()), sum(size for key, size in blobs.items() if users[key] > 1)) for blobs in of_image
    )


def as_json(seen: Survey) -> dict[str, object]:
    """An archive for programs."""
    return {
        "file": seen.name,
        "format": seen.format,
        "compression": seen.compression,
        "size": seen.size,
        "images": [
            {
                "references": list(image.names),
                "tag": image.tag,
                "platforms": [variant.platform for variant in image.variants],
                "absent": list(image.absent),
                "digest": image.digest,
                "size": found.size,
                "unique": found.size - found.shared,
                "shared": found.shared,
            }
            for image, found in zip(seen.images, sizes(seen.images), strict=True)
        ],
        "loaders": [asdict(verdict) for verdict in seen.loaders],
        "problems": list(seen.problems),
        "notes": list(seen.notes),
    }


def rows(seen: Survey) -> list[tuple[str, ...]]:
    """An archive for people, in the columns of a bundle's table."""
    found: list[tuple[str, ...]] = []
    for image, counted in zip(seen.images, sizes(seen.images), strict=True):
        first, *others = [familiar(name) for name in image.names] or [image.label]
        platforms = [variant.platform + ("" if variant.whole else " (broken)") for variant in image.variants]
        platforms += [f"({platform})" for platform in image.absent]
        own = human(counted.size - counted.shared)
        found.append((first, " ".join(platforms), human(counted.size), own, human(counted.shared)))
        found.extend((name, "", "", "", "") for name in others)
    return found


def _blobs(image: ForeignImage) -> dict[str, int]:
    found: dict[str, int] = {}
    if image.target and image.target.digest not in {v.manifest.digest for v in image.variants if v.manifest}:
        found[image.target.digest] = image.target.size
    for variant in image.variants:
        if variant.manifest:
            found[variant.manifest.digest] = variant.manifest.size
        found[variant.config] = variant.config_size
        # a file may stand under two names (a link); its diff id is one
        found |= {layer.diff_id or layer.file.name: layer.file.size for layer in variant.layers if layer.file}
    return found
