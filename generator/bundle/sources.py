"""Where the images of a bundle come from: bake's layouts, the engine, OCI layouts of other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.bake.job import Job
from generator.bake.layouts import empty_layouts
from generator.bundle.engines import GET_IMAGES, NOT_IN_ENGINE, DockerEngine, EngineImage
from generator.docker.process import Docker
from generator.errors import EngineError, InputError, Problem
from generator.images.docker_save import AGAIN, SavedImage, compress_layers, copy_blobs, grouped, read_saves
from generator.images.layout import BlobStore, SourceImage, missing_platforms, names_image, write_layout
from generator.images.oci import Descriptor
from generator.images.reference import familiar, normalise
from generator.progress import Progress, quiet

COMPRESSED = "compressed.json"
"""The file beside the blobs that remembers which layer was compressed into which blob."""


def source_images(job: Job, platforms: Sequence[str], layouts: Mapping[str, Path]) -> tuple[SourceImage, ...]:
    """The job's images in their layouts (target -> directory), each with its platforms in the order asked for."""
    order = {platform: number for number, platform in enumerate(platforms)}
    return tuple(
        SourceImage(target.tags, layouts[target.name], tuple(sorted(target.platforms, key=order.__getitem__)))
        for target in job.targets
    )


def from_layouts(directory: Path, job: Job, platforms: Sequence[str]) -> tuple[SourceImage, ...]:
    """OCI layouts that others wrote (skopeo, crane, buildx): ``directory``/IMAGE, or one with all images by name.

    Raises InputError for every image that is in neither.
    """
    layouts, problems = {}, []
    for target in job.targets:
        own = directory / target.name
        if (own / "index.json").is_file():
            layouts[target.name] = own
        elif names_image(directory, target.tags):
            layouts[target.name] = directory
        else:
            problems.append(Problem(target.name, f"{own} is no OCI layout, and {directory} has no {target.tags[0]}"))
    if problems:
        raise InputError(problems, hint="skopeo copy docker://NAME:TAG oci:DIR/IMAGE writes one")
    return source_images(job, platforms, layouts)


def from_engine(
    docker: Docker, job: Job, platforms: Sequence[str], state: Path, progress: Progress = quiet
) -> tuple[SourceImage, ...]:
    """What the engine has under the plan's names, by ``docker save``. Raises InputError and EngineError.

    The layouts below ``state`` are those that bake writes too: what was exported before is not copied again.
    """
    images = source_images(job, platforms, empty_layouts(state, job))
    fill_layouts(docker, images, progress)
    return images


def fill_layouts(docker: Docker, images: Sequence[SourceImage], progress: Progress = quiet) -> None:
    """Write each image, as the engine has it under its first name, into its layout directory.

    The layouts share one ``blobs`` directory, a cache. Raises InputError for every image and platform that the engine
    lacks, and EngineError: a layout then has no index, as before.
    """
    loader = DockerEngine(docker)
    names = [image.references[0] for image in images]
    known = loader.inspect(names)
    if missing := [name for name in names if name not in known]:
        raise InputError([Problem(familiar(name), NOT_IN_ENGINE) for name in missing], hint=GET_IMAGES)
    if not images:
        return
    blobs = (images[0].layout / "blobs/sha256").resolve()
    store = BlobStore(blobs, blobs.parent.parent / COMPRESSED)
    copy = _copied if loader.containerd_store else _compressed
    tops = copy(docker, {name: known[name] for name in names}, store, progress)
    problems = [problem for image in images for problem in missing_platforms(image, tops[image.references[0]])]
    if problems:
        raise InputError(problems, hint="fategen bake --load --platform P, or docker pull --platform P, puts it there")
    for image in images:
        write_layout(image.layout, tops[image.references[0]])


def _copied(
    docker: Docker, images: Mapping[str, EngineImage], store: BlobStore, progress: Progress
) -> dict[str, Descriptor]:
    """By name: an engine with a containerd store leaves out of its index what is asked for by digest (moby #51389)."""
    groups = grouped({name: image.layers for name, image in images.items()})
    saves = read_saves(docker, groups, lambda _, stream: copy_blobs(stream, store), progress)
    saved = {name: top for tops in saves for name, top in tops.items()}
    tops = {}
    for name, image in images.items():
        top = saved.get(normalise(name))
        if top is None or top.digest != image.id:
            wrote = top.digest if top else "nothing"
            raise EngineError(f"docker save wrote {wrote} for {name}, which was {image.id}", hint=AGAIN)
        tops[name] = top
    return tops


def _compressed(
    docker: Docker, images: Mapping[str, EngineImage], store: BlobStore, progress: Progress
) -> dict[str, Descriptor]:
    """By ID: whatever becomes of a tag meanwhile, these are the images that were asked about."""
    groups = grouped({image.id: image.layers for image in images.values()})
    saves = read_saves(docker, groups, lambda ids, stream: compress_layers(stream, ids, store), progress)
    saved = {identity: image for group in saves for identity, image in group.items()}
    # only now: a layer that is in several streams was compressed from one of them
    return {name: _manifest(saved[image.id], store) for name, image in images.items()}


def _manifest(image: SavedImage, store: BlobStore) -> Descriptor:
    layers = [layer for diff_id in image.diff_ids if (layer := store.compressed(diff_id))]
    return store.put_manifest(image.config, layers)
