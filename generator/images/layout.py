"""OCI layout directories, as ``docker buildx bake`` writes them with ``type=oci,tar=false,dest=DIR``.

Source: opencontainers/image-spec, image-layout.md. A digest becomes a path only after it matched ``sha256:<64 hex>``.
``blobs`` may be a link to a directory that several layouts share.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from generator.errors import BundleError, InputError, Problem
from generator.files import disk_errors, write_atomically
from generator.images import reference
from generator.images.compression import GzipWriter
from generator.images.image import (
    Reads,
    ResolvedImage,
    copy_hashed,
    index_children,
    read_blob,
    resolve,
    sha256,
    verified,
)
from generator.images.oci import (
    INDEX_TYPES,
    OCI_CONFIG,
    OCI_GZIP,
    OCI_INDEX,
    OCI_MANIFEST,
    Child,
    Descriptor,
    parse_index,
    parse_manifest,
    platform_name,
)
from generator.images.strictjson import LIMIT, Malformed, digest, encode, fields, parse, size
from generator.project import STATE


@dataclass(frozen=True)
class SourceImage:
    """An image to save: its references, the layout directory that holds it, and the platforms to take, host first."""

    references: tuple[str, ...]
    layout: Path
    platforms: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A layout directory as a ``BlobSource``."""

    path: Path

    @property
    def hint(self) -> str:
        """Only the blob cache of fategen's own layouts is deleted; other layouts belong to somebody else."""
        blobs = (self.path / "blobs").resolve()
        if STATE not in blobs.parts:
            return f"write {self.path} again with the tool that made it"
        return f"rm -r {blobs}, then run the same command again: it writes them anew"

    def blob_path(self, digest: str) -> Path:
        """The file of a blob; ``digest`` must have been checked."""
        return self.path / "blobs" / "sha256" / digest.partition(":")[2]

    def open(self, blob: Descriptor, /) -> IO[bytes]:
        return self.blob_path(blob.digest).open("rb")


def read_all(images: Sequence[SourceImage], problems: Sequence[Problem] = ()) -> list[ResolvedImage]:
    """The images that ``images`` name. InputError: what ``read`` says of each, and the ``problems`` known before."""
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
    """The image that ``source`` names. InputError: not there, lacks a platform, has layers that a bundle cannot hold.

    BundleError: the layout is damaged or lies (a digest, a media type, a missing blob).
    """
    names = _names(source)
    label = reference.short(names[0])
    try:
        platforms = tuple(dict.fromkeys(map(platform_name, source.platforms)))
    except Malformed as error:
        raise InputError(Problem(label, str(error))) from None
    if not platforms:
        raise InputError(Problem(label, "no platform is given"))
    layout = Layout(source.layout)
    return resolve(layout, _entry(layout, names, label), names, platforms)


def write_layout(layout: Path, top: Descriptor, names: Sequence[str] = ()) -> None:
    """Make ``layout`` one that holds this image, whose blobs are there. OSError where it cannot be written."""
    notes = {"annotations": {"org.opencontainers.image.ref.name": ",".join(names)}} if names else {}
    entry = {**_described(top), **notes}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    write_atomically(layout / "oci-layout", encode({"imageLayoutVersion": "1.0.0"}), sync=False)
    write_atomically(layout / "index.json", encode(index), sync=False)


def names_image(layout: Path, references: Sequence[str]) -> bool:
    """Whether ``layout`` has an index with an image of exactly these names; one that cannot be read has none."""
    try:
        children = parse_index((layout / "index.json").read_bytes()[: LIMIT + 1], "")
    except (OSError, Malformed):
        return False
    return any(_same(child.names, [reference.normalise(name) for name in references]) for child in children)


def missing_platforms(source: SourceImage, top: Descriptor) -> list[Problem]:
    """The platforms that were asked for and that ``top`` names, but of which blobs are missing. Raises BundleError.

    An engine keeps an index as it was pulled, and of its platforms those that it needs.
    """
    label = reference.short(_names(source)[0])
    if top.media_type not in INDEX_TYPES:
        return []
    layout = Layout(source.layout)
    named = {c.platform: c.descriptor for c in index_children(layout, top, label) if not c.attestation}
    complete = [platform for platform, manifest in named.items() if _complete(layout, manifest)]
    return [
        Problem(label, f"the engine has {', '.join(complete) or 'no platform'} of it, not {platform}")
        for platform in source.platforms
        if platform in named and platform not in complete
    ]


def _complete(layout: Layout, top: Descriptor) -> bool:
    try:
        manifest = parse_manifest(read_blob(layout, top, "manifest"), top.media_type)
    except (BundleError, Malformed):
        return False
    return all(layout.blob_path(blob.digest).is_file() for blob in (manifest.config, *manifest.layers))


def _names(source: SourceImage) -> tuple[str, ...]:
    if not source.references:
        raise InputError(Problem(str(source.layout), "an image needs a name"))
    try:
        return tuple(sorted({reference.normalise(name) for name in source.references}))
    except ValueError as error:
        raise InputError(Problem(str(source.layout), str(error))) from None


