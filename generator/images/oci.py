"""Manifests, indexes and configs of OCI images: what a bundle needs of them, checked.

Sources: opencontainers/image-spec (descriptor.md, manifest.md, image-index.md, config.md); the rules against type
confusion are those of CVE-2021-41190.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from generator.images.strictjson import Malformed, digest, fields, items, parse, size, text

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})
GZIP_TYPES = frozenset({OCI_GZIP, DOCKER_GZIP})
TAR_TYPES = frozenset({OCI_TAR, "application/vnd.docker.image.rootfs.diff.tar"})
ZSTD_TYPES = frozenset({OCI_ZSTD, "application/vnd.docker.image.rootfs.diff.tar.zstd"})
"""read by Docker from 23 on, containerd from 1.5 on, and podman"""
LAYER_TYPES = GZIP_TYPES | ZSTD_TYPES | TAR_TYPES
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?")
_IMPLIED = {"linux/arm64/v8": "linux/arm64", "linux/amd64/v1": "linux/amd64", "linux/arm": "linux/arm/v7"}


@dataclass(frozen=True)
class Descriptor:
    """A reference to a blob: its digest, its bytes, its media type."""

    digest: str
    size: int
    media_type: str

    def as_json(self, platform: str = "") -> dict[str, object]:
        """As manifests and indexes have it."""
        stated = {"platform": platform_object(platform)} if platform else {}
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **stated}


@dataclass(frozen=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class IndexEntry:
    """One entry of an index. ``platform`` is "" if the entry states none; ``names`` are its annotated references."""

    descriptor: Descriptor
    platform: str
    attestation: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    platform: str
    diff_ids: tuple[str, ...]


def compressed_with(media_type: str) -> Literal["", "gzip", "zstd"]:
    """How a layer of this media type is compressed; "" if it is not."""
    return "gzip" if media_type in GZIP_TYPES else "zstd" if media_type in ZSTD_TYPES else ""


def platform_name(value: str) -> str:
    """A platform in the one form that fategen compares: ``linux/arm64/v8`` is ``linux/arm64``.

    Raises ``Malformed`` for anything that is not ``os/architecture[/variant]``.
    """
    if not _PLATFORM.fullmatch(value):
        meant = f"; did you mean linux/{value}?" if _PLATFORM.fullmatch(f"linux/{value}") and "/" not in value else ""
        raise Malformed(f"{value[:40]!r} is not a platform (os/architecture[/variant]){meant}")
    return _IMPLIED.get(value, value)


def architecture(platform: str) -> str:
    """``linux/arm`` of ``linux/arm/v6``: an index may state a variant that the config leaves out."""
    return "/".join(platform.split("/")[:2])


def platform_object(name: str) -> dict[str, str]:
    """A platform as an index states it."""
    system, architecture, *variant = name.split("/")
    return {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}


def _platform(value: object, where: str) -> str:
    platform = fields(value, where, ("os", "architecture"), ("variant",))
    keys = ("os", "architecture", "variant") if platform.get("variant") else ("os", "architecture")
    return platform_name("/".join(text(platform[key], f"{where}.{key}") for key in keys))


def descriptor(value: object, where: str) -> Descriptor:
    """A descriptor; one whose content lies elsewhere (``urls``) is refused, since an archive must be complete."""
    blob = fields(value, where, ("digest", "size", "mediaType"), ("urls", "platform", "annotations"))
    if blob.get("urls"):
        raise Malformed(f"{where} points to content outside (a foreign layer)")
    return Descriptor(
        digest(blob["digest"], f"{where}.digest"),
        size(blob["size"], f"{where}.size"),
        text(blob["mediaType"], f"{where}.mediaType"),
    )


def _document(data: bytes, media_type: str, excluded: tuple[str, ...]) -> dict[str, object]:
    document = fields(parse(data), "the document", (), ("schemaVersion", "mediaType", "config", "layers", "manifests"))
    if document.get("schemaVersion") != 2:
        raise Malformed("its schemaVersion is not 2")
    if media_type and document.get("mediaType", media_type) != media_type:
        raise Malformed(f"its media type is {str(document.get('mediaType'))[:80]!r}, its descriptor {media_type!r}")
    mixed = sorted(document.keys() & set(excluded))
    if mixed:
        raise Malformed(f"it is a manifest and an index at once ({mixed[0]!r})")
    return document


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """The manifest in ``data``, whose descriptor says ``media_type``. Layer media types are the caller's to judge."""
    manifest = fields(_document(data, media_type, ("manifests",)), "the manifest", ("config", "layers"))
    config = descriptor(manifest["config"], "config")
    if config.media_type not in CONFIG_TYPES:
        raise Malformed(f"its config is {config.media_type[:80]!r}: it is not a container image")
    # null is Go's empty list
    layers = tuple(
        descriptor(v, f"layers[{i}]")
        for i, v in enumerate(items([] if manifest["layers"] is None else manifest["layers"], "layers"))
    )
    return Manifest(config, layers)


def parse_index(data: bytes, media_type: str) -> tuple[IndexEntry, ...]:
    """The entries of an index. ``media_type`` is "" for a layout's own index.json (BuildKit once wrote it without)."""
    index = fields(_document(data, media_type, ("config", "layers")), "the index", ("manifests",))
    children = []
    for number, value in enumerate(items(index["manifests"], "manifests")):
        where = f"manifests[{number}]"
        entry = fields(value, where, (), ("platform", "annotations"))
        notes = fields(entry.get("annotations") or {}, f"{where}.annotations", ())
        platform = _platform(entry["platform"], f"{where}.platform") if entry.get("platform") else ""
        unknown = platform == "unknown/unknown"
        name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
        names = tuple(part for part in text(name, f"{where}: its name").split(",") if part)
        attestation = notes.get("vnd.docker.reference.type") == "attestation-manifest" or unknown
        children.append(IndexEntry(descriptor(value, where), "" if unknown else platform, attestation, names))
    return tuple(children)


def index_type(manifest_type: str) -> str:
    """The media type of an index of such manifests."""
    return DOCKER_INDEX if manifest_type == DOCKER_MANIFEST else OCI_INDEX


def parse_config(data: bytes) -> Config:
    """Platform and diff ids of an image config."""
    config = fields(parse(data), "the config", ("os", "architecture", "rootfs"), ("variant",))
    rootfs = fields(config["rootfs"], "rootfs", ())
    # an image without layers has null there, or nothing
    ids = items(rootfs.get("diff_ids") or [], "diff_ids")
    return Config(_platform(config, "the config"), tuple(digest(v, f"diff_ids[{i}]") for i, v in enumerate(ids)))
