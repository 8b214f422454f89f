"""Where the images are that are verified: the engine, layouts of bake or of a registry, a bundle.

Each gives subjects, what reads them, and the names under which the local engine starts them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from generator.bundle.engines import GET_IMAGES, NOT_IN_ENGINE, DockerEngine
from generator.bundle.reader import inspect
from generator.docker.process import Docker
from generator.errors import InputError, Problem
from generator.images import reference
from generator.images.layout import SourceImage, read
from generator.images.oci import platform_name
from generator.plan.plan import Plan, Target
from generator.progress import Progress
from generator.verify.engine_images import read_images
from generator.verify.kept import Kept
from generator.verify.loaded import loaded
from generator.verify.subjects import Read, Subject
from generator.verify.variants import read_bundle, read_layouts, variants_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What was asked for: targets of the plan, those of them that were named one by one, platforms (none: as found)."""

    targets: tuple[Target, ...]
    named: tuple[str, ...]
    platforms: tuple[str, ...]


Started = AbstractContextManager[Mapping[Subject, Subject]]
"""Subject -> the same under a name that the engine has while the block lasts; one that is not there is not started."""


@dataclass(frozen=True)
class Origin:
    """``read`` gives the parts of images that were not met before; ``started`` is None where nothing can be started."""

    subjects: tuple[Subject, ...]
    read: Callable[[Kept, Progress], Read]
    started: Callable[[Docker], Started] | None


def from_engine(docker: Docker, wanted: Wanted, say: Say) -> Origin:
    """What the engine has under the plan's names. InputError names those that it has not."""
    references = [target.tags[0] for target in wanted.targets]
    known = DockerEngine(docker).inspect(references)
    if missing := [name for name in references if name not in known]:
        raise InputError([Problem(name, NOT_IN_ENGINE) for name in missing], hint=GET_IMAGES)
    subjects = [
        Subject(target.name, target.tags[0], platform, known[target.tags[0]].id, target.contract)
        for target in wanted.targets
        for platform in _platforms(target, wanted, (platform_name(known[target.tags[0]].platform),), say)
    ]
    return Origin(
        tuple(subjects),
        lambda kept, bar: lambda lacking: read_images(docker, lacking, kept, bar),
        lambda _: contextlib.nullcontext({subject: subject for subject in subjects}),
    )


def from_layouts(targets: Sequence[Target], sources: Sequence[SourceImage], directory: Path) -> Origin:
    """What is in OCI layouts, one for each target. Started is the engine's own platform, by way of ``directory``."""
    found = [read(source) for source in sources]
    subjects = [
        Subject(target.name, target.tags[0], variant.platform, variant.manifest.digest, target.contract)
        for target, one in zip(targets, found, strict=True)
        for variant in one.image.variants
    ]
    layouts = {source.references[0]: source.layout for source in sources}
    return Origin(
        tuple(subjects),
        lambda kept, bar: lambda lacking: read_layouts(found, lacking, kept, bar),
        lambda docker: loaded(docker, subjects, layouts, directory),
    )


def from_bundle(file: Path, wanted: Wanted, say: Say) -> Origin:
    """What is in a bundle, for those of the plan's images that it holds. InputError where one that was named is not."""
    index = inspect(file).index
    there = {image.label: image for image in index.images}
    if missing := [name for name in wanted.named if name not in there]:
        raise InputError(
            [Problem(name, f"is not in {file.name}") for name in missing], hint=f"it holds {', '.join(there)}"
        )
    subjects = []
    for target in wanted.targets:
        if target.name not in there:
            continue
        image = there[target.name]
        ids = {platform: digest for digest, platform in variants_of([image])}
        for platform in _platforms(target, wanted, image.platforms, say):
            if platform in ids:
                name = reference.familiar(image.references[0])
                subjects.append(Subject(target.name, name, platform, ids[platform], target.contract))
            else:
                say(f"{target.name} is not in {file.name} for {platform}")
    if not subjects:
        raise InputError(Problem(str(file), "it holds none of the images and platforms that were asked for"))
    return Origin(tuple(subjects), lambda kept, bar: partial(read_bundle, file, kept=kept, progress=bar), None)


def tags_in(file: Path, plan: Plan) -> tuple[str, ...]:
    """``TAG=…``, ``BASE_TAG=…`` where all images of that kind in a bundle have one tag, and it is not the plan's."""
    kinds = {target.name: target.kind for target in plan.targets}
    there = [(kinds.get(image.label), name) for image in inspect(file).index.images for name in image.references]
    found = []
    for key, kind, planned in (
        ("TAG", "component", plan.settings.tag),
        ("BASE_TAG", "base", plan.settings.base_tag),
    ):
        tags = {name.rpartition(":")[2] for its, name in there if its == kind}
        if len(tags) == 1 and tags != {planned}:
            found.append(f"{key}={tags.pop()}")
    return tuple(found)


def _platforms(target: Target, wanted: Wanted, found: Sequence[str], say: Say) -> list[str]:
    """The platforms of a target that are verified; one that it lacks is told, or wrong where the image was named."""
    kept = []
    for platform in wanted.platforms or found:
        skipped = next((s for s in target.skipped if s.platform == platform), None)
        if skipped is None:
            kept.append(platform)
        elif target.name in wanted.named:
            raise InputError(Problem(target.name, f"has no {platform}: {skipped.reason}"))
        else:
            say(f"{target.name} is not verified for {platform}: {skipped.reason}")
    return kept
