"""OCI layouts from what an engine has, by way of ``docker save``.

An engine with the containerd image store saves the blobs as they are, so digests stay; one with a graphdriver saves
uncompressed layers, which are compressed here, once, and found again by their diff ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from generator.bundle.engines.docker import ABSENT, FIND, DockerLoader
from generator.bundle.engines.loader import EngineImage
from generator.bundle.format.archive import Progress, quiet
from generator.docker.process import Docker
from generator.errors import EngineError, InputError, Problem
from generator.images.docker_save import AGAIN, read_side_by_side
from generator.images.layers import LayerStore
from generator.images.layout import SourceImage, absent, write_layout
from generator.images.oci import Descriptor
from generator.images.reference import familiar, normalise
from generator.images.saved import read_saved
from generator.images.saved_blobs import read_saved_blobs

RECORD = "compressed.json"


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
    asked = {name: there[name].layers for name in names}
    read = read_side_by_side(docker, asked, lambda stream: read_saved_blobs(stream, store), progress)
    found = {name: top for tops in read for name, top in tops.items()}
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
    asked = {image.id: image.layers for image in there.values()}
    read = read_side_by_side(docker, asked, lambda stream: read_saved(stream, layers, store), progress)
    saved = {identity: one for images in read for identity, one in images.items()}
    tops = {}
    for image in images:
        name = image.references[0]
        if there[name].id not in saved:
            raise EngineError(f"docker save wrote no image {there[name].id} ({name})", hint=AGAIN)
        one = saved[there[name].id]
        kept = [layer for diff_id in one.diff_ids if (layer := store.find(diff_id))]
        tops[name] = store.put_manifest(store.put(one.config), len(one.config), kept)
    return tops
