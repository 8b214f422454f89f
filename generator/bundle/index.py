"""The bundle index: ``fategen/bundle.json``, the first member, to frozen dataclasses and back.

It is closed: every key is known, every value typed, and its bytes are the one spelling that ``encode`` makes of it. A
bundle file follows from its index and the content of its blobs: see ``format``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.errors import InputError, Problem
from generator.images import reference
from generator.images.image import Image, Layer, PlatformImage
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
    LIMIT,
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
    """A layer that a delta leaves out. ``manifests`` are those of the base bundle's images that have it."""

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
    """What a bundle holds. ``images`` are sorted by their first reference, references within an image too.

    A delta leaves out the ``missing`` layers, which its ``bases`` have; both are empty in a whole bundle. Indexes,
    manifests and configs are always in the file. ``files`` are sorted by name.
    """

    name: str
    images: tuple[Image, ...]
    bases: tuple[BaseBundle, ...] = ()
    missing: tuple[MissingLayer, ...] = ()
    files: tuple[SmallFile, ...] = ()

    def blobs(self) -> dict[str, Descriptor]:
        """Every blob once, by digest, in the order of first use; also those that a delta leaves out."""
        found: dict[str, Descriptor] = {}
        for image in self.images:
            for blob in image.blobs():
                found.setdefault(blob.digest, blob)
        return found

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
        """How its layers are compressed: gzip, zstd, "" for a plain tar."""
        layers = (
            layer
            for image in self.images
            for platform_image in image.platform_images
            for layer in platform_image.layers
        )
        return {compressed_with(layer.blob.media_type) for layer in layers}

    @property
    def zstd(self) -> bool:
        """Whether some layers are in zstd, which Docker before 23 does not read."""
        return "zstd" in self.compressions

    @property
    def base_names(self) -> str:
        """The base bundles of a delta, as messages name them."""
        return ", ".join(base.label for base in self.bases)

    @property
    def root(self) -> str:
        """sha256 over everything that the index says: names, tags, platforms and every digest."""
        return "sha256:" + hashlib.sha256(encode(self._json())).hexdigest()

    def encode(self) -> bytes:
        """The bytes of ``fategen/bundle.json``."""
        return encode({**self._json(), "root": self.root})

    def _json(self) -> dict[str, object]:
        base = {
            "bundles": [{"name": base.name, "root": base.root} for base in self.bases],
            "absent": [{"digest": layer.digest, "manifests": list(layer.manifests)} for layer in self.missing],
        }
        files = [{"name": file.name, "digest": file.digest, "size": file.size} for file in self.files]
        return {
            "schema": SCHEMA,
            "name": self.name,
            "images": [_image_json(image) for image in self.images],
            "totals": {"blobs": len(self.blobs()), "bytes": self.size},
            **({"base": base} if self.bases else {}),
            **({"files": files} if files else {}),
        }


def _image_json(image: Image) -> dict[str, object]:
    return {
        "references": list(image.references),
        "target": _blob_json(image.target),
        "variants": [
            {
                "platform": platform_image.platform,
                "manifest": _blob_json(platform_image.manifest),
                "config": _blob_json(platform_image.config),
                "layers": [
                    {"blob": _blob_json(layer.blob), "diff_id": layer.diff_id} for layer in platform_image.layers
                ],
            }
            for platform_image in image.platform_images
        ],
    }


def _blob_json(blob: Descriptor) -> dict[str, object]:
    return {"digest": blob.digest, "size": blob.size, "media_type": blob.media_type}


def arrange(name: str, images: Sequence[Image], files: Sequence[SmallFile] = ()) -> BundleIndex:
    """The index of a whole bundle with ``images``, in canonical order, checked as if it had been read.

    ``Malformed`` says what is wrong. ``delta.leave_out`` makes it the index of a delta.
    """
    ordered = [replace(image, references=tuple(sorted(image.references))) for image in images]
    ordered.sort(key=lambda image: image.references[0])
    return decode(BundleIndex(name, tuple(ordered), files=tuple(sorted(files, key=lambda f: f.name))).encode())


