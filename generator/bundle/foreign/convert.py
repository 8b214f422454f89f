"""Makes a bundle of another tool's archive: read once into a hidden directory beside the output, checked, and saved.

With ``keep`` manifests and layers stay as they are, and so the digest that a registry knows. Engines with a graphdriver
and podman know neither: they write other manifests, and layers unpacked. So ``raw`` (layers unpacked), ``gzip`` and
``zstd`` (layers compressed here, and always to the same bytes) make new manifests from the config and the layers alone:
then the same image gives the same bundle, whatever tool wrote it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.bundle.foreign.images import ForeignImage, ForeignLayer, ForeignVariant
from generator.bundle.foreign.recognise import Recognised
from generator.bundle.foreign.scan import File, Scan, Taken
from generator.bundle.foreign.survey import damaged, scan, survey, wrong
from generator.bundle.format.archive import Progress, Reads
from generator.bundle.format.members import blob_name
from generator.bundle.save import SaveResult, save
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import disk_errors
from generator.images import reference
from generator.images.compression import Compression, Inflated
from generator.images.layers import LayerStore, read_through
from generator.images.layout import SourceImage, blob_path, write_layout
from generator.images.oci import (
    FORMS,
    INDEX_TYPES,
    LAYER_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Form,
    Layers,
    compressed_with,
    parse_index,
)
from generator.images.writers import check_form

_KEPT: dict[str, Form] = {"": "raw", "gzip": "gzip", "zstd": "zstd"}
"""Compressions that a bundle holds."""
KEPT_BESIDE = "free some space there, or name a file on another disk with -o: the archive's content is kept beside it"


def convert(
    found: Recognised,
    output: Path,
    *,
    name: str = "",
    layers: Layers = "keep",
    rename: Sequence[str] = (),
    reading: Progress | None = None,
    saving: Progress | None = None,
) -> SaveResult:
    """Write the images of an archive to ``output`` as a bundle called ``name`` (default: as the file is called).

    ``rename`` are names: of the only image, or, as ``DIGEST=NAME``, of the one whose digest begins so. Of a
    multi-platform image the platforms that are there are taken. The disk needs room for the archive's content beside
    the bundle. Raises BundleError (all damage at once), InputError (what no
    bundle can hold: all at once), EngineError (the disk).
    """
    if not output.parent.is_dir():
        raise InputError(Problem("-o", f"{output.parent} is not a directory"), hint=f"mkdir -p {output.parent}")
    check_form(layers)
    with _spool(output) as directory:
        spool = _Spool(directory)
        contents = scan(found, spool.take, reading)
        seen = survey(found, contents)
        problems = [*seen.problems, *wrong(contents, seen.images)]
        if problems:
            raise damaged(seen.name, problems)
        images = _named(seen.images, rename)
        store = LayerStore(spool.blobs, directory / "packed.json", form="gzip" if layers == "keep" else layers)
        work = _Work(directory, contents, layers, store)
        with disk_errors(directory, KEPT_BESIDE):
            sources = [work.layout(number, image) for number, image in enumerate(images)]
        work.check(seen.name)
        return save(sources, output, name=name or _name(output), progress=saving)


def _named(images: Sequence[ForeignImage], rename: Sequence[str]) -> tuple[ForeignImage, ...]:
    """The images with the names that ``--as`` gives; InputError, with all of them, for what it cannot mean."""
    given: dict[int, list[str]] = {}
    problems = []
    for text in rename:
        which, equals, name = text.rpartition("=")
        digest = f"sha256:{which.removeprefix('sha256:')}"
        found = [number for number, image in enumerate(images) if image.digest.startswith(digest) or not equals]
        try:
            full = reference.normalise(name)
        except ValueError as error:
            problems.append(Problem("--as", str(error)))
            continue
        if len(found) != 1:
            many = f"{len(found)} images" if found else "no image"
            whose = f"whose digest begins with {which}" if equals else "and a name is for one"
            problems.append(Problem("--as", f"{text}: the archive has {many}{' ' if equals else ', '}{whose}"))
            continue
        given.setdefault(found[0], []).append(full)
    named = [replace(image, names=tuple(given.get(number, image.names))) for number, image in enumerate(images)]
    problems += [Problem(image.label, f"{image.digest} has no full name") for image in named if not image.names]
    if problems:
        first = next((image.digest[7:19] for image in named if not image.names), images[0].digest[7:19])
        hint = f"--as {first}=NAMESPACE/NAME:TAG names the image with this digest"
        raise InputError(problems, hint="--as NAMESPACE/NAME:TAG names the only image" if len(images) == 1 else hint)
    return tuple(named)


class _Spool:
    """Keeps every file of an archive by its digest; an archive's names never become a path."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.blobs = directory / "blobs/sha256"
        self.blobs.mkdir(parents=True)

    def take(self, name: str, kind: Compression, content: Reads) -> Taken:
        with disk_errors(self._directory, KEPT_BESIDE):
            part = self.blobs / ".part"
            with part.open("wb") as file:
                digest = read_through(content, file.write)
            part.replace(self.blobs / digest.partition(":")[2])
        return Taken(digest, "" if kind else digest)


