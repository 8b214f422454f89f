"""Where the images of a bundle come from, apart from bake: the engine, OCI layouts on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from generator.bake.job import Job
from generator.bake.layouts import empty_layouts
from generator.bundle.format.archive import Progress, quiet
from generator.docker.process import Docker
from generator.errors import InputError, Problem
from generator.images.from_engine import fill_layouts
from generator.images.layout import SourceImage, named


def sources_of(job: Job, platforms: Sequence[str], layouts: Mapping[str, Path]) -> tuple[SourceImage, ...]:
    """The job's images in their layouts (target -> directory), each with its platforms in the order asked for."""
    order = {platform: number for number, platform in enumerate(platforms)}
    return tuple(
        SourceImage(target.tags, layouts[target.name], tuple(sorted(target.platforms, key=order.__getitem__)))
        for target in job.targets
    )


def from_engine(
    docker: Docker, job: Job, platforms: Sequence[str], state: Path, progress: Progress = quiet
) -> tuple[SourceImage, ...]:
    """What the engine has under the plan's names, by ``docker save``. Raises InputError and EngineError.

    The layouts below ``state`` are those that bake writes too: what was exported before is not copied again.
    """
    found = sources_of(job, platforms, empty_layouts(state, job))
    fill_layouts(docker, found, progress)
    return found


def from_layouts(directory: Path, job: Job, platforms: Sequence[str]) -> tuple[SourceImage, ...]:
    """OCI layouts that others wrote (skopeo, crane, buildx): ``directory``/IMAGE, or one with all images by name.

    Raises InputError for every image that is in neither.
    """
    layouts, problems = {}, []
    for target in job.targets:
        own = directory / target.name
        if (own / "index.json").is_file():
            layouts[target.name] = own
        elif named(directory, target.tags):
            layouts[target.name] = directory
        else:
            problems.append(Problem(target.name, f"{own} is no OCI layout, and {directory} has no {target.tags[0]}"))
    if problems:
        raise InputError(problems, hint="skopeo copy docker://NAME:TAG oci:DIR/IMAGE writes one")
    return sources_of(job, platforms, layouts)
