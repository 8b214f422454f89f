"""An image, wherever it is stored: an OCI layout, a registry, a bundle, a ``docker save`` stream.

A place that stores blobs is a ``BlobSource``. ``resolve`` reads an image from it, from its index down to its configs,
and checks every digest on the way; layers are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from generator.config import reference
from generator.errors import BundleError, InputError, Problem
from generator.images.oci import (
    INDEX_TYPES,
    LAYER_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    IndexEntry,
    architecture,
    index_type,
    parse_config,
    parse_index,
    parse_manifest,
)
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed, encode

CHUNK = 1 << 20
"""bytes that are read, hashed and written at a time"""
T = TypeVar("T")


class Readable(Protocol):
    """A source of bytes: a file, a pipe, stdin."""

    def read(self, size: int, /) -> bytes: ...


class BlobSource(Protocol):
    """A place that stores blobs. ``hint`` is the next step if one of them is missing or wrong."""

    @property
    def hint(self) -> str: ...

    def open(self, blob: Descriptor, /) -> AbstractContextManager[Readable]:
        """The bytes of a blob, unchecked. Raises OSError if they cannot be read."""


@dataclass(frozen=True)
class Layer:
    """A layer as it is stored, and the digest of its uncompressed tar (``diff_id``)."""

    blob: Descriptor
    diff_id: str


@dataclass(frozen=True)
class PlatformImage:
    """One platform of an image."""

    platform: str
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Layer, ...]

    def blobs(self) -> Iterator[Descriptor]:
        yield self.manifest
        yield self.config
        for layer in self.layers:
            yield layer.blob


@dataclass(frozen=True)
class Image:
    """One image: full references, what they point to, and its platforms, the host's first.

    ``target`` is the only manifest of a one-platform image, else a nested index that names exactly ``platform_images``.
    """

    references: tuple[str, ...]
    target: Descriptor
    platform_images: tuple[PlatformImage, ...]

    @property
    def label(self) -> str:
        """The image's name in messages: ``tool`` for ``docker.io/team/tool:1.0``."""
        return reference.short(self.references[0])

    @property
    def nested(self) -> bool:
        return self.target.media_type in INDEX_TYPES

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(platform_image.platform for platform_image in self.platform_images)

    @property
    def manifests(self) -> dict[str, str]:
        """The digest of each platform's manifest."""
        return {platform_image.platform: platform_image.manifest.digest for platform_image in self.platform_images}

    def blobs(self) -> Iterator[Descriptor]:
        """Every blob of the image, some perhaps twice."""
        yield self.target
        for platform_image in self.platform_images:
            yield from platform_image.blobs()


@dataclass(frozen=True)
class ResolvedImage:
    """An image and where its blobs are; ``rewritten`` has, by digest, an index made here that ``source`` lacks."""

    image: Image
    source: BlobSource
    rewritten: Mapping[str, bytes]


@dataclass(frozen=True)
class Contents:
    """Everything below an index or a manifest, as a push needs it: attestations too."""

    platform_images: tuple[PlatformImage, ...]
    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(image.platform for image in self.platform_images)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the layers by platform."""
        return {image.platform: sum(layer.blob.size for layer in image.layers) for image in self.platform_images}

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each platform's manifest."""
        return {image.platform: image.manifest.digest for image in self.platform_images}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def iter_verified(stream: Readable, blob: Descriptor, *, hashed: bool = False) -> Iterator[bytes]:
    """The bytes of a blob in pieces, the last one only if all are right. Malformed if they are not the blob's.

    ``hashed``: its digest was checked a moment ago, so only its size is: of what is fetched that saves a quarter.
    """
    total, sha, last = 0, hashlib.sha256(), b""
    while total <= blob.size and (chunk := stream.read(CHUNK)):
        total += len(chunk)
        if not hashed:
            sha.update(chunk)
        if last:
            yield last
        last = chunk
    if total != blob.size:
        raise Malformed(f"{blob.digest} does not have the {blob.size:,} bytes that its descriptor states")
    if not hashed and "sha256:" + sha.hexdigest() != blob.digest:
        raise Malformed(f"{blob.digest} does not match its digest")
    if last:
        yield last


def read_pieces(source: BlobSource, blob: Descriptor, what: str, *, hashed: bool = False) -> Iterator[bytes]:
    """A blob as ``iter_verified`` gives it. ``what`` begins the message of a BundleError: ``tool: manifest``."""
    try:
        with source.open(blob) as stream:
            yield from iter_verified(stream, blob, hashed=hashed)
    except OSError as error:
        raise BundleError(f"{what} {blob.digest} cannot be read: {error.strerror}", hint=source.hint) from error
    except Malformed as error:
        raise BundleError(f"{what} {error}", hint=source.hint) from None


def read_blob(source: BlobSource, blob: Descriptor, what: str) -> bytes:
    """A manifest, an index or a config, whole; ``what`` as for ``read_pieces``."""
    if blob.size > MAX_METADATA_SIZE:
        message = f"{what} {blob.digest} has {blob.size:,} bytes; the limit is {MAX_METADATA_SIZE:,}"
        raise BundleError(message, hint=source.hint)
    return b"".join(read_pieces(source, blob, what))


