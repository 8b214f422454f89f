"""Which images an archive holds, from its ``index.json`` (OCI), its ``manifest.json`` (Docker), or both.

Nothing is refused here: what is wrong becomes a problem with a name, so that ``inspect`` shows a broken archive and
``verify`` tells everything at once. Sources: opencontainers/image-spec, image-layout.md; moby, image/tarexport
(manifest.json and its links); facts from real engines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from generator.bundle import reference
from generator.bundle.foreign.scan import File, Scan
from generator.bundle.members import blob_name
from generator.bundle.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Child,
    Descriptor,
    parse_config,
    parse_index,
    parse_manifest,
)
from generator.bundle.strictjson import Malformed, fields, items, parse, text
from generator.text import one_line

_SWAPPED = "does not match its digest: something else stands in its place"
_UNREADABLE = "is missing, or not a JSON document of a readable size"


@dataclass(frozen=True)
class ForeignLayer:
    """A layer: the file that holds it (``None``: it is missing), its diff id as the config says it.

    ``digest`` and ``size`` are what a manifest says of the blob; "" and the file's own where there is none.
    """

    file: File | None
    diff_id: str
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class ForeignVariant:
    """One platform of an image. ``manifest`` is ``None`` in an archive that has only ``manifest.json``."""

    platform: str
    manifest: Descriptor | None
    config: str
    config_size: int
    layers: tuple[ForeignLayer, ...]
    whole: bool


@dataclass(frozen=True)
class ForeignImage:
    """An image. ``names`` are full references, ``tag`` what it is called without one ("1.0"); both may be empty.

    ``target`` is what the archive's index names, ``None`` where it has none. ``absent``: platforms that an index names
    and whose manifests are not in the archive; ``proofs``: how many attestations it names.
    """

    names: tuple[str, ...]
    tag: str
    target: Descriptor | None
    variants: tuple[ForeignVariant, ...]
    absent: tuple[str, ...]
    proofs: int = 0

    @property
    def label(self) -> str:
        """Its name in messages."""
        return reference.familiar(self.names[0]) if self.names else f"<no name>:{self.tag}" if self.tag else "<no name>"

    @property
    def digest(self) -> str:
        """What an engine with this image shows: the digest of its index or manifest, else of its config."""
        return self.target.digest if self.target else self.variants[0].config


@dataclass(frozen=True)
class Images:
    """What the descriptions of an archive say. ``problems``: it is damaged; ``notes``: it is not what it seems."""

    images: tuple[ForeignImage, ...]
    oci: bool
    docker: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Reader:
    scan: Scan
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blob(self, wanted: Descriptor) -> File | None:
        found = self.scan.files.get(blob_name(wanted.digest))
        if found and found.size != wanted.size:
            self.problems.append(f"{wanted.digest} has {found.size:,} bytes, its manifest says {wanted.size:,}")
        return found

    def document(self, wanted: Descriptor, what: str) -> bytes | None:
        """The content of a small blob; ``None``: it is not there, or it is not what its digest says."""
        data = self.scan.documents.get(blob_name(wanted.digest))
        if data is None:
            if blob_name(wanted.digest) in self.scan.files:
                self.problems.append(f"{what} {wanted.digest} is not a JSON document of a readable size")
            return None
        if _digest(data) != wanted.digest or len(data) != wanted.size:
            self.problems.append(
                f"{what} {wanted.digest} does not match its digest: something else stands in its place"
            )
            return None
        return data


def understand(scan: Scan) -> Images:
    """The images of an archive that was read."""
    reader = _Reader(scan)
    oci = "oci-layout" in scan.files and "index.json" in scan.files
    docker = "manifest.json" in scan.files
    images = _oci_images(reader) if oci else []
    if docker:
        images = _with_docker(reader, images, oci)
    if not oci and not docker:
        reader.problems.append("it has neither manifest.json (Docker) nor index.json and oci-layout (OCI): no loader "
                               "finds an image in it")  # fmt: skip
    elif not images:
        reader.problems.append("it holds no image")
    for image in images:
        _judge(reader, image)
    return Images(tuple(images), oci, docker, tuple(dict.fromkeys(reader.problems)), tuple(dict.fromkeys(reader.notes)))


def _judge(reader: _Reader, image: ForeignImage) -> None:
    if image.absent and image.variants:
        reader.notes.append(
            f"{image.label}: its index names {', '.join(image.absent)}, of which nothing is in the archive; "
            "ctr --all-platforms, kind and k3s refuse it"
        )
    elif image.absent:
        reader.problems.append(f"{image.label}: nothing of {', '.join(image.absent)} is in the archive, only its index")
    elif not image.variants:
        reader.problems.append(f"{image.label}: nothing of it is in the archive")
    for variant in image.variants:
        missing = [layer for layer in variant.layers if layer.file is None]
        if missing:
            names = ", ".join(layer.digest or layer.diff_id or "one" for layer in missing[:4])
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            count = f"{len(missing)} of {len(variant.layers)} layers are missing"
            reader.problems.append(f"{image.label} ({variant.platform}): {count}: {names}{more}")
    if not image.names:
        reader.notes.append(f"{image.label}: {image.digest} has no full name; docker load shows it as <none>")


def _oci_images(reader: _Reader) -> list[ForeignImage]:
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
        full, tag = _names(reader, names[top])
        image = _oci_image(reader, ForeignImage(full, tag, top, (), ()), first[top])
        if image:
            found.append(image)
    return found


def _oci_image(reader: _Reader, image: ForeignImage, child: Child) -> ForeignImage | None:
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


def _oci_variant(reader: _Reader, top: Descriptor, platform: str, label: str) -> ForeignVariant | str | None:
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


def _with_docker(reader: _Reader, images: list[ForeignImage], oci: bool) -> list[ForeignImage]:
    """The images that index.json names, and those that only manifest.json names (Docker 25 forgets some: moby 51389).

    Loaders read one or the other: where the two give a name to different images, that is a problem.
    """
    try:
        entries = items(parse(reader.scan.documents.get("manifest.json", b"")), "manifest.json")
        docker = [_docker_image(reader, entry, f"manifest.json[{number}]") for number, entry in enumerate(entries)]
    except Malformed as error:
        reader.problems.append(f"manifest.json: {error}")
        return images
    found = list(images)
    for one in docker:
        if one is None:
            continue
        config = one.variants[0].config
        same = [n for n, image in enumerate(found) if config in {variant.config for variant in image.variants}]
        by_name = {name: image for image in found for name in image.names}
        lies = [name for name in one.names if name in by_name and found.index(by_name[name]) not in same]
        if lies and oci:
            reader.problems.append(f"{reference.familiar(lies[0])} is one image in index.json and another in "
                                   "manifest.json: loaders do not agree which")  # fmt: skip
        elif not same:
            found.append(one)
        else:
            names = sorted({*found[same[0]].names, *(n for n in one.names if n not in by_name)})
            found[same[0]] = replace(found[same[0]], names=tuple(names))
    return found


def _docker_image(reader: _Reader, value: object, where: str) -> ForeignImage | None:
    entry = fields(value, where, ("Config", "Layers"))
    listed = items(entry["Layers"] or [], f"{where}.Layers")
    paths = [_clean(text(path, f"{where}.Layers")) for path in listed]
    tags = [text(tag, f"{where}.RepoTags") for tag in items(entry.get("RepoTags") or [], f"{where}.RepoTags")]
    names, tag = _names(reader, tags)
    label = ForeignImage(names, tag, None, (), ()).label
    path = _clean(text(entry["Config"], f"{where}.Config"))
    data, file = reader.scan.documents.get(path), reader.scan.files.get(path)
    if data is None or file is None:
        reader.problems.append(
            f"{label}: its config {path[:100]!r} is missing, or not a JSON document of a readable size"
        )
        return None
    if file.stated and _digest(data) != file.stated:
        reader.problems.append(f"{label}: config {path} {_SWAPPED}")
    try:
        config = parse_config(data)
    except Malformed as error:
        reader.problems.append(f"{label}: config {path}: {error}")
        return None
    if len(config.diff_ids) != len(paths):
        reader.problems.append(f"{label}: manifest.json names {len(paths)} layers, its config {len(config.diff_ids)}")
        return None
    files = [reader.scan.files.get(path) for path in paths]
    layers = tuple(
        ForeignLayer(found, config.diff_ids[n], found.taken.digest if found else "", found.size if found else 0, "")
        for n, found in enumerate(files)
    )
    whole = all(layer.file for layer in layers)
    variant = ForeignVariant(config.platform, None, _digest(data), len(data), layers, whole)
    return ForeignImage(names, tag, None, (variant,), ())


def _names(reader: _Reader, stated: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Full references, and the tag that stands there without a name, as skopeo writes it for oci-archive:FILE:TAG."""
    full: set[str] = set()
    tag = ""
    for name in stated:
        try:
            if not re.search("[/:]", name):
                tag = tag or one_line(name)[:128]
            else:
                full.add(reference.normalise(name))
        except ValueError as error:
            reader.notes.append(f"a name is left out: {error}")
    return tuple(sorted(full)), "" if full else tag


def _clean(path: str) -> str:
    return path.removeprefix("./")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