def decode(data: bytes) -> BundleIndex:
    """The index in ``fategen/bundle.json``; ``Malformed`` where it is not one, or not in its one spelling."""
    document = parse(data)
    optional = [key for key in ("base", "files") if isinstance(document, dict) and key in document]
    keys = ("schema", "name", "images", "totals", "root", *optional)
    found = fields(document, "bundle.json", keys, closed=True)
    if found["schema"] != SCHEMA:
        raise Malformed(f"its schema is {str(found['schema'])[:20]!r}, this fategen reads {SCHEMA}")
    images = tuple(_image(v, f"images[{i}]") for i, v in enumerate(items(found["images"], "images")))
    bases, missing = _base(found["base"]) if "base" in found else ((), ())
    files = _files(found["files"]) if "files" in found else ()
    index = BundleIndex(_bundle_name(found["name"], "name"), images, bases, missing, files)
    _check(index)
    # one comparison covers the order of keys, the totals, the root digest and every byte of white space
    if index.encode() != data:
        wrong = "its root digest is not that of its content" if found["root"] != index.root else "it is not canonical"
        raise Malformed(wrong)
    return index


def _check(index: BundleIndex) -> None:
    names = [name for image in index.images for name in image.references]
    if not names:
        raise Malformed("it holds no image")
    if len(set(names)) != len(names):
        raise Malformed(f"{sorted(n for n in set(names) if names.count(n) > 1)[0]} is listed twice")
    if [image.references[0] for image in index.images] != sorted(image.references[0] for image in index.images):
        raise Malformed("its images are not in order")
    sizes: dict[str, int] = {}
    for image in index.images:
        for blob in image.blobs():
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                raise Malformed(f"{blob.digest} has two sizes")
    layers = {layer.blob.digest for image in index.images for v in image.platform_images for layer in v.layers}
    if any(layer.digest not in layers for layer in index.missing):
        raise Malformed("it leaves out a blob that is not a layer of its images")
    if len(sizes) > MAX_MEMBERS or sum(sizes.values()) > MAX_SIZE:
        raise Malformed("it has too many blobs, or too large ones")


def _bundle_name(value: object, where: str) -> str:
    name = text(value, where)
    if not NAME.fullmatch(name):
        raise Malformed(f"{name[:40]!r} is not a bundle name")
    return name


def _image(value: object, where: str) -> Image:
    found = fields(value, where, ("references", "target", "variants"), closed=True)
    names = tuple(_reference(v, f"{where}.references") for v in items(found["references"], f"{where}.references"))
    if not names or list(names) != sorted(names):
        raise Malformed(f"{where}.references are not a sorted list of names")
    platform_images = tuple(
        _platform_image(v, f"{where}.variants[{i}]")
        for i, v in enumerate(items(found["variants"], f"{where}.variants"))
    )
    platforms = [platform_image.platform for platform_image in platform_images]
    if not platform_images or len(set(platforms)) != len(platforms):
        raise Malformed(f"{where} has no platform, or one twice")
    target = _descriptor(
        found["target"], f"{where}.target", INDEX_TYPES if len(platform_images) > 1 else MANIFEST_TYPES
    )
    if len(platform_images) == 1 and target != platform_images[0].manifest:
        raise Malformed(f"{where}.target is not its manifest")
    return Image(names, target, platform_images)


def _platform_image(value: object, where: str) -> PlatformImage:
    found = fields(value, where, ("platform", "manifest", "config", "layers"), closed=True)
    platform = text(found["platform"], f"{where}.platform")
    if platform_name(platform) != platform:
        raise Malformed(f"{where}.platform is {platform!r}, not {platform_name(platform)!r}")
    layers = []
    for number, entry in enumerate(items(found["layers"], f"{where}.layers")):
        place = f"{where}.layers[{number}]"
        layer = fields(entry, place, ("blob", "diff_id"), closed=True)
        blob = _descriptor(layer["blob"], place, LAYER_TYPES, MAX_SIZE)
        layers.append(Layer(blob, digest(layer["diff_id"], f"{place}.diff_id")))
    return PlatformImage(
        platform,
        _descriptor(found["manifest"], f"{where}.manifest", MANIFEST_TYPES),
        _descriptor(found["config"], f"{where}.config", CONFIG_TYPES),
        tuple(layers),
    )


