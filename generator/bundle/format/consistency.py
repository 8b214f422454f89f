"""Holds the blobs that describe images against the record: nothing but the record decides what is loaded."""

from __future__ import annotations

from generator.bundle.format.model import BundleIndex, Image, Variant
from generator.images.oci import parse_config, parse_index, parse_manifest
from generator.images.strictjson import Malformed


class Expectations:
    """What the record says of each index, manifest and config, by digest."""

    def __init__(self, index: BundleIndex) -> None:
        self._indexes: dict[str, list[Image]] = {}
        self._manifests: dict[str, set[Variant]] = {}
        self._configs: dict[str, set[Variant]] = {}
        for image in index.images:
            if image.nested:
                self._indexes.setdefault(image.target.digest, []).append(image)
            for variant in image.variants:
                self._manifests.setdefault(variant.manifest.digest, set()).add(variant)
                self._configs.setdefault(variant.config.digest, set()).add(variant)

    def disagreement(self, digest: str, data: bytes) -> str | None:
        """What the blob ``data`` says against the record, in words, or ``None``.

        ``data`` already matches its digest. Checked: an index names exactly the recorded platforms and manifests; a
        manifest the recorded config and layers (digest, size, media type, order); a config the recorded diff ids in
        number and order. That the layers unpack to their diff ids is for the engine to check.
        """
        try:
            self._index(digest, data)
            self._manifest(digest, data)
            self._config(digest, data)
        except Malformed as error:
            return f"is not what it must be: {error}"
        return None

    def _index(self, digest: str, data: bytes) -> None:
        users = self._indexes.get(digest, [])
        for media_type in sorted({image.target.media_type for image in users}):
            children = parse_index(data, media_type)
            told = {(child.platform, child.descriptor) for child in children}
            for image in users:
                if len(children) != len(image.variants) or told != {(v.platform, v.manifest) for v in image.variants}:
                    raise Malformed("it names other platforms or manifests than the record")

    def _manifest(self, digest: str, data: bytes) -> None:
        users = self._manifests.get(digest, set())
        for media_type in sorted({variant.manifest.media_type for variant in users}):
            manifest = parse_manifest(data, media_type)
            if any(manifest.config != variant.config for variant in users):
                raise Malformed("it has another config than the record")
            if any(manifest.layers != tuple(layer.blob for layer in variant.layers) for variant in users):
                raise Malformed("it has other layers than the record")

    def _config(self, digest: str, data: bytes) -> None:
        users = self._configs.get(digest, set())
        if users:
            diff_ids = parse_config(data).diff_ids
            if any(diff_ids != tuple(layer.diff_id for layer in variant.layers) for variant in users):
                raise Malformed("it has other diff ids than the record")
