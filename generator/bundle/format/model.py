"""What a bundle holds: ``fategen/bundle.json``, its first member, as frozen dataclasses, and back.

The record is closed: every key is known, every value typed, and the bytes are the one spelling that ``encode`` makes of
it. A bundle file is a function of this record and of the content of its blobs: see ``members``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from generator.bundle.format.base import NAME, Absent, Base, base_json, read_base
from generator.bundle.format.small_files import SmallFile, file_json, read_files
from generator.images import reference
from generator.images.image import Image, Layer, Variant
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

__all__ = ["SCHEMA", "BundleIndex", "Image", "Layer", "Variant", "arrange", "decode"]

SCHEMA = 1
MAX_MEMBERS = 100_000


@dataclass(frozen=True)
class BundleIndex:
    """The record of a bundle. ``images`` are sorted by their first reference, references within an image too.

    A delta leaves out layers (``absent``) that its ``bases`` have; both are empty in a whole bundle. Indexes, manifests
    and configs are always there. ``files`` are sorted by name.
    """

    name: str
    images: tuple[Image, ...]
    bases: tuple[Base, ...] = ()
    absent: tuple[Absent, ...] = ()
    files: tuple[SmallFile, ...] = ()

    def blobs(self) -> dict[str, Descriptor]:
        """Every blob once, by digest, in the order of first use."""
        found: dict[str, Descriptor] = {}
        for image in self.images:
            for blob in image.blobs():
                found.setdefault(blob.digest, blob)
        return found

    def carried(self) -> dict[str, Descriptor]:
        """The blobs that are in the file: all but the absent ones."""
        absent = {one.digest for one in self.absent}
        return {digest: blob for digest, blob in self.blobs().items() if digest not in absent}

    @property
    def size(self) -> int:
        """Bytes of all blobs, each counted once, also of those that a delta leaves out."""
        return sum(blob.size for blob in self.blobs().values())

    @property
    def forms(self) -> set[str]:
        """How its layers are compressed: gzip, zstd, "" for a plain tar."""
        layers = (layer for image in self.images for variant in image.variants for layer in variant.layers)
        return {compressed_with(layer.blob.media_type) for layer in layers}

    @property
    def zstd(self) -> bool:
        """Whether some layers are in zstd, which Docker before 23 does not read."""
        return "zstd" in self.forms

    @property
    def leans_on(self) -> str:
        """The bases of a delta, as messages name them."""
        return ", ".join(base.label for base in self.bases)

    @property
    def root(self) -> str:
        """sha256 over everything that the record says: names, tags, platforms and every digest."""
        return "sha256:" + hashlib.sha256(encode(self._json())).hexdigest()

    def encode(self) -> bytes:
        """The bytes of ``fategen/bundle.json``."""
        return encode({**self._json(), "root": self.root})

    def _json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "images": [_image_json(image) for image in self.images],
            "totals": {"blobs": len(self.blobs()), "bytes": self.size},
            **({"base": base_json(self.bases, self.absent)} if self.bases else {}),
            **({"files": [file_json(file) for file in self.files]} if self.files else {}),
        }


def arrange(name: str, images: Sequence[Image], files: Sequence[SmallFile] = ()) -> BundleIndex:
    """The record of ``images`` in canonical order, checked as if it had been read. ``Malformed`` says what is wrong.

    It is that of a whole bundle: ``delta.leave_out`` makes it one of a delta.
    """
    ordered = [replace(image, references=tuple(sorted(image.references))) for image in images]
    ordered.sort(key=lambda image: image.references[0])
    return decode(BundleIndex(name, tuple(ordered), files=tuple(sorted(files, key=lambda f: f.name))).encode())


def decode(data: bytes) -> BundleIndex:
    """The record in ``fategen/bundle.json``; ``Malformed`` where it is not one, or not in its one spelling."""
    document = parse(data)
    optional = [key for key in ("base", "files") if isinstance(document, dict) and key in document]
    keys = ("schema", "name", "images", "totals", "root", *optional)
    found = fields(document, "bundle.json", keys, closed=True)
    if found["schema"] != SCHEMA:
        raise Malformed(f"its schema is {str(found['schema'])[:20]!r}, this fategen reads {SCHEMA}")
    name = text(found["name"], "name")
    if not NAME.fullmatch(name):
        raise Malformed(f"{name[:40]!r} is not a bundle name")
    images = tuple(_image(v, f"images[{i}]") for i, v in enumerate(items(found["images"], "images")))
    bases, absent = read_base(found["base"]) if "base" in found else ((), ())
    index = BundleIndex(name, images, bases, absent, read_files(found["files"]) if "files" in found else ())
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
        raise Malformed(f"{sorted(n for n in set(names) if names.count(n) > 1)[0]} stands twice")
    if [image.references[0] for image in index.images] != sorted(image.references[0] for image in index.images):
        raise Malformed("its images are not in order")
    sizes: dict[str, int] = {}
    for image in index.images:
        for blob in image.blobs():
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                raise Malformed(f"{blob.digest} has two sizes")
    layers = {layer.blob.digest for image in index.images for v in image.variants for layer in v.layers}
    if any(one.digest not in layers for one in index.absent):
        raise Malformed("it leaves out what is no layer of its images")
    if len(sizes) > MAX_MEMBERS or sum(sizes.values()) > MAX_SIZE:
        raise Malformed("it has too many blobs, or too large ones")


def _image(value: object, where: str) -> Image:
    found = fields(value, where, ("references", "target", "variants"), closed=True)
    names = tuple(_reference(v, f"{where}.references") for v in items(found["references"], f"{where}.references"))
    if not names or list(names) != sorted(names):
        raise Malformed(f"{where}.references are not a sorted list of names")
    variants = tuple(
        _variant(v, f"{where}.variants[{i}]") for i, v in enumerate(items(found["variants"], f"{where}.variants"))
    )
    platforms = [variant.platform for variant in variants]
    if not variants or len(set(platforms)) != len(platforms):
        raise Malformed(f"{where} has no platform, or one twice")
    target = _descriptor(found["target"], f"{where}.target", INDEX_TYPES if len(variants) > 1 else MANIFEST_TYPES)
    if len(variants) == 1 and target != variants[0].manifest:
        raise Malformed(f"{where}.target is not its manifest")
    return Image(names, target, variants)


def _variant(value: object, where: str) -> Variant:
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
    return Variant(
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


def _image_json(image: Image) -> dict[str, object]:
    return {
        "references": list(image.references),
        "target": _blob_json(image.target),
        "variants": [
            {
                "platform": variant.platform,
                "manifest": _blob_json(variant.manifest),
                "config": _blob_json(variant.config),
                "layers": [{"blob": _blob_json(layer.blob), "diff_id": layer.diff_id} for layer in variant.layers],
            }
            for variant in image.variants
        ],
    }


def _blob_json(blob: Descriptor) -> dict[str, object]:
    return {"digest": blob.digest, "size": blob.size, "media_type": blob.media_type}
