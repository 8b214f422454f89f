"""The bundle index, ``fategen/bundle.json``: every key is known, every value typed, the encoding canonical.

A bundle file follows from its index and the content of its blobs: see ``format``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from generator.config import reference
from generator.errors import InputError, Problem
from generator.images.image import Image, Layer, PlatformImage, sha256
from generator.images.oci import (
    CONFIG_TYPES,
    INDEX_TYPES,
    LAYER_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    compressed_with,
    platform_name,
)
from generator.images.strictjson import (
    MAX_METADATA_SIZE,
    MAX_SIZE,
    Malformed,
    digest,
    encode,
    fields,
    items,
    parse,
    size,
    text,
)
from generator.text import without

SCHEMA = 1
MAX_MEMBERS = 100_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""what a bundle may be called"""
MAX_FILE = 16 << 20
"""bytes that a small file may have: it is read into memory"""
MAX_FILES = 64
_FILE_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RESERVED = frozenset({"bundle.json", "sha256sums"})


def short_root(root: str) -> str:
    """A root digest short enough to read over a telephone (48 bits): against damage, not against an attacker."""
    hexadecimal = root.partition(":")[2]
    return "-".join(hexadecimal[i : i + 4] for i in (0, 4, 8))


@dataclass(frozen=True)
class BaseBundle:
    """A bundle that has layers which a delta leaves out."""

    name: str
    root: str

    @property
    def label(self) -> str:
        """Its name in messages; the root digest tells it from another of the same name."""
        return f"{self.name} (root digest {short_root(self.root)})"


@dataclass(frozen=True)
class MissingLayer:
    """A layer that a delta leaves out. ``manifests`` are those of the base bundle's images that have it, and their
    indexes."""

    digest: str
    manifests: tuple[str, ...]


