"""Images whose blobs are files: OCI layouts that bake or a registry filled, and bundles, which anybody may have made.

Nothing is extracted. A blob is believed as far as its digest: what a layer unpacks to has to have the diff id that its
config states, since it is kept under that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from generator.bundle.check import read_record
from generator.bundle.format.members import Expected
from generator.bundle.format.source import opened
from generator.bundle.format.walk import check_rest
from generator.errors import BundleError, InputError, Problem
from generator.images.image import CHUNK, BlobSource, Image, Layer, ResolvedImage, Variant, read_blob
from generator.progress import Progress, quiet
from generator.verify.kept import Kept, Parts
from generator.verify.layers import BadLayer, LayerReader


def variants_of(images: Sequence[Image]) -> dict[tuple[str, str], Variant]:
    """(digest of the manifest, platform) -> variant: what identifies one platform of an image wherever it is."""
    return {(v.manifest.digest, v.platform): v for image in images for v in image.variants}


def read_layouts(
    found: Sequence[ResolvedImage], wanted: Collection[tuple[str, str]], kept: Kept, progress: Progress = quiet
) -> dict[tuple[str, str], Parts]:
    """Images in layouts; every layer of them is in ``kept`` then. BundleError for a layout that lies."""
    parts = {}
    for one in found:
        for key, variant in variants_of([one.image]).items():
            if key not in wanted:
                continue
            for layer in variant.layers:
                if kept.layer(layer.diff_id) is None:
                    _read_layer(one.source, layer, one.image.label, kept, progress)
            parts[key] = Parts(
                read_blob(one.source, variant.config, f"{one.image.label}: config"),
                tuple(layer.diff_id for layer in variant.layers),
            )
            kept.put_image(*key, parts[key])
    return parts


def _read_layer(source: BlobSource, layer: Layer, label: str, kept: Kept, progress: Progress) -> None:
    reader, done = LayerReader(), 0
    try:
        with source.open(layer.blob) as stream:
            while data := stream.read(CHUNK):
                reader.feed(data)
                done += len(data)
                progress(f"layer {layer.blob.digest}", done, layer.blob.size)
        _keep(reader, layer, kept)
    except (OSError, BadLayer) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise BundleError(f"{label}: layer {layer.blob.digest}: {said}", hint=source.hint) from error


def _keep(reader: LayerReader, layer: Layer, kept: Kept) -> None:
    listing = reader.end()
    if reader.diff_id != layer.diff_id:
        raise BadLayer(f"unpacked it is {reader.diff_id}, its config says {layer.diff_id}")
    kept.put_layer(layer.diff_id, listing)


def read_bundle(
    file: Path, wanted: Collection[tuple[str, str]], kept: Kept, progress: Progress = quiet
) -> dict[tuple[str, str], Parts]:
    """Images of a bundle, in one pass that checks every byte of it, also where none is wanted. Raises BundleError.

    InputError for a delta: it does not have what its images hold.
    """
    with opened(file) as (stream, name, _):
        plan = read_record(stream, name)
        if plan.index.bases:
            # what is not in it could neither be seen nor missed
            message = f"it is a delta: most of its images is in {plan.index.leans_on}"
            raise InputError(Problem(name, message), hint="fategen bundle load both, then: fategen verify")
        tap = _Tap([v for key, v in variants_of(plan.index.images).items() if key in wanted], kept, name)
        check_rest(stream, name, plan, tap=tap, progress=progress)
    parts = {}
    for key in wanted:
        variant = variants_of(plan.index.images)[key]
        parts[key] = Parts(tap.configs[variant.config.digest], tuple(layer.diff_id for layer in variant.layers))
        kept.put_image(*key, parts[key])
    return parts


class _Tap:
    """Sees a bundle go by: keeps configs, lists layers that are not known."""

    def __init__(self, variants: Sequence[Variant], kept: Kept, name: str) -> None:
        self._kept, self._name = kept, name
        self._layers = {
            layer.blob.digest: layer
            for variant in variants
            for layer in variant.layers
            if kept.layer(layer.diff_id) is None
        }
        self._wanted = {variant.config.digest for variant in variants}
        self._reader: LayerReader | None = None
        self._config: list[bytes] | None = None
        self.configs: dict[str, bytes] = {}

    def begin(self, member: Expected) -> None:
        self._reader = LayerReader() if member.digest in self._layers else None
        self._config = [] if member.digest in self._wanted else None

    def data(self, chunk: bytes) -> None:
        if self._config is not None:
            self._config.append(chunk)
        if self._reader is not None:
            try:
                self._reader.feed(chunk)
            except BadLayer as error:
                raise self._refused("a layer", error) from error

    def end(self, member: Expected, good: bool) -> None:
        if self._config is not None and good:
            self.configs[member.digest] = b"".join(self._config)
        if self._reader is not None and good:
            try:
                _keep(self._reader, self._layers[member.digest], self._kept)
            except BadLayer as error:
                raise self._refused(f"{member.label} ({', '.join(member.images)})", error) from error

    def _refused(self, what: str, error: BadLayer) -> BundleError:
        return BundleError(f"{self._name}: {what}: {error}", hint="whoever made the bundle made it wrong")
