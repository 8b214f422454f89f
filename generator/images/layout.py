"""OCI layout directories, as ``docker buildx bake`` writes them with ``type=oci,tar=false,dest=DIR``.

Source: opencontainers/image-spec, image-layout.md. A digest becomes a path only after it matched ``sha256:<64 hex>``.
``blobs`` may be a link to a directory that several layouts share.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from generator.config import reference
from generator.errors import BundleError, InputError, Problem
from generator.files import disk_errors, temporary_file, write_atomically
from generator.images.compression import gzip_layer
from generator.images.image import (
    CHUNK,
    Readable,
    ResolvedImage,
    index_children,
    iter_verified,
    read_blob,
    resolve,
    sha256,
)
from generator.images.oci import (
    DOCKER_CONFIG,
    DOCKER_GZIP,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    OCI_CONFIG,
    OCI_GZIP,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    IndexEntry,
    parse_index,
    parse_manifest,
    platform_name,
)
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed, digest, encode
from generator.project import STATE


@dataclass(frozen=True)
class SourceImage:
    """An image to save: its references, the layout directory that holds it, and the platforms to take, host first."""

    references: tuple[str, ...]
    layout: Path
    platforms: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Its references in full. Raises ValueError."""
        return tuple(sorted({reference.normalize(name) for name in self.references}))


@dataclass(frozen=True)
class Layout:
    """A layout directory as a ``BlobSource``."""

    path: Path

    @property
    def hint(self) -> str:
        """Only the blob cache of fategen's own layouts is deleted; other layouts are not ours to delete."""
        blobs = (self.path / "blobs").resolve()
        if STATE not in blobs.parts:
            return f"write {self.path} again with the tool that made it"
        return f"rm -r {shlex.quote(str(blobs))}, then run the same command again: it writes them anew"

    def blob_path(self, digest: str) -> Path:
        """The file of a blob; ``digest`` must have been checked."""
        return self.path / "blobs" / "sha256" / digest.partition(":")[2]

    def open(self, blob: Descriptor, /) -> IO[bytes]:
        return self.blob_path(blob.digest).open("rb")


def read_all(images: Sequence[SourceImage], problems: Sequence[Problem] = ()) -> list[ResolvedImage]:
    """The images that ``images`` name. Raises InputError with the ``problems`` and what ``read`` says of each."""
    problems, hints, resolved = list(problems), [], []
    for image in images:
        try:
            resolved.append(read(image))
        except InputError as error:
            problems += error.problems
            hints.append(error.hint)
    if problems:
        raise InputError(problems, hint="; ".join(dict.fromkeys(hint for hint in hints if hint)))
    return resolved


def read(source: SourceImage) -> ResolvedImage:
    """The image that ``source`` names, checked as ``resolve`` does."""
    try:
        names = source.names
        platforms = tuple(dict.fromkeys(map(platform_name, source.platforms)))
    except ValueError as error:
        raise InputError(Problem(str(source.layout), str(error))) from None
    if not names or not platforms:
        raise InputError(Problem(str(source.layout), "an image needs a name and a platform"))
    return resolve(Layout(source.layout), top(source), names, platforms)


def write_layout(layout: Path, top: Descriptor, names: Sequence[str] = ()) -> None:
    """Make ``layout`` an OCI layout of this image, whose blobs are already there. Raises OSError."""
    notes = {"annotations": {"org.opencontainers.image.ref.name": ",".join(names)}} if names else {}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**top.as_json(), **notes}]}
    write_atomically(layout / "oci-layout", encode({"imageLayoutVersion": "1.0.0"}), sync=False)
    write_atomically(layout / "index.json", encode(index), sync=False)


def names_image(layout: Path, references: Sequence[str]) -> bool:
    """Whether ``layout`` has an index with an image of exactly these names; one that cannot be read has none."""
    try:
        children = parse_index((layout / "index.json").read_bytes()[: MAX_METADATA_SIZE + 1], "")
    except (OSError, Malformed):
        return False
    return any(_same(child.names, [reference.normalize(name) for name in references]) for child in children)


def missing_platforms(source: SourceImage, top: Descriptor) -> list[Problem]:
    """The requested platforms that ``top`` names, but of which blobs are missing: an engine keeps an index as it was
    pulled, and of its platforms those that it needs."""
    if top.media_type not in INDEX_TYPES:
        return []
    layout, label = Layout(source.layout), reference.short(reference.normalize(source.references[0]))
    complete = {
        child.platform: _complete(layout, child.descriptor)
        for child in index_children(layout, top, label, source.platforms)
        if not child.attestation
    }
    present = ", ".join(platform for platform, whole in complete.items() if whole) or "no platform"
    return [
        Problem(label, f"the engine has it for {present}, not for {platform}")
        for platform in source.platforms
        if not complete.get(platform, True)
    ]


def _complete(layout: Layout, top: Descriptor) -> bool:
    try:
        manifest = parse_manifest(read_blob(layout, top, "manifest"), top.media_type)
    except (BundleError, Malformed):
        return False
    return all(layout.blob_path(blob.digest).is_file() for blob in (manifest.config, *manifest.layers))


