"""The bundle file, byte by byte: a tar with exactly one valid encoding, whose members follow from the bundle index.

Python's tarfile has been fooled again and again (CVE-2024-12718, CVE-2025-4517, CVE-2026-11940), and two parsers that
disagree about one header are an attack of their own (CVE-2025-62518). So no header is parsed: each must have the bytes
that follow from the index. There are no links, devices, PAX, GNU names or sparse files, no owner, no time. Layout:
POSIX.1-2017 pax, "ustar Interchange Format"; sizes from 8 GiB on in GNU base-256.

Order of the members: the index first, so that ``inspect`` works on a pipe; what a loader looks for last, so that a cut
file loads nowhere. The index, small files by name, the two directories, indexes and manifests by digest, configs by
digest, layers by first use, ``fategen/SHA256SUMS``, ``manifest.json`` (Docker), ``index.json`` and ``oci-layout``
(OCI), 1024 zero bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from generator.bundle.index import BundleIndex
from generator.images.image import sha256
from generator.images.oci import OCI_INDEX, Descriptor
from generator.images.strictjson import encode

BLOCK = 512
TRAILER = bytes(2 * BLOCK)
FOLDER = "fategen/"
INDEX_FILE = "fategen/bundle.json"

Role = Literal["file", "directory", "index", "manifest", "config", "layer"]


def padding(size: int) -> int:
    """Zero bytes that follow ``size`` bytes of content up to the next block."""
    return -size % BLOCK


def header(name: str, size: int) -> bytes:
    """The 512 bytes before ``size`` bytes of content."""
    folder = name.endswith("/")
    # eleven octal digits hold less than 8 GiB
    number = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(BLOCK)
    head[: len(name)] = name.encode("ascii")
    head[100:108] = b"0000755\0" if folder else b"0000644\0"
    head[108:124] = b"0000000\0" * 2
    head[124:136] = number
    head[136:148] = b"00000000000\0"
    head[148:156] = b" " * 8
    head[156:157] = b"5" if folder else b"0"
    head[257:265] = b"ustar\00000"
    head[329:345] = b"0000000\0" * 2
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def index_size(block: bytes) -> int | None:
    """The size of the bundle index if this is its header, None for every other header."""
    digits = block[124:135]
    size = int(digits, 8) if re.fullmatch(rb"[0-7]{11}", digits) else 0
    return size if block == header(INDEX_FILE, size) else None


@dataclass(frozen=True)
class Member:
    """A member as it must be at ``offset`` bytes into the file. The role "file" is that of all but blobs.

    ``digest`` is the content's sha256; ``content`` the bytes themselves if the index decides them, else ``None``.
    ``images`` are the labels of the images that need it.
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


def members_of(index: BundleIndex) -> tuple[Member, ...]:
    """Every member of the bundle that ``index`` describes, in order."""
    roles: dict[str, Role] = {}
    users: dict[str, dict[str, None]] = {}
    for image in index.images:
        by_role: list[tuple[Role, Descriptor]] = [("index", image.target)] if image.nested else []
        for platform_image in image.platform_images:
            by_role += [("manifest", platform_image.manifest), ("config", platform_image.config)]
            by_role += [("layer", layer.blob) for layer in platform_image.layers]
        for role, blob in by_role:
            roles.setdefault(blob.digest, role)
            users.setdefault(blob.digest, {})[image.label] = None
    blobs = index.carried()
    # a stable sort: layers stay in the order of their first use
    order = {"index": 0, "manifest": 0, "config": 1, "layer": 2}
    sorted_blobs = sorted(blobs, key=lambda d: (order[roles[d]], "" if roles[d] == "layer" else d))

    members: list[Member] = []

    def add(name: str, role: Role, content: bytes) -> None:
        digest = sha256(content)
        members.append(Member(name, len(content), role, digest, content, (), members[-1].end if members else 0))

    def add_stored(name: str, size: int, role: Role, digest: str) -> None:
        images = () if role == "file" else tuple(users[digest])
        members.append(Member(name, size, role, digest, None, images, members[-1].end))

    add(INDEX_FILE, "file", index.encode())
    for file in index.files:
        add_stored(FOLDER + file.name, file.size, "file", file.digest)
    add("blobs/", "directory", b"")
    add("blobs/sha256/", "directory", b"")
    for digest in sorted_blobs:
        add_stored(blob_name(digest), blobs[digest].size, roles[digest], digest)
    sums = "".join(f"{m.digest.partition(':')[2]}  {m.name}\n" for m in members if m.role != "directory")
    add(f"{FOLDER}SHA256SUMS", "file", sums.encode("ascii"))
    for name, content in loader_files(index):
        add(name, "file", content)
    return tuple(members)


def whole_size(members: Sequence[Member]) -> int:
    """Bytes of the file that these members make."""
    return members[-1].end + len(TRAILER)


def loader_files(index: BundleIndex) -> tuple[tuple[str, bytes], ...]:
    """What loaders look for: ``manifest.json``, ``index.json`` and ``oci-layout``, in the order of the file."""
    docker = [
        {
            "Config": blob_name(image.platform_images[0].config.digest),
            "RepoTags": list(image.references),
            "Layers": [blob_name(layer.blob.digest) for layer in image.platform_images[0].layers],
        }
        for image in index.images
    ]
    oci = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                **image.target.as_json("" if image.nested else image.platforms[0]),
                # containerd and Docker read the first, skopeo and older podman the second
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
            }
            for image in index.images
            for name in image.references
        ],
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
