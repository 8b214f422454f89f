"""Copies images that the engine has into OCI layouts, by docker save."""

from __future__ import annotations

from collections.abc import Sequence

from generator.bundle.engines import GET_IMAGES, NOT_IN_ENGINE, DockerEngine
from generator.config.reference import familiar, normalize
from generator.docker.process import Docker
from generator.errors import EngineError, InputError, Problem
from generator.images.docker_save import AGAIN, compress_layers, copy_blobs, grouped, read_saves
from generator.images.layout import BlobStore, SourceImage, missing_platforms, write_layout
from generator.progress import Progress, quiet


def fill_layouts(
    docker: Docker, images: Sequence[SourceImage], progress: Progress = quiet, *, oci: bool = True
) -> None:
    """Write each image, as the engine has it under its first name, into its layout directory.

    For a graphdriver manifests are made, with OCI's or Docker's media types. The layouts share one ``blobs`` directory,
    a cache. Raises InputError for every image and platform that the engine lacks; a layout then has no index.
    """
    engine = DockerEngine(docker)
    names = [image.references[0] for image in images]
    known = engine.inspect(names)
    if missing := [name for name in names if name not in known]:
        raise InputError([Problem(familiar(name), NOT_IN_ENGINE) for name in missing], hint=GET_IMAGES)
    if not images:
        return
    blobs = (images[0].layout / "blobs/sha256").resolve()
    store = BlobStore(blobs, blobs.parent.parent / "compressed")
    if engine.containerd_store:
        # by name: if asked for a digest, docker save's index names no image (moby #51389)
        groups = grouped({name: known[name].layers for name in names})
        saves = read_saves(docker, groups, lambda _, stream: copy_blobs(stream, store), progress)
        keys = {name: normalize(name) for name in names}
    else:
        # by ID: a tag may move meanwhile, these are the images that were inspected
        groups = grouped({known[name].id: known[name].layers for name in names})
        saves = read_saves(docker, groups, lambda ids, stream: compress_layers(stream, ids, store, oci=oci), progress)
        keys = {name: known[name].id for name in names}
    saved = {key: top for tops in saves for key, top in tops.items()}
    for name, key in keys.items():
        wrote = saved[key].digest if key in saved else "nothing"
        if engine.containerd_store and wrote != known[name].id:
            raise EngineError(f"docker save wrote {wrote} for {name}, which was {known[name].id}", hint=AGAIN)
    tops = {name: saved[key] for name, key in keys.items()}
    if problems := [problem for image in images for problem in missing_platforms(image, tops[image.references[0]])]:
        raise InputError(problems, hint="load it with fategen bake --load --platform P or docker pull --platform P")
    for image in images:
        write_layout(image.layout, tops[image.references[0]])
