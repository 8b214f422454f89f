"""Images with their layers in another form: unpacked, or compressed anew.

Their manifests are new, and so are the digests that a registry would know; configs, and the IDs that a graphdriver
shows, stay. Layers that have the form already stay as they are, and so do images that have no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from generator.bundle.format.archive import Progress, Reads, quiet
from generator.bundle.format.model import Layer, Variant
from generator.disk import writing
from generator.errors import BundleError
from generator.images.compression import Inflated
from generator.images.layers import BadBlob, LayerStore
from generator.images.layout import (
    Found,
    SourceImage,
    blob_path,
    build_again,
    read_all,
    read_blob,
    write_layout,
)
from generator.images.oci import FORMS, Descriptor, Form, compressed_with
from generator.images.writers import check_form

_SLACK = 1 << 40
"""bytes that any layer may unpack to: what is carried as it is may be mostly zeros, and may be so in another form"""


def repacked(
    images: Sequence[SourceImage],
    form: Form,
    state: Path,
    place: Callable[[str], Path],
    progress: Progress = quiet,
) -> tuple[SourceImage, ...]:
    """The same images with every layer in ``form``, in the layouts that ``place`` makes for their new names.

    ``place`` gives layouts that share one ``blobs`` directory; what was packed before is remembered in ``state``.
    Raises InputError (an image that is not there; zstd, and this Python has none), BundleError (a layer that is not
    what its image says), EngineError (the disk).
    """
    check_form(form)
    found = read_all(images)
    other = {number: place(f"{form}-{number}") for number, one in enumerate(found) if not _has(one, form)}
    if not other:
        return tuple(images)
    blobs = (next(iter(other.values())) / "blobs/sha256").resolve()
    store = LayerStore(blobs, state / f"packed-{form}.json", form=form)
    sizes = {layer.blob.digest: layer.blob.size for number in other for layer in _layers(found[number])}
    work = _Work(form, store, progress, sum(sizes.values()))
    for number, layout in other.items():
        one = found[number]
        pairs = [(variant.platform, work.manifest(one, variant)) for variant in one.image.variants]
        platform, top = store.put_top(pairs)
        with writing(layout):
            write_layout(layout, top, one.image.references, platform)
    return tuple(replace(image, layout=other.get(number, image.layout)) for number, image in enumerate(images))


def _has(one: Found, form: Form) -> bool:
    return all((compressed_with(layer.blob.media_type) or "raw") == form for layer in _layers(one))


def _layers(one: Found) -> list[Layer]:
    return [layer for variant in one.image.variants for layer in variant.layers]


class _Work:
    """Layers on their way from one form into another; each of them once, however many images have it."""

    def __init__(self, form: Form, store: LayerStore, progress: Progress, total: int) -> None:
        self._form, self._store, self._progress = form, store, progress
        self._total, self._done = total, 0
        self._packed: dict[Layer, Descriptor] = {}

    def manifest(self, image: Found, variant: Variant) -> Descriptor:
        """Keep the manifest of this variant with its layers as they are wanted; its config stays."""
        label = image.image.label
        config = read_blob(image.layout, variant.config, f"{label}: config")
        layers = [self._layer(label, image.layout, layer) for layer in variant.layers]
        return self._store.put_manifest(self._store.put(config), len(config), layers)

    def _layer(self, label: str, layout: Path, layer: Layer) -> Descriptor:
        if layer not in self._packed:
            what = f"{label}: layer {layer.blob.digest}"
            try:
                with blob_path(layout, layer.blob.digest).open("rb") as file:
                    self._packed[layer] = self._pack(_LayerFile(file, what, self._count), layer, what)
            except OSError as error:
                raise BundleError(f"{what} cannot be read: {error.strerror}", hint=build_again(layout)) from error
            except BadBlob:
                raise BundleError(f"{what} does not match its digest", hint=build_again(layout)) from None
            except BundleError as error:
                raise BundleError(error.message, hint=build_again(layout)) from error
        return self._packed[layer]

    def _pack(self, file: Reads, layer: Layer, what: str) -> Descriptor:
        kind = compressed_with(layer.blob.media_type)
        if (kind or "raw") == self._form:
            self._store.keep(file, layer.blob.digest, layer.blob.size)
            return replace(layer.blob, media_type=FORMS[self._form])
        if (there := self._store.find(layer.diff_id)) is None:
            tar = self._store.take(Inflated(file, kind, what, _SLACK) if kind else file)
            there = self._store.find(layer.diff_id)
            if there is None:
                raise BundleError(f"{what} unpacks to {tar}, not to its diff id {layer.diff_id}")
        return there

    def _count(self, read: int) -> None:
        self._done += read
        self._progress(f"layers in {self._form}", self._done, self._total)


class _LayerFile:
    """Tells how much was read. A failure is a BundleError: an OSError would be taken for the other disk's."""

    def __init__(self, file: Reads, what: str, count: Callable[[int], None]) -> None:
        self._file, self._what, self._count = file, what, count

    def read(self, size: int, /) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise BundleError(f"{self._what} cannot be read: {error.strerror}") from error
        self._count(len(data))
        return data