@dataclass
class _Work:
    """The images of one archive on their way into layouts that ``save`` reads."""

    directory: Path
    contents: Scan
    layers: Layers
    store: LayerStore

    def __post_init__(self) -> None:
        self._diff_ids: dict[str, str] = {}
        self._damage: list[str] = []
        self._unfit: list[Problem] = []

    def check(self, archive: str) -> None:
        """Raises what was found wrong while the layouts were made."""
        if self._damage:
            raise damaged(archive, list(dict.fromkeys(self._damage)))
        if self._unfit:
            hint = "--layers gzip or --layers raw makes layers of it that every engine loads"
            raise InputError(list(dict.fromkeys(self._unfit)), hint=hint)

    def layout(self, number: int, image: ForeignImage) -> SourceImage:
        """The layout directory of an image: its own index.json, and the blobs that all share."""
        variants = sorted((v for v in image.variants if v.whole), key=lambda variant: variant.platform)
        pairs = [(variant.platform, self._manifest(image.label, variant)) for variant in variants]
        if self.layers == "keep" and image.target and self._regular(image.target):
            platform, top = "", image.target
        else:
            platform, top = self.store.put_top(pairs)
        layout = self.directory / "images" / str(number)
        layout.mkdir(parents=True)
        (layout / "blobs").symlink_to(Path("../../blobs"))
        write_layout(layout, top, platform=platform)
        return SourceImage(image.names, layout, tuple(platform for platform, _ in pairs))

    def _regular(self, top: Descriptor) -> bool:
        """Whether ``save`` can take the index as it is: of manifests alone, each with its platform."""
        if top.media_type not in INDEX_TYPES:
            return True
        children = parse_index(self.contents.documents[blob_name(top.digest)], top.media_type)
        return all(c.descriptor.media_type in MANIFEST_TYPES and (c.platform or c.attestation) for c in children)

    def _manifest(self, label: str, variant: ForeignVariant) -> Descriptor:
        if self.layers == "keep" and variant.manifest:
            for layer in variant.layers:
                self._check_kept(label, layer)
            return variant.manifest
        listed = [self._layer(f"{label} ({variant.platform})", layer) for layer in variant.layers]
        return self.store.put_manifest(variant.config, variant.config_size, [layer for layer in listed if layer])

    def _check_kept(self, label: str, layer: ForeignLayer) -> None:
        if layer.file is None:
            return
        kind = layer.file.compression
        if layer.media_type not in LAYER_TYPES or kind not in _KEPT:
            is_what = layer.media_type[:80] if kind in _KEPT else kind
            what = f"layer {layer.digest} is {is_what!r}, which no bundle holds"
            self._unfit.append(Problem(label, what))
        elif kind != compressed_with(layer.media_type):
            self._damage.append(f"{label}: layer {layer.digest} is not compressed as its media type says")

    def _layer(self, where: str, layer: ForeignLayer) -> Descriptor | None:
        """The layer in the form that is asked for; ``None`` where it is not what it must be, which is noted."""
        file = layer.file
        if file is None:
            return None
        if self.layers == "keep" and file.compression not in _KEPT:
            what = f"layer {file.name} is {file.compression}-compressed, which no bundle holds"
            self._unfit.append(Problem(where, what))
            return None
        digest = file.taken.digest
        try:
            if digest not in self._diff_ids:
                self._diff_ids[digest] = self._unpack(file, layer.diff_id)
        except BundleError as error:
            self._damage.append(f"{where}: {error.message}")
            return None
        if self._diff_ids[digest] != layer.diff_id:
            self._damage.append(f"{where}: {file.name} is not the layer {layer.diff_id} that the config names")
            return None
        if self.layers == "keep":
            return Descriptor(digest, file.size, FORMS[_KEPT[file.compression]])
        return self.store.find(layer.diff_id)

    def _unpack(self, file: File, expected: str) -> str:
        """Keep the content in the form that is asked for, and return its diff id."""
        with blob_path(self.directory, file.taken.digest).open("rb") as blob:
            content: Reads = Inflated(blob, file.compression, file.name) if file.compression else blob
            if self.layers != "keep":
                return self.store.take(content, expected)
            return read_through(content) if file.compression else file.taken.digest


@contextlib.contextmanager
def _spool(output: Path) -> Iterator[Path]:
    """A hidden directory beside ``output``, empty and this run's alone; what a killed run left goes with the next."""
    directory = output.with_name(f".{output.name}.spool")
    with disk_errors(output.parent, KEPT_BESIDE):
        directory.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{output} is being written by another fategen"
            raise EngineError(message, hint="wait for it, or name another file with -o") from None
        try:
            _empty(directory)
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(handle)


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _name(output: Path) -> str:
    return output.name.removesuffix(".tar").removesuffix(".fate") or output.name
