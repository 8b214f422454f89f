"""Reads OCI layout directories, as ``docker buildx bake`` writes them with ``type=oci,tar=false,dest=DIR``.

Source: opencontainers/image-spec, image-layout.md. Every digest is checked before a byte is believed; a digest becomes
a path only after it matched ``sha256:<64 hex>``. ``blobs`` may be a link to a directory that several layouts share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.format.members import nested_index
from generator.bundle.format.model import Image, Layer, Variant
from generator.errors import BundleError, InputError, Problem
from generator.images import reference
from generator.images.oci import (
    INDEX_TYPES,
    LAYER_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    Child,
    Descriptor,
    parse_config,
    parse_index,
    parse_manifest,
    platform_name,
    platform_object,
)
from generator.images.strictjson import LIMIT, Malformed, encode
from generator.project import STATE


@dataclass(frozen=True)
class SourceImage:
    """An image to save: its references, the layout directory that holds it, and the platforms to take, host first."""

    references: tuple[str, ...]
    layout: Path
    platforms: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """An image read from a layout; ``made`` holds blobs that exist in no file (a rewritten index), by digest."""

    image: Image
    layout: Path
    made: dict[str, bytes]


def build_again(layout: Path) -> str:
    """The next step when a layout is wrong: the cache goes that fategen's own layouts share, and nobody else's."""
    blobs = (layout / "blobs").resolve()
    if STATE not in blobs.parts:
        return f"have {layout} written again by what wrote it"
    return f"rm -r {blobs}, then run the same command again: it writes them anew"


def blob_path(layout: Path, digest: str) -> Path:
    """The file of a blob; ``digest`` must have been checked."""
    return layout / "blobs" / "sha256" / digest.partition(":")[2]


def read_all(images: Sequence[SourceImage], problems: Sequence[Problem] = ()) -> list[Found]:
    """The images that ``images`` name. InputError: what ``read`` says of each, and the ``problems`` known before."""
    problems, hints, found = list(problems), [], []
    for image in images:
        try:
            found.append(read(image))
        except InputError as error:
            problems += error.problems
            hints.append(error.hint)
    if problems:
        raise InputError(problems, hint="; ".join(dict.fromkeys(hint for hint in hints if hint)))
    return found


def read(source: SourceImage) -> Found:
    """The image that ``source`` names. InputError: not there, lacks a platform, has layers that a bundle cannot hold.

    BundleError: the layout is damaged or lies (a digest, a media type, a missing blob).
    """
    names = _names(source)
    label = reference.short(names[0])
    wanted = tuple(dict.fromkeys(_platform(p, label) for p in source.platforms))
    if not wanted:
        raise InputError(Problem(label, "no platform was asked for"))
    entry = _top(source.layout, names, label)
    top = entry.descriptor
    if top.media_type in MANIFEST_TYPES:
        variant = _variant(source.layout, top, entry.platform, label)
        _require(wanted, [variant.platform], label)
        return Found(Image(names, top, (variant,)), source.layout, {})
    if top.media_type not in INDEX_TYPES:
        message = f"{label}: {top.digest} is {top.media_type[:80]!r}, not an image"
        raise BundleError(message, hint=build_again(source.layout))
    children = _children(source.layout, top, label)
    _require(wanted, [child.platform for child in children if not child.attestation], label)
    taken = {c.platform: c.descriptor for c in children if c.platform in wanted and not c.attestation}
    variants = tuple(_variant(source.layout, taken[platform], platform, label) for platform in wanted)
    if len(variants) == 1:
        return Found(Image(names, variants[0].manifest, variants), source.layout, {})
    if len(children) == len(variants):
        # nothing is left out: the index, and so the digest that a registry has too, stays as it was built
        return Found(Image(names, top, variants), source.layout, {})
    data = nested_index(sorted(taken.items()))
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    image = Image(names, Descriptor(digest, len(data), OCI_INDEX), variants)
    return Found(image, source.layout, {digest: data})


def read_blob(layout: Path, blob: Descriptor, what: str) -> bytes:
    """The bytes of a small blob, their size and digest checked. ``what`` begins the message: ``egg: manifest``."""
    hint = build_again(layout)
    if blob.size > LIMIT:
        raise BundleError(f"{what} {blob.digest} has {blob.size:,} bytes, at most {LIMIT:,} are read", hint=hint)
    try:
        with blob_path(layout, blob.digest).open("rb") as file:
            data = file.read(blob.size + 1)
    except OSError as error:
        raise BundleError(f"{what} {blob.digest} cannot be read: {error.strerror}", hint=hint) from error
    if len(data) != blob.size or "sha256:" + hashlib.sha256(data).hexdigest() != blob.digest:
        raise BundleError(f"{what} {blob.digest} does not match its digest", hint=hint)
    return data


def write_layout(layout: Path, top: Descriptor, names: Sequence[str] = (), platform: str = "") -> None:
    """Makes ``layout`` one that holds this image: its blobs are there. OSError where it cannot be written.

    ``platform`` is that of a manifest whose config may state another (a variant of arm, say).
    """
    where = {"platform": platform_object(platform)} if platform else {}
    notes = {"annotations": {"org.opencontainers.image.ref.name": ",".join(names)}} if names else {}
    entry = {"mediaType": top.media_type, "digest": top.digest, "size": top.size, **where, **notes}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        part = layout / f".{name}.part"
        part.write_bytes(encode(value))
        part.replace(layout / name)


def named(layout: Path, references: Sequence[str]) -> bool:
    """Whether ``layout`` is one whose index names an image exactly so; one that cannot be read names nothing."""
    try:
        children = parse_index((layout / "index.json").read_bytes()[: LIMIT + 1], "")
    except (OSError, Malformed):
        return False
    return any(_same(child.names, [reference.normalise(name) for name in references]) for child in children)


def absent(source: SourceImage, top: Descriptor) -> list[Problem]:
    """The platforms that were asked for and whose blobs are not all there, while ``top`` itself names them.

    An engine keeps an index as it was pulled, and of its platforms those that it needs. Raises BundleError.
    """
    label = reference.short(_names(source)[0])
    if top.media_type not in INDEX_TYPES:
        return []
    named = {c.platform: c.descriptor for c in _children(source.layout, top, label) if not c.attestation}
    there = [platform for platform, manifest in named.items() if _whole(source.layout, manifest)]
    return [
        Problem(label, f"the engine has {', '.join(there) or 'no platform'} of it, not {platform}")
        for platform in source.platforms
        if platform in named and platform not in there
    ]


def _whole(layout: Path, top: Descriptor) -> bool:
    try:
        manifest = parse_manifest(read_blob(layout, top, "manifest"), top.media_type)
    except (BundleError, Malformed):
        return False
    return all(blob_path(layout, blob.digest).is_file() for blob in (manifest.config, *manifest.layers))


def _names(source: SourceImage) -> tuple[str, ...]:
    if not source.references:
        raise InputError(Problem(str(source.layout), "an image needs a name"))
    try:
        return tuple(sorted({reference.normalise(name) for name in source.references}))
    except ValueError as error:
        raise InputError(Problem(str(source.layout), str(error))) from None


def _platform(value: str, label: str) -> str:
    try:
        return platform_name(value)
    except Malformed as error:
        raise InputError(Problem(label, str(error))) from None


def _top(layout: Path, names: Sequence[str], label: str) -> Child:
    """The entry of index.json: the only one, or the one that carries exactly these names."""
    try:
        (layout / "oci-layout").stat()
        with (layout / "index.json").open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        message = f"{layout} is not an OCI layout ({error.strerror}: {Path(str(error.filename)).name})"
        raise InputError(Problem(label, message), hint="build the image first") from error
    try:
        children = parse_index(data, "")
    except Malformed as error:
        raise BundleError(f"{label}: {layout}/index.json: {error}", hint=build_again(layout)) from None
    if len(children) > 1:
        children = tuple(child for child in children if _same(child.names, names))
    if len(children) != 1:
        message = f"{layout} holds {'several images' if children else 'no image'} named {', '.join(names)}"
        raise InputError(Problem(label, message), hint=build_again(layout))
    return children[0]


def _same(found: Sequence[str], names: Sequence[str]) -> bool:
    try:
        return {reference.normalise(name) for name in found} == set(names)
    except ValueError:
        return False


def _children(layout: Path, top: Descriptor, label: str) -> tuple[Child, ...]:
    data = read_blob(layout, top, f"{label}: index")
    try:
        children = parse_index(data, top.media_type)
    except Malformed as error:
        raise BundleError(f"{label}: index {top.digest}: {error}", hint=build_again(layout)) from None
    for child in children:
        if child.descriptor.media_type not in MANIFEST_TYPES:
            what = f"{child.descriptor.digest} is {child.descriptor.media_type[:80]!r}"
            raise BundleError(f"{label}: index {top.digest}: {what}, not a manifest", hint=build_again(layout))
    platforms = [child.platform for child in children if not child.attestation]
    if len(set(platforms)) != len(platforms):
        raise BundleError(f"{label}: index {top.digest} names a platform twice", hint=build_again(layout))
    return children


def _require(wanted: Sequence[str], there: Sequence[str], label: str) -> None:
    missing = [platform for platform in wanted if platform not in there]
    if missing:
        message = f"it was built for {', '.join(there) or 'no platform'}, not for {', '.join(missing)}"
        raise InputError(Problem(label, message), hint=f"build it for {', '.join(missing)}, or leave that platform out")


def _variant(layout: Path, top: Descriptor, platform: str, label: str) -> Variant:
    data = read_blob(layout, top, f"{label}: manifest")
    try:
        manifest = parse_manifest(data, top.media_type)
    except Malformed as error:
        raise BundleError(f"{label}: manifest {top.digest}: {error}", hint=build_again(layout)) from None
    strange = [layer for layer in manifest.layers if layer.media_type not in LAYER_TYPES]
    if strange:
        message = (
            f"layer {strange[0].digest} is {strange[0].media_type[:80]!r}; "
            "a bundle holds layers in gzip, in zstd or as plain tars"
        )
        raise InputError(Problem(label, message), hint="build it again with compression=gzip,force-compression=true")
    data = read_blob(layout, manifest.config, f"{label}: config")
    try:
        config = parse_config(data)
    except Malformed as error:
        raise BundleError(f"{label}: config {manifest.config.digest}: {error}", hint=build_again(layout)) from None
    if len(config.diff_ids) != len(manifest.layers):
        count = f"{len(manifest.layers)} layers, its config {len(config.diff_ids)} diff ids"
        raise BundleError(f"{label}: manifest {top.digest} has {count}", hint=build_again(layout))
    layers = tuple(Layer(blob, config.diff_ids[number]) for number, blob in enumerate(manifest.layers))
    return Variant(platform or config.platform, top, manifest.config, layers)
