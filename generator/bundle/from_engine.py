"""OCI layouts from what an engine has, by way of one ``docker save``.

An engine with the containerd image store saves the blobs as they are, so digests stay; one with a graphdriver saves
uncompressed layers, which are compressed here, once, and found again by their diff ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from generator.bundle.archive import CHUNK, Progress, Reads, quiet
from generator.bundle.layers import LayerStore
from generator.bundle.layout import SourceImage, absent, write_layout
from generator.bundle.loader import EngineImage
from generator.bundle.oci import Descriptor
from generator.bundle.reference import familiar, normalise
from generator.bundle.saved import BadStream, read_saved
from generator.bundle.saved_blobs import read_saved_blobs
from generator.bundle.targets import ABSENT, FIND, DockerLoader
from generator.engine import Docker
from generator.errors import EngineError, InputError, Problem

RECORD = "compressed.json"
AGAIN = "run the same command again: what is there stays there"


def fill_layouts(docker: Docker, images: Sequence[SourceImage], progress: Progress = quiet) -> None:
    """Writes each image, as the engine has it under its first name, into its layout directory.

    The layouts share one ``blobs`` directory, a cache, and beside it is a record of what was compressed before. Raises
    InputError for every image and platform that the engine lacks, and EngineError: a layout then has no index, as
    before.
    """
    loader = DockerLoader(docker)
    there = loader.inspect([image.references[0] for image in images])
    missing = [image.references[0] for image in images if image.references[0] not in there]
    if missing:
        raise InputError(
            [Problem(familiar(name), ABSENT) for name in missing],
            hint=FIND,
        )
    if not images:
        return
    blobs = (images[0].layout / "blobs/sha256").resolve()
    store = LayerStore(blobs, blobs.parent.parent / RECORD, fast=True)
    fill = _as_they_are if loader.containerd_store else _compressed
    tops = fill(docker, images, there, store, progress)
    problems = [problem for image in images for problem in absent(image, tops[image.references[0]])]
    if problems:
        raise InputError(problems, hint="fategen bake --load --platform P, or docker pull --platform P, puts it there")
    for image in images:
        write_layout(image.layout, tops[image.references[0]])


def _as_they_are(
    docker: Docker,
    images: Sequence[SourceImage],
    there: Mapping[str, EngineImage],
    store: LayerStore,
    progress: Progress,
) -> dict[str, Descriptor]:
    """By name: an engine with a containerd store leaves out of its index what is asked for by digest (moby #51389)."""
    names = [image.references[0] for image in images]
    with saving(docker, names, progress) as stream:
        found = read_saved_blobs(stream, store)
    tops = {}
    for name in names:
        top = found.get(normalise(name))
        if top is None or top.digest != there[name].id:
            wrote = top.digest if top else "nothing"
            raise EngineError(f"docker save wrote {wrote} for {name}, which was {there[name].id}", hint=AGAIN)
        tops[name] = top
    return tops


def _compressed(
    docker: Docker,
    images: Sequence[SourceImage],
    there: Mapping[str, EngineImage],
    store: LayerStore,
    progress: Progress,
) -> dict[str, Descriptor]:
    """By id: whatever becomes of a tag meanwhile, these are the images that were asked about."""
    layers = {layer for image in there.values() for layer in image.layers}
    with saving(docker, [image.id for image in there.values()], progress) as stream:
        saved = read_saved(stream, layers, store)
    tops = {}
    for image in images:
        name = image.references[0]
        if there[name].id not in saved:
            raise EngineError(f"docker save wrote no image {there[name].id} ({name})", hint=AGAIN)
        one = saved[there[name].id]
        kept = [layer for diff_id in one.diff_ids if (layer := store.find(diff_id))]
        tops[name] = store.put_manifest(store.put(one.config), len(one.config), kept)
    return tops


@contextlib.contextmanager
def saving(docker: Docker, names: Iterable[str], progress: Progress) -> Iterator[Reads]:
    """The stream of ``docker save``; after the ``with`` block it is read to its end, and the exit code counts."""
    problem = None
    with docker.stream_out(["image", "save", *dict.fromkeys(names)]) as child:
        stream = _Counted(child.output, progress)
        try:
            yield stream
        except BadStream as error:
            problem = error
        while stream.read(CHUNK):
            pass  # what follows the archive's end: docker must not wait for a reader
        done = child.finish()
    # first its own word: a stream that ends in the middle is the engine's failure, and docker says which
    if not done.ok:
        raise docker.failure(done, hint=AGAIN) from problem
    if problem is not None:
        raise EngineError(f"what docker save wrote cannot be read: {problem}", hint=AGAIN) from problem


class _Counted:
    """A stream that tells how much of it was read; how much there is, nobody knows before."""

    def __init__(self, stream: Reads, progress: Progress) -> None:
        self._stream, self._progress, self._done = stream, progress, 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._done += len(data)
        self._progress("docker save", self._done, 0)
        return data