def _descriptor(value: object, where: str, types: frozenset[str], limit: int = LIMIT) -> Descriptor:
    found = fields(value, where, ("digest", "size", "media_type"), closed=True)
    media_type = text(found["media_type"], f"{where}.media_type")
    if media_type not in types:
        raise Malformed(f"{where} has the media type {media_type[:80]!r}")
    length = size(found["size"], f"{where}.size")
    if length > limit:
        raise Malformed(f"{where} has {length:,} bytes, at most {limit:,} are read")
    return Descriptor(digest(found["digest"], f"{where}.digest"), length, media_type)


def _reference(value: object, where: str) -> str:
    name = text(value, where)
    try:
        if reference.normalise(name) == name:
            return name
    except ValueError as error:
        raise Malformed(f"{where}: {error}") from None
    raise Malformed(f"{where}: {name!r} is not a full reference")


def _base(value: object) -> tuple[tuple[BaseBundle, ...], tuple[MissingLayer, ...]]:
    found = fields(value, "base", ("bundles", "absent"), closed=True)
    bases, missing = [], []
    for number, entry in enumerate(items(found["bundles"], "base.bundles")):
        bundle = fields(entry, f"base.bundles[{number}]", ("name", "root"), closed=True)
        bases.append(BaseBundle(_bundle_name(bundle["name"], "a base's name"), digest(bundle["root"], "a base's root")))
    for number, entry in enumerate(items(found["absent"], "base.absent")):
        where = f"base.absent[{number}]"
        layer = fields(entry, where, ("digest", "manifests"), closed=True)
        users = tuple(digest(user, f"{where}.manifests") for user in items(layer["manifests"], f"{where}.manifests"))
        missing.append(MissingLayer(digest(layer["digest"], where), users))
    for what, given in (("bundles", [b.root for b in bases]), ("absent", [layer.digest for layer in missing])):
        if not given or given != sorted(set(given)):
            raise Malformed(f"base.{what} is not a sorted list")
    return tuple(bases), tuple(missing)


def _files(value: object) -> tuple[SmallFile, ...]:
    found = []
    for number, entry in enumerate(items(value, "files")):
        where = f"files[{number}]"
        fields_ = fields(entry, where, ("name", "digest", "size"), closed=True)
        file = SmallFile(text(fields_["name"], where), digest(fields_["digest"], where), size(fields_["size"], where))
        if wrong := _wrong_file_name(file.name):
            raise Malformed(f"{where}: {wrong}")
        if file.size > MAX_FILE:
            raise Malformed(f"{where} has {file.size:,} bytes, at most {MAX_FILE:,} are read")
        found.append(file)
    names = [file.name for file in found]
    if not 0 < len(found) <= MAX_FILES or names != sorted(names) or len({name.lower() for name in names}) < len(names):
        raise Malformed(f"files are not a sorted list of 1 to {MAX_FILES} names")
    return tuple(found)


def _wrong_file_name(name: str) -> str:
    """Why a small file cannot have this name; "" where it can."""
    if not _FILE_NAME.fullmatch(name):
        return f"{name[:80]!r} cannot be a file's name in a bundle (letters, digits, '.', '_', '-', at most 63)"
    return f"{name} is reserved for the bundle itself" if name.lower() in _RESERVED else ""


def small_file(name: str, data: bytes) -> SmallFile:
    return SmallFile(name, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def open_files(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files to put into a bundle, by the last part of their path. InputError lists all that cannot go in."""
    problems: list[Problem] = []
    found: dict[str, bytes] = {}
    for path in paths:
        data = b""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
        if wrong := _wrong_file_name(path.name):
            problems.append(Problem(str(path), wrong))
        if len(data) > MAX_FILE:
            problems.append(Problem(str(path), f"has more than {MAX_FILE:,} bytes; send it next to the bundle"))
        if path.name.lower() in (name.lower() for name in found):
            problems.append(Problem(str(path), f"a bundle can have only one {path.name}"))
        found[path.name] = data
    if len(found) > MAX_FILES:
        problems.append(
            Problem("--file", f"{len(found)} files, a bundle can have at most {MAX_FILES}: pack them into an archive")
        )
    if problems:
        raise InputError(problems)
    return found
