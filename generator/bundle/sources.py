"""Where the images of a bundle come from: bake, the engine, a registry, OCI layouts of other tools."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bake.job import Job
from generator.bundle.engines import GET_IMAGES, NOT_IN_ENGINE, DockerEngine, EngineImage
from generator.docker.process import Docker, find_docker
from generator.errors import EngineError, InputError, Problem
from generator.images.docker_save import AGAIN, compress_layers, copy_blobs, grouped, read_saves
from generator.images.layout import BlobStore, SourceImage, empty_layout, missing_platforms, names_image, write_layout
from generator.images.oci import Descriptor
from generator.images.reference import familiar, normalise
from generator.progress import Bar, Progress
from generator.progress import quiet as no_progress

if TYPE_CHECKING:
    from generator.bundle.index import BundleIndex
    from generator.registry.fetch import Fetch
    from generator.workspace import Workspace

COMPRESSED = "compressed"
"""The directory beside the blobs that remembers which layer was compressed into which blob."""


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
            problems.append(
                Problem(target.name, f"{own} is not an OCI layout, and {directory} has no {target.tags[0]}")
            )
    if problems:
        raise InputError(problems, hint="skopeo copy docker://NAME:TAG oci:DIR/IMAGE writes one")
    return source_images(job, platforms, layouts)


def from_engine(
    docker: Docker, job: Job, platforms: Sequence[str], state: Path, progress: Progress = no_progress
) -> tuple[SourceImage, ...]:
    """What the engine has under the plan's names, by ``docker save``. Raises InputError and EngineError.

    The layouts below ``state`` are those that bake writes too: what was exported before is not copied again.
    """
    layouts = {target.name: empty_layout(state / "layouts", target.name) for target in job.targets}
    images = source_images(job, platforms, layouts)
    fill_layouts(docker, images, progress)
    return images


@contextlib.contextmanager
def without_building(
    workspace: Workspace,
    job: Job,
    origin: str,
    platforms: Sequence[str],
    others: Sequence[str],
    bases: Sequence[BundleIndex],
    process: Mapping[str, str],
    quiet: bool,
) -> Iterator[tuple[tuple[SourceImage, ...], Fetch | None]]:
    """The job's images in ``engine``, ``registry`` or ``layout:DIR``; a registry's are fetched until the block ends."""
    kind, _, place = origin.partition(":")
    if kind == "layout":
        yield from_layouts(Path(place), job, platforms), None
    elif kind == "registry":
        # only here: its HTTP library is slow to import
        from generator.bake.registry import fetching_layouts

        with fetching_layouts(workspace, job, platforms, process, quiet, others, bases) as fetch:
            yield fetch.images, fetch
    else:
        with Bar("reading", quiet) as bar:
            images = from_engine(find_docker(), job, platforms, workspace.project.make_state(), bar)
        yield images, None


def fill_layouts(docker: Docker, images: Sequence[SourceImage], progress: Progress = no_progress) -> None:
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
        raise InputError(problems, hint="load it with fategen bake --load --platform P or docker pull --platform P")
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
    saved = {identity: manifest for group in saves for identity, manifest in group.items()}
    return {name: saved[image.id] for name, image in images.items()}