def resolve(
    source: BlobSource, top: IndexEntry, references: tuple[str, ...], platforms: Sequence[str]
) -> ResolvedImage:
    """The image at ``top``, an index or a manifest, for these platforms; ``references`` are full and sorted.

    An index that names more is rewritten. Raises InputError (a platform it lacks, layers that cannot be in a bundle)
    and BundleError (a blob that is missing or not what its digest or media type says).
    """
    label, blob = reference.short(references[0]), top.descriptor
    if blob.media_type in MANIFEST_TYPES:
        platform_image = _platform_image(source, blob, top.platform, label)
        _require(platforms, [platform_image.platform], label)
        return ResolvedImage(Image(references, blob, (platform_image,)), source, {})
    if blob.media_type not in INDEX_TYPES:
        raise BundleError(f"{label}: {blob.digest} is {blob.media_type[:80]!r}, not an image", hint=source.hint)
    children = index_children(source, blob, label, platforms)
    manifests = {child.platform: child.descriptor for child in children if not child.attestation}
    _require(platforms, list(manifests), label)
    platform_images = tuple(_platform_image(source, manifests[name], name, label) for name in platforms)
    rewritten = {}
    if len(platform_images) == 1:
        blob = platform_images[0].manifest
    elif len(children) != len(platform_images):
        # if nothing is left out, the index and its digest, which a registry knows, stay
        media_type = index_type(platform_images[0].manifest.media_type)
        entries = [manifests[name].as_json(name) for name in sorted(platforms)]
        data = encode({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
        blob = Descriptor(sha256(data), len(data), media_type)
        rewritten[blob.digest] = data
    return ResolvedImage(Image(references, blob, platform_images), source, rewritten)


def contents(source: BlobSource, top: Descriptor, label: str) -> Contents:
    """What is below ``top``. Raises InputError or BundleError as ``resolve`` does."""
    alone = (IndexEntry(top, "", False, ()),)
    children = index_children(source, top, label) if top.media_type in INDEX_TYPES else alone
    platform_images, blobs = [], []
    for child in children:
        if child.attestation:
            parse = partial(parse_manifest, media_type=child.descriptor.media_type)
            manifest = _parsed(source, child.descriptor, f"{label}: attestation", parse)
            blobs += [manifest.config, *manifest.layers]
        else:
            image = _platform_image(source, child.descriptor, child.platform, label)
            platform_images.append(image)
            blobs += [image.config, *(layer.blob for layer in image.layers)]
    return Contents(tuple(platform_images), tuple(child.descriptor for child in children), tuple(blobs))


def index_children(
    source: BlobSource, index: Descriptor, label: str, platforms: Sequence[str] = ()
) -> tuple[IndexEntry, ...]:
    """The manifests that an index names, none of ``platforms`` (none given: of all) twice.

    Others may be there twice: those of Windows differ in ``os.version`` alone. Raises BundleError if it is no such
    index.
    """

    def parse(data: bytes) -> tuple[IndexEntry, ...]:
        children = parse_index(data, index.media_type)
        for child in children:
            if child.descriptor.media_type not in MANIFEST_TYPES:
                raise Malformed(f"{child.descriptor.digest} is {child.descriptor.media_type[:80]!r}, not a manifest")
        named = [child.platform for child in children if not child.attestation]
        if twice := next((name for name in platforms or named if named.count(name) > 1), ""):
            raise Malformed(f"it names {twice} twice")
        return children

    return _parsed(source, index, f"{label}: index", parse)


def _parsed(source: BlobSource, blob: Descriptor, what: str, parse: Callable[[bytes], T]) -> T:
    """What ``parse`` makes of a blob, verified. ``what`` begins the message of a BundleError."""
    try:
        return parse(read_blob(source, blob, what))
    except Malformed as error:
        raise BundleError(f"{what} {blob.digest}: {error}", hint=source.hint) from None


def _require(wanted: Sequence[str], present: Sequence[str], label: str) -> None:
    missing = ", ".join(platform for platform in wanted if platform not in present)
    if missing:
        message = f"it was built for {', '.join(present) or 'no platform'}, not for {missing}"
        raise InputError(Problem(label, message), hint=f"build it for {missing}, or leave that platform out")


def _platform_image(source: BlobSource, top: Descriptor, platform: str, label: str) -> PlatformImage:
    """The image of a manifest; ``platform`` is what its index states, which takes precedence over the config's."""
    manifest = _parsed(source, top, f"{label}: manifest", lambda data: parse_manifest(data, top.media_type))
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            message = f"layer {layer.digest} is {layer.media_type[:80]!r}, neither gzip, nor zstd, nor a plain tar"
            hint = "build it again with compression=gzip,force-compression=true"
            raise InputError(Problem(label, message), hint=hint)
    config = _parsed(source, manifest.config, f"{label}: config", parse_config)
    if len(config.diff_ids) != len(manifest.layers):
        count = f"{len(manifest.layers)} layers, its config {len(config.diff_ids)} diff ids"
        raise BundleError(f"{label}: manifest {top.digest} has {count}", hint=source.hint)
    if platform and architecture(platform) != architecture(config.platform):
        message = f"{label}: {top.digest} is for {platform} in its index, for {config.platform} in its config"
        raise BundleError(message, hint=source.hint)
    layers = tuple(map(Layer, manifest.layers, config.diff_ids))
    return PlatformImage(platform or config.platform, top, manifest.config, layers)
