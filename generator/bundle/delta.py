"""Delta bundles: a bundle without the layers of its base bundles, and how to put them together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from generator.bundle.index import BaseBundle, BundleIndex, MissingLayer, decode
from generator.images.image import Layer


def leave_out(index: BundleIndex, olds: Sequence[BundleIndex]) -> BundleIndex:
    """``index`` without the layers that ``olds`` have, or leave out themselves because their own bases have them.

    Bases that have none of its layers are not named; ``index`` is returned as it is where no base has any.
    """
    layers = {
        blob
        for image in index.images
        for platform_image in image.platform_images
        for blob in _layers(platform_image.layers)
    }
    users: dict[str, set[str]] = {}
    bases = set()
    for old in olds:
        for image in old.images:
            for platform_image in image.platform_images:
                for blob in layers.intersection(_layers(platform_image.layers)):
                    users.setdefault(blob, set()).add(platform_image.manifest.digest)
                    bases.add(BaseBundle(old.name, old.root))
    missing = tuple(MissingLayer(blob, tuple(sorted(users[blob]))) for blob in sorted(users))
    ordered = tuple(sorted(bases, key=lambda base: base.root))
    return decode(replace(index, bases=ordered, missing=missing).encode()) if missing else index


def _layers(layers: Sequence[Layer]) -> Iterator[str]:
    return (layer.blob.digest for layer in layers)
