"""The members of a bundle file in their exact order, computed from its record alone.

Order (why: ``fategen/bundle.json`` first, so that ``inspect`` works on a pipe; what a loader looks for last, so that a
cut file loads nowhere): the record, small files by name, the two directories, indexes and manifests by digest, configs
by digest, layers by first use, ``fategen/SHA256SUMS``, ``manifest.json`` (Docker), ``index.json`` and ``oci-layout``
(OCI), 1024 zero bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from generator.bundle.format.archive import BLOCK, TRAILER, padding
from generator.bundle.format.model import BundleIndex, Image
from generator.bundle.format.small_files import FOLDER
from generator.images.oci import OCI_INDEX, platform_object
from generator.images.strictjson import encode

Role = Literal["file", "directory", "index", "manifest", "config", "layer"]
RECORD = "fategen/bundle.json"
SUMS = "fategen/SHA256SUMS"


@dataclass(frozen=True)
class Expected:
    """One member: what must stand at ``offset`` bytes into the file. The role "file" is that of all but blobs.

    ``digest`` is the content's sha256; ``content`` the bytes themselves where the record decides them, else ``None``.
    """

    name: str
    size: int
    role: Role
    digest: str
    content: bytes | None
    images: tuple[str, ...]
    offset: int

    @property
    def start(self) -> int:
        """First byte of the content."""
        return self.offset + BLOCK

    @property
    def end(self) -> int:
        """First byte of the next member."""
        return self.start + self.size + padding(self.size)

    @property
    def label(self) -> str:
        """The member in messages: ``layer sha256:9f3e…`` with the whole digest, ``manifest.json``."""
        return f"{self.role} {self.digest}" if self.is_blob else self.name

    @property
    def is_blob(self) -> bool:
        return self.role not in ("file", "directory")


@dataclass(frozen=True)
class Contents:
    """Every member of a bundle in order, and the size of the whole file in bytes."""

    index: BundleIndex
    members: tuple[Expected, ...]

    @property
    def size(self) -> int:
        return self.members[-1].end + len(TRAILER)


def contents(index: BundleIndex) -> Contents:
    """The members of the bundle that ``index`` describes."""
    roles: dict[str, Role] = {}
    users: dict[str, list[str]] = {}
    for image in index.images:
        if image.nested:
            roles.setdefault(image.target.digest, "index")
        for variant in image.variants:
            roles.setdefault(variant.manifest.digest, "manifest")
            roles.setdefault(variant.config.digest, "config")
            for layer in variant.layers:
                roles.setdefault(layer.blob.digest, "layer")
        for digest in dict.fromkeys(blob.digest for blob in image.blobs()):
            users.setdefault(digest, []).append(image.label)
    blobs = index.carried()
    heads = sorted(d for d in blobs if roles[d] in ("index", "manifest"))
    configs = sorted(d for d in blobs if roles[d] == "config")
    layers = [d for d in blobs if roles[d] == "layer"]

    found: list[Expected] = []

    def add(name: str, size: int, role: Role, digest: str, content: bytes | None, images: Sequence[str] = ()) -> None:
        offset = found[-1].end if found else 0
        found.append(Expected(name, size, role, digest, content, tuple(images), offset))

    def add_file(name: str, content: bytes, role: Role = "file") -> None:
        add(name, len(content), role, _sha256(content), content)

    add_file(RECORD, index.encode())
    for file in index.files:
        add(FOLDER + file.name, file.size, "file", file.digest, None)
    add_file("blobs/", b"", "directory")
    add_file("blobs/sha256/", b"", "directory")
    for digest in (*heads, *configs, *layers):
        add(blob_name(digest), blobs[digest].size, roles[digest], digest, None, users[digest])
    sums = "".join(f"{m.digest.partition(':')[2]}  {m.name}\n" for m in found if m.role != "directory")
    add_file(SUMS, sums.encode("ascii"))
    for name, content in loader_files(index):
        add_file(name, content)
    return Contents(index, tuple(found))


def loader_files(index: BundleIndex) -> tuple[tuple[str, bytes], ...]:
    """What loaders look for: ``manifest.json``, ``index.json`` and ``oci-layout``, in the order of the file."""
    docker = [
        {
            "Config": blob_name(image.variants[0].config.digest),
            "RepoTags": list(image.references),
            "Layers": [blob_name(layer.blob.digest) for layer in image.variants[0].layers],
        }
        for image in index.images
    ]
    oci = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_entry(image, name) for image in index.images for name in image.references],
        "annotations": {"io.fategen.bundle": "1"},
    }
    return (
        ("manifest.json", encode(docker)),
        ("index.json", encode(oci)),
        ("oci-layout", encode({"imageLayoutVersion": "1.0.0"})),
    )


def blob_name(digest: str) -> str:
    """The member that holds a blob."""
    return "blobs/sha256/" + digest.partition(":")[2]


def _entry(image: Image, name: str) -> dict[str, object]:
    platform = {} if image.nested else {"platform": platform_object(image.variants[0].platform)}
    return {
        "mediaType": image.target.media_type,
        "digest": image.target.digest,
        "size": image.target.size,
        # containerd and Docker read the first, skopeo and older podman the second
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
        **platform,
    }


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
