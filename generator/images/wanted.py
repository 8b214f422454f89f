"""Which images a registry is to give: those of the plan under the names that they were pushed with, and any other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generator.bake.job import Job
from generator.config.reference import Reference, parse_reference
from generator.errors import InputError, Problem
from generator.images import reference


@dataclass(frozen=True)
class WantedImage:
    """What an image is called in the bundle, and where a registry has it; ``directory`` is its layout's name."""

    references: tuple[str, ...]
    source: Reference
    directory: str
    platforms: tuple[str, ...]


def planned(job: Job, platforms: Sequence[str]) -> Iterator[WantedImage]:
    """The images of a plan. A third-party image is where the plan pulls it from (a mirror, say), and keeps its name."""
    for target in job.targets:
        source = target.bases[0].reference if target.kind == "third-party" else target.tags[0]
        wanted = tuple(platform for platform in platforms if platform in target.platforms)
        yield WantedImage(target.tags, parse_reference(source), target.name, wanted)


def added(references: Sequence[str], platforms: Sequence[str]) -> Iterator[WantedImage]:
    """Images of any registry. InputError, with all of them, for what is no reference or has no tag to be named by."""
    problems = []
    for text in dict.fromkeys(references):
        try:
            source = parse_reference(text)
            if source.digest and not source.tag:
                raise ValueError(f"a bundle names images by tags: write {source.name}:TAG@{source.digest}")
            name = reference.normalise(f"{source.name}:{source.tag or 'latest'}")
        except ValueError as error:
            problems.append(Problem("--add", f'"{text[:300]}": {error}'))
            continue
        directory = "added-" + hashlib.sha256(text.encode()).hexdigest()[:12]
        yield WantedImage((name,), source, directory, tuple(platforms))
    if problems:
        raise InputError(problems)