@dataclass(frozen=True)
class SmallFile:
    """A file that travels beside the images: a compose file, a chart, ``.env``. Loaders ignore it."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class BundleIndex:
    """What a bundle holds, in canonical order.

    A delta leaves out the ``missing`` layers, which its ``bases`` have; both are empty in a whole bundle. ``prefix`` is
    that of names which have a path of their own, such as ``web/api``, "" if none has.
    """

    name: str
    images: tuple[Image, ...]
    bases: tuple[BaseBundle, ...] = ()
    missing: tuple[MissingLayer, ...] = ()
    files: tuple[SmallFile, ...] = ()
    prefix: str = ""

    def own_name(self, name: str) -> str:
        """What stays of a reference under another prefix, without its tag: ``web/api``, else the last part."""
        repository, start = reference.repository(name), f"{self.prefix}/"
        return without(start, repository) if self.prefix and repository.startswith(start) else reference.short(name)

    def blobs(self) -> dict[str, Descriptor]:
        """Every blob once, by digest, in the order of first use; also those that a delta leaves out."""
        blobs: dict[str, Descriptor] = {}
        for image in self.images:
            for blob in image.blobs():
                blobs.setdefault(blob.digest, blob)
        return blobs

    def layers(self) -> dict[str, set[str]]:
        """The layers of its images by digest, and the manifests that have each, and their indexes."""
        layers: dict[str, set[str]] = {}
        for image in self.images:
            for platform_image in image.platform_images:
                for layer in platform_image.layers:
                    tops = (image.target.digest, platform_image.manifest.digest)
                    layers.setdefault(layer.blob.digest, set()).update(tops)
        return layers

    def carried(self) -> dict[str, Descriptor]:
        """The blobs that are in the file: all but the missing ones."""
        missing = {layer.digest for layer in self.missing}
        return {digest: blob for digest, blob in self.blobs().items() if digest not in missing}

    @property
    def size(self) -> int:
        """Bytes of all blobs, each counted once, also of those that a delta leaves out."""
        return sum(blob.size for blob in self.blobs().values())

    @property
    def compressions(self) -> set[str]:
        """How its layers are compressed: gzip, zstd, "" for a plain tar. Docker before 23 does not read zstd."""
        return {compressed_with(blob.media_type) for blob in self.blobs().values() if blob.media_type in LAYER_TYPES}

    @property
    def base_names(self) -> str:
        """The base bundles of a delta, as messages name them."""
        return ", ".join(base.label for base in self.bases)

    @cached_property
    def root(self) -> str:
        """sha256 over everything that the index says: names, tags, platforms and every digest."""
        return sha256(encode(self._json()))

    def encode(self) -> bytes:
        """The bytes of ``fategen/bundle.json``."""
        return encode({**self._json(), "root": self.root})

    def _json(self) -> dict[str, object]:
        values = asdict(self, dict_factory=lambda pairs: {_KEYS.get(name, name): value for name, value in pairs})
        base = {"bundles": values.pop("bases"), "absent": values.pop("missing")}
        files, prefix = values.pop("files"), values.pop("prefix")
        return {
            **values,
            "schema": SCHEMA,
            "totals": {"blobs": len(self.blobs()), "bytes": self.size},
            **({"base": base} if self.bases else {}),
            **({"files": files} if files else {}),
            **({"prefix": prefix} if prefix else {}),
        }


_KEYS = {"platform_images": "variants"}
"""Keys of the document that are not the names of their fields."""
_FIELDS: dict[type, dict[str, Any]] = {
    Descriptor: {"digest": digest, "size": size, "media_type": text},
    Layer: {"blob": Descriptor, "diff_id": digest},
    PlatformImage: {"platform": text, "manifest": Descriptor, "config": Descriptor, "layers": [Layer]},
    Image: {"references": [text], "target": Descriptor, "platform_images": [PlatformImage]},
    BaseBundle: {"name": text, "root": digest},
    MissingLayer: {"digest": digest, "manifests": [digest]},
    SmallFile: {"name": text, "digest": digest, "size": size},
}
"""What each object of the document has; ``[X]`` is a list of X."""


def _read(kind: Any, value: object, where: str) -> Any:
    """``value`` as ``kind``: one of ``_FIELDS``, a list of them, or what a function of strictjson reads."""
    if isinstance(kind, list):
        return tuple(_read(kind[0], item, f"{where}[{number}]") for number, item in enumerate(items(value, where)))
    if kind not in _FIELDS:
        return kind(value, where)
    keys = {name: _KEYS.get(name, name) for name in _FIELDS[kind]}
    members = fields(value, where, keys.values(), closed=True)
    return kind(**{name: _read(_FIELDS[kind][name], members[key], f"{where}.{key}") for name, key in keys.items()})


def arrange(index: BundleIndex) -> BundleIndex:
    """The same in canonical order, checked as if it had been read. Raises Malformed."""
    return decode(_ordered(index).encode())


def _ordered(index: BundleIndex) -> BundleIndex:
    """The same in canonical order, each base bundle and missing layer once."""
    images = [replace(image, references=tuple(sorted(image.references))) for image in index.images]
    return replace(
        index,
        images=tuple(sorted(images, key=lambda image: image.references)),
        bases=tuple(base for _, base in sorted({base.root: base for base in index.bases}.items())),
        missing=tuple(layer for _, layer in sorted({layer.digest: layer for layer in index.missing}.items())),
        files=tuple(sorted(index.files, key=lambda file: file.name)),
    )


def decode(data: bytes) -> BundleIndex:
    """The index in ``fategen/bundle.json``; raises Malformed if it is not one, or not in the canonical encoding."""
    document = parse(data)
    optional = [key for key in ("base", "files", "prefix") if isinstance(document, dict) and key in document]
    keys = ("schema", "name", "images", "totals", "root", *optional)
    members = fields(document, "bundle.json", keys, closed=True)
    if members["schema"] != SCHEMA:
        raise Malformed(f"its schema is {str(members['schema'])[:20]!r}, this fategen reads {SCHEMA}")
    base = fields(members.get("base", {"bundles": [], "absent": []}), "base", ("bundles", "absent"), closed=True)
    index = BundleIndex(
        text(members["name"], "name"),
        _read([Image], members["images"], "images"),
        _read([BaseBundle], base["bundles"], "base.bundles"),
        _read([MissingLayer], base["absent"], "base.absent"),
        _read([SmallFile], members.get("files", []), "files"),
        text(members.get("prefix", ""), "prefix"),
    )
    for number, image in enumerate(index.images):
        _check_image(image, f"images[{number}]")
    _check(index)
    # one comparison covers every order, the totals, the root digest and every byte of white space
    if _ordered(index).encode() != data:
        wrong = "its root digest is not that of its content" if members["root"] != index.root else "it is not canonical"
        raise Malformed(wrong)
    return index


def _check_image(image: Image, where: str) -> None:
    platforms = image.platforms
    if not image.references:
        raise Malformed(f"{where} has no name")
    for name in image.references:
        try:
            full = reference.normalize(name)
        except ValueError as error:
            raise Malformed(f"{where}: {error}") from None
        if full != name:
            raise Malformed(f"{where}: {name!r} is not a full reference")
    if not platforms or len(set(platforms)) != len(platforms):
        raise Malformed(f"{where} has no platform, or one twice")
    _check_blob(image.target, f"{where}.target", INDEX_TYPES if len(platforms) > 1 else MANIFEST_TYPES)
    if len(platforms) == 1 and image.target != image.platform_images[0].manifest:
        raise Malformed(f"{where}.target is not its manifest")
    for platform_image in image.platform_images:
        if platform_name(platform_image.platform) != platform_image.platform:
            raise Malformed(f"{where}: the platform {platform_image.platform!r} is not in its short form")
        _check_blob(platform_image.manifest, f"{where}: a manifest", MANIFEST_TYPES)
        _check_blob(platform_image.config, f"{where}: a config", CONFIG_TYPES)
        for layer in platform_image.layers:
            _check_blob(layer.blob, f"{where}: a layer", LAYER_TYPES, MAX_SIZE)


def _check_blob(blob: Descriptor, where: str, types: frozenset[str], limit: int = MAX_METADATA_SIZE) -> None:
    if blob.media_type not in types:
        raise Malformed(f"{where} has the media type {blob.media_type[:80]!r}")
    if blob.size > limit:
        raise Malformed(f"{where} has {blob.size:,} bytes, at most {limit:,} are read")


def _check(index: BundleIndex) -> None:
    """What must fit together: names, sizes, base bundles, small files."""
    for name in (index.name, *(base.name for base in index.bases)):
        if not NAME.fullmatch(name):
            raise Malformed(f"{name[:40]!r} is not a bundle name")
    if not index.images:
        raise Malformed("it holds no image")
    names = Counter(name for image in index.images for name in image.references)
    if index.prefix and not any(name.startswith(f"{index.prefix}/") for name in names):
        raise Malformed(f"no image is below its prefix {index.prefix[:80]!r}")
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise Malformed(f"{twice[0]} is listed twice")
    sizes = {(blob.digest, blob.size) for image in index.images for blob in image.blobs()}
    if len(dict(sizes)) < len(sizes):
        raise Malformed("a blob has two sizes")
    if len(sizes) > MAX_MEMBERS or sum(size for _, size in sizes) > MAX_SIZE:
        raise Malformed(f"it has too many blobs (at most {MAX_MEMBERS:,}), or too large ones")
    layers = index.layers().keys()
    # a member is checked for one of its uses alone, so no blob may have two
    documents = {image.target.digest for image in index.images}
    documents |= {b.digest for image in index.images for v in image.platform_images for b in (v.manifest, v.config)}
    if both := sorted(layers & documents):
        raise Malformed(f"{both[0]} is both a layer and an index, a manifest or a config")
    if any(layer.digest not in layers for layer in index.missing):
        raise Malformed("it leaves out a blob that is not a layer of its images")
    if bool(index.bases) != bool(index.missing):
        raise Malformed("base bundles and left-out layers must come together")
    for file in index.files:
        if wrong := _wrong_file_name(file.name):
            raise Malformed(f"files: {wrong}")
        if file.size > MAX_FILE:
            raise Malformed(f"files: {file.name} has {file.size:,} bytes, at most {MAX_FILE:,} are read")
    if len({file.name.lower() for file in index.files}) < len(index.files) or len(index.files) > MAX_FILES:
        raise Malformed(f"it has more than {MAX_FILES} files, or one twice")


def _wrong_file_name(name: str) -> str:
    """Why a small file cannot have this name; "" if it can."""
    if not _FILE_NAME.fullmatch(name):
        allowed = "at most 63 letters, digits, '.', '_', '-', after a leading dot if any"
        return f"{name[:80]!r} cannot be a file's name in a bundle ({allowed})"
    return f"{name} is reserved for the bundle itself" if name.lower() in _RESERVED else ""


def small_file(name: str, data: bytes) -> SmallFile:
    return SmallFile(name, sha256(data), len(data))


def open_files(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files to put into a bundle, by the last part of their path. InputError lists all that cannot go in."""
    problems: list[Problem] = []
    files: dict[str, bytes] = {}
    for path in paths:
        wrong, data = _wrong_file_name(path.name), b""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            wrong = f"cannot be read: {error.strerror}"
        if len(data) > MAX_FILE:
            wrong = f"has more than {MAX_FILE:,} bytes; send it next to the bundle"
        if path.name.lower() in map(str.lower, files):
            wrong = f"a bundle can have only one {path.name}"
        if wrong:
            problems.append(Problem(str(path), wrong))
        files[path.name] = data
    if len(files) > MAX_FILES:
        wrong = f"{len(files)} files, a bundle can have at most {MAX_FILES}: pack them into an archive"
        problems.append(Problem("--file", wrong))
    if problems:
        raise InputError(problems)
    return files
