"""The images that ``index.json`` names (opencontainers/image-spec, image-layout.md)."""

from __future__ import annotations

from dataclasses import replace

from generator.bundle.foreign.images import ForeignImage, ForeignLayer, ForeignVariant
from generator.bundle.foreign.reader import Reader, names_of
from generator.images.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Child,
    Descriptor,
    parse_config,
    parse_index,
    parse_manifest,
)
from generator.images.strictjson import Malformed


def oci_images(reader: Reader) -> list[ForeignImage]:
    data = reader.scan.documents.get("index.json", b"")
    try:
        children = parse_index(data, "")
    except Malformed as error:
        reader.problems.append(f"index.json: {error}")
        return []
    names: dict[Descriptor, list[str]] = {}
    for child in children:
        names.setdefault(child.descriptor, []).extend(child.names)
    first = {child.descriptor: child for child in reversed(children)}
    found = []
    for top in names:
        full, tag = names_of(reader, names[top])
        image = _oci_image(reader, ForeignImage(full, tag, top, (), ()), first[top])
        if image:
            found.append(image)
    return found


def _oci_image(reader: Reader, image: ForeignImage, child: Child) -> ForeignImage | None:
    top = child.descriptor
    if child.attestation:
        return None
    if top.media_type in MANIFEST_TYPES:
        variant = _oci_variant(reader, top, child.platform, image.label)
        if isinstance(variant, str):
            reader.notes.append(variant)
            return None
        return replace(
            image, variants=(variant,) if variant else (), absent=() if variant else (child.platform or "it",)
        )
    if top.media_type not in INDEX_TYPES:
        reader.notes.append(f"{image.label}: {top.digest} is {top.media_type[:80]!r}, not an image")
        return None
    data = reader.document(top, f"{image.label}: index")
    if data is None:
        if not reader.problems:
            reader.problems.append(f"{image.label}: its index {top.digest} is missing")
        return image
    try:
        children = parse_index(data, top.media_type)
    except Malformed as error:
        reader.problems.append(f"{image.label}: index {top.digest}: {error}")
        return image
    variants, absent = [], []
    for entry in children:
        if entry.attestation:
            continue
        if entry.descriptor.media_type not in MANIFEST_TYPES:
            reader.notes.append(f"{image.label}: its index names {entry.descriptor.media_type[:80]!r}, not an image")
            continue
        variant = _oci_variant(reader, entry.descriptor, entry.platform, image.label)
        if isinstance(variant, str):
            reader.notes.append(variant)
        elif variant is None:
            absent.append(entry.platform or entry.descriptor.digest)
        else:
            variants.append(variant)
    platforms = [variant.platform for variant in variants]
    if len(set(platforms)) < len(platforms):
        reader.problems.append(f"{image.label}: its index names a platform twice")
    return replace(image, variants=tuple(variants), absent=tuple(absent), proofs=sum(c.attestation for c in children))


def _oci_variant(reader: Reader, top: Descriptor, platform: str, label: str) -> ForeignVariant | str | None:
    """One platform; ``None``: its manifest is not there; a text: it is not a container image, and that is no damage."""
    before = len(reader.problems)
    data = reader.document(top, f"{label}: manifest")
    if data is None:
        return ForeignVariant(platform, top, "", 0, (), False) if len(reader.problems) > before else None
    try:
        manifest = parse_manifest(data, top.media_type)
    except Malformed as error:
        if "not a container image" in str(error):
            return f"{label}: {top.digest}: {error}"
        reader.problems.append(f"{label}: manifest {top.digest}: {error}")
        return ForeignVariant(platform, top, "", 0, (), False)
    diff_ids: tuple[str, ...] = ()
    config = reader.document(manifest.config, f"{label}: config")
    whole = config is not None
    if config is None:
        if len(reader.problems) == before:
            reader.problems.append(f"{label} ({platform}): its config {manifest.config.digest} is missing")
    else:
        try:
            found = parse_config(config)
            platform, diff_ids = platform or found.platform, found.diff_ids
        except Malformed as error:
            reader.problems.append(f"{label}: config {manifest.config.digest}: {error}")
            whole = False
        else:
            whole = len(diff_ids) == len(manifest.layers)
            if not whole:
                count = f"{len(manifest.layers)} layers, its config {len(diff_ids)}"
                reader.problems.append(f"{label}: manifest {top.digest} has {count}")
    layers = tuple(
        ForeignLayer(reader.blob(blob), diff_id, blob.digest, blob.size, blob.media_type)
        for blob, diff_id in zip(manifest.layers, (*diff_ids, *[""] * len(manifest.layers)), strict=False)
    )
    whole = whole and all(layer.file for layer in layers)
    return ForeignVariant(platform, top, manifest.config.digest, manifest.config.size, layers, whole)
