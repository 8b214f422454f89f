"""Images whose blobs are files: OCI layouts that bake or a registry filled, and bundles, which anybody may have made.

Nothing is extracted. A blob is believed as far as its digest: what a layer unpacks to has to have the diff id that its
config states, since it is kept under that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from generator.bundle.reader import MemberBytes, open_bundle, verified
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
    with open_bundle(file) as bundle:
        if bundle.index.bases:
            # what is not in it could neither be seen nor missed
            message = f"it is a delta: most of its images is in {bundle.index.base_names}"
            raise InputError(Problem(bundle.name, message), hint="fategen bundle load both, then: fategen verify")
        known = variants_of(bundle.index.images)
        variants = [known[key] for key in wanted]
        layers = {layer.blob.digest: layer for v in variants for layer in v.layers if kept.layer(layer.diff_id) is None}
        configs = {variant.config.digest: b"" for variant in variants}
        for data in verified(bundle, progress):
            digest = data.member.digest
            if digest in configs:
                configs[digest] = b"".join(data.content())
            elif digest in layers:
                _read_member(data, layers[digest], bundle.name, kept)
    parts = {}
    for key in wanted:
        variant = known[key]
        parts[key] = Parts(configs[variant.config.digest], tuple(layer.diff_id for layer in variant.layers))
        kept.put_image(*key, parts[key])
    return parts


def _read_member(data: MemberBytes, layer: Layer, bundle: str, kept: Kept) -> None:
    """List a layer of a bundle. BundleError where its digest is right and it does not hold what its config says."""
    reader = LayerReader()
    try:
        for piece in data.content():
            reader.feed(piece)
        if data.damage is None:
            _keep(reader, layer, kept)
    except BadLayer as error:
        # of a damaged layer the bundle's reader says which bytes are wrong
        if data.check() is None:
            what = f"{data.member.label} ({', '.join(data.member.images)})"
            hint = "whoever made the bundle made it wrong"
            raise BundleError(f"{bundle}: {what}: {error}", hint=hint) from error