def top(source: SourceImage) -> IndexEntry:
    """The entry of index.json: the only one, or the one that carries exactly these names. Raises as ``read`` does."""
    layout, names = Layout(source.layout), source.names
    label = reference.short(names[0])
    try:
        (layout.path / "oci-layout").stat()
        with (layout.path / "index.json").open("rb") as file:
            children = parse_index(file.read(MAX_METADATA_SIZE + 1), "")
    except OSError as error:
        message = f"{layout.path} is not an OCI layout ({error.strerror}: {Path(str(error.filename)).name})"
        raise InputError(Problem(label, message), hint="build the image first") from error
    except Malformed as error:
        raise BundleError(f"{label}: {layout.path}/index.json: {error}", hint=layout.hint) from None
    if len(children) > 1:
        children = tuple(child for child in children if _same(child.names, names))
    if len(children) != 1:
        message = f"{layout.path} holds {'several images' if children else 'no image'} named {', '.join(names)}"
        raise InputError(Problem(label, message), hint=layout.hint)
    return children[0]


def _same(stated: Sequence[str], names: Sequence[str]) -> bool:
    try:
        return {reference.normalize(name) for name in stated} == set(names)
    except ValueError:
        return False


class BlobStore:
    """The blobs of layouts that fategen fills, in their ``blobs/sha256`` directory; threads may share it.

    ``cache`` is a directory that remembers which uncompressed layer is in which blob. Losing it or a blob costs time
    alone: whoever reads a blob verifies it. A disk that fails is an EngineError, and no part of a blob is left behind.
    """

    def __init__(self, directory: Path, cache: Path) -> None:
        self._directory, self._cache = directory, cache
        with disk_errors(cache):
            cache.mkdir(exist_ok=True)

    def copy(self, stream: Readable, blob: Descriptor) -> None:
        """Keep a blob as it is. Skips blobs already present; raises Malformed on a mismatch."""
        if not self._has(blob):
            with disk_errors(self._directory), temporary_file(self._directory) as file:
                for chunk in iter_verified(stream, blob):
                    file.write(chunk)
                self._keep(file, blob.digest)

    def compress(self, tar: Readable, expected: str = "") -> str:
        """Read a layer's tar, keep it in gzip and return its diff ID; if ``expected`` is here, it is only hashed."""
        if expected and self.compressed(expected):
            sha = hashlib.sha256()
            while chunk := tar.read(CHUNK):
                sha.update(chunk)
            return f"sha256:{sha.hexdigest()}"
        with disk_errors(self._directory), temporary_file(self._directory) as file:
            diff_id, blob = gzip_layer(tar, file)
            self._keep(file, blob.digest)
            write_atomically(self._cache / diff_id.partition(":")[2], f"{blob.digest} {blob.size}", sync=False)
        return diff_id

    def compressed(self, diff_id: str) -> Descriptor | None:
        """The blob that was made of the layer with this diff ID, if it is still here."""
        try:
            name, size = (self._cache / diff_id.partition(":")[2]).read_text(encoding="ascii").split()
            blob = Descriptor(digest(name, "a blob"), int(size), OCI_GZIP)
        except (OSError, ValueError):
            return None
        return blob if self._has(blob) else None

    def put_manifest(self, config: bytes, layers: Sequence[Descriptor], *, oci: bool = True) -> Descriptor:
        """Keep a config and a manifest of it and of gzip layers that are here, with OCI's or Docker's media types."""
        types = (OCI_MANIFEST, OCI_CONFIG, OCI_GZIP) if oci else (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_GZIP)
        manifest = {
            "schemaVersion": 2,
            "mediaType": types[0],
            "config": self._put(config, types[1]).as_json(),
            "layers": [replace(layer, media_type=types[2]).as_json() for layer in layers],
        }
        return self._put(encode(manifest), types[0])

    def _put(self, data: bytes, media_type: str) -> Descriptor:
        blob = Descriptor(sha256(data), len(data), media_type)
        with disk_errors(self._directory):
            write_atomically(self._path(blob.digest), data, sync=False)
        return blob

    def _keep(self, file: IO[bytes], digest: str) -> None:
        file.flush()
        Path(file.name).replace(self._path(digest))

    def _has(self, blob: Descriptor) -> bool:
        path = self._path(blob.digest)
        return path.is_file() and path.stat().st_size == blob.size

    def _path(self, name: str) -> Path:
        return self._directory / name.partition(":")[2]


def empty_layout(layouts: Path, name: str) -> Path:
    """The layout directory ``layouts``/NAME without an index.

    buildx appends to an existing index, which would keep stale names. The layout's blobs are a link to
    ``layouts``/shared, which all the layouts beside it have; they stay, as a cache.
    """
    (layouts / "shared/sha256").mkdir(parents=True, exist_ok=True)
    path = layouts / name
    path.mkdir(exist_ok=True)
    (path / "index.json").unlink(missing_ok=True)
    blobs = path / "blobs"
    if not blobs.is_symlink():
        # buildx makes a directory if the link was deleted during a build
        shutil.rmtree(blobs, ignore_errors=True)
        blobs.symlink_to("../shared", target_is_directory=True)
    return path