def _entry(layout: Layout, names: Sequence[str], label: str) -> Child:
    """The entry of index.json: the only one, or the one that carries exactly these names."""
    try:
        (layout.path / "oci-layout").stat()
        with (layout.path / "index.json").open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        message = f"{layout.path} is not an OCI layout ({error.strerror}: {Path(str(error.filename)).name})"
        raise InputError(Problem(label, message), hint="build the image first") from error
    try:
        children = parse_index(data, "")
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
        return {reference.normalise(name) for name in stated} == set(names)
    except ValueError:
        return False


def _described(blob: Descriptor) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


class BlobStore:
    """The blobs of layouts that fategen fills, in their ``blobs/sha256`` directory; threads may share it.

    ``cache_file`` remembers which uncompressed layer is in which blob. Losing the file or a blob costs the time to
    compress again and nothing else: whoever reads a blob verifies it. Methods raise EngineError where the disk is full
    or fails, and then leave no part of a blob behind.
    """

    def __init__(self, directory: Path, cache_file: Path) -> None:
        self._directory, self._cache_file = directory, cache_file
        self._compressed = _read_cache(cache_file)
        self._lock = threading.Lock()
        self._started: set[str] = set()

    def put(self, data: bytes) -> str:
        """Keep a small blob and return its digest."""
        name = sha256(data)
        with disk_errors(self._directory):
            write_atomically(self._path(name), data, sync=False)
        return name

    def copy(self, stream: Reads, blob: Descriptor) -> None:
        """Keep a blob as it is; what is here already is passed over. BadBlob where the bytes are others."""
        path = self._path(blob.digest)
        if (path.is_file() and path.stat().st_size == blob.size) or not self._start(blob.digest):
            return

        def write(file: IO[bytes]) -> str:
            for chunk in verified(stream, blob):
                file.write(chunk)
            return blob.digest

        self._write(blob.digest, write)

    def compress(self, tar: Reads, expected: str = "") -> str:
        """Read a layer's tar to its end, keep it in gzip and return its diff ID.

        ``expected`` is the diff ID that its source states: what is here, or comes in another thread, is only hashed.
        """
        if expected and (self.compressed(expected) or not self._start(expected)):
            return copy_hashed(tar, len)
        blobs: dict[str, Descriptor] = {}

        def write(file: IO[bytes]) -> str:
            with GzipWriter(file) as out:
                diff_id = copy_hashed(tar, out.write)
            blobs[diff_id] = Descriptor(out.digest, out.size, OCI_GZIP)
            return out.digest

        self._write(expected, write)
        with self._lock, disk_errors(self._directory):
            self._compressed.update(blobs)
            known = {name: {"digest": blob.digest, "size": blob.size} for name, blob in self._compressed.items()}
            write_atomically(self._cache_file, encode(known), sync=False)
        return next(iter(blobs))

    def compressed(self, diff_id: str) -> Descriptor | None:
        """The blob that was made of the layer with this diff ID, if it is still here."""
        blob = self._compressed.get(diff_id)
        try:
            return blob if blob and self._path(blob.digest).stat().st_size == blob.size else None
        except OSError:
            return None

    def put_manifest(self, config: bytes, layers: Sequence[Descriptor]) -> Descriptor:
        """Keep a config and a manifest of it and of layers that are here."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _described(Descriptor(self.put(config), len(config), OCI_CONFIG)),
            "layers": [_described(layer) for layer in layers],
        }
        data = encode(manifest)
        return Descriptor(self.put(data), len(data), OCI_MANIFEST)

    def _start(self, name: str) -> bool:
        """Whether no other thread has begun with it."""
        with self._lock:
            new = name not in self._started
            self._started.add(name)
            return new

    def _write(self, name: str, write: Callable[[IO[bytes]], str]) -> None:
        """Keep what ``write`` writes, under the digest it returns; if it fails, the next may begin with ``name``."""
        temporary = None
        try:
            with disk_errors(self._directory):
                number, temporary = tempfile.mkstemp(prefix=".", dir=self._directory)
                with os.fdopen(number, "wb") as file:
                    os.fchmod(number, 0o644)
                    digest = write(file)
                Path(temporary).replace(self._path(digest))
        except BaseException:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            with self._lock:
                self._started.discard(name)
            raise

    def _path(self, name: str) -> Path:
        return self._directory / name.partition(":")[2]


def _read_cache(cache_file: Path) -> dict[str, Descriptor]:
    try:
        known = fields(parse(cache_file.read_bytes()), "the cache", ())
        entries = {digest(name, "a layer"): fields(value, name, ("digest", "size")) for name, value in known.items()}
        return {
            name: Descriptor(digest(value["digest"], name), size(value["size"], name), OCI_GZIP)
            for name, value in entries.items()
        }
    except (OSError, Malformed):
        return {}


def empty_layout(layouts: Path, name: str) -> Path:
    """The layout directory ``layouts``/NAME without an index: buildx adds to one that is there, so it would keep names.

    Its blobs are a link to ``layouts``/shared, which all the layouts beside it have; they stay, as a cache.
    """
    (layouts / "shared/sha256").mkdir(parents=True, exist_ok=True)
    path = layouts / name
    path.mkdir(exist_ok=True)
    (path / "index.json").unlink(missing_ok=True)
    blobs = path / "blobs"
    if not blobs.is_symlink():
        # buildx makes a directory where the link was deleted under its hands
        shutil.rmtree(blobs, ignore_errors=True)
        blobs.symlink_to("../shared", target_is_directory=True)
    return path
