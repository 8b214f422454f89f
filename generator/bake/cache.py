"""Build caches in a registry (CACHE_FROM, CACHE_TO): a cache makes a build faster, and never makes it fail.

One that cannot be read, or that nobody has written yet, BuildKit does without; one that cannot be written is let go by
``ignore-error`` in the bake file (BuildKit's cache exporters have it from 0.12 on; tried with 0.13.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from generator.bake.events import Step
from generator.bake.job import Job
from generator.bake.preflight import create_command
from generator.docker.engine import Facts
from generator.plan.plan import Plan

NOT_WRITTEN = "*.cache-to="
"""The override that takes every target's cache export away."""
AGAIN = (NOT_WRITTEN,)
"""Overrides for a second run of what has just been built: the first wrote the caches, and nothing is new.

It reads them again: a step that is found in a registry's cache is not fetched until it is exported, and without
the cache it would be run (seen with BuildKit 0.17.0 on an empty builder).
"""


def cannot_write(facts: Facts, plan: Plan) -> str:
    """Why CACHE_TO is left out of this run, and what to do, or "".

    buildx refuses the whole build there: "Cache export is not supported for the docker driver. Switch to a different
    driver, or turn on the containerd image store" (seen with 0.13.1 and 0.29.1).
    """
    if not plan.settings.cache_to or facts.builder.driver != "docker" or facts.engine.store == "containerd":
        return ""
    return (
        f"{plan.settings.where('CACHE_TO')}: CACHE_TO is left out of this run: the docker driver on this image store "
        f"(graphdriver) writes no cache; a builder that does: {create_command(plan)}, then --builder fategen"
    )


def cache_notes(job: Job, steps: Iterable[Step]) -> Iterator[str]:
    """What the caches did not do in a run, each reason once, with the images that it concerns."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        if step.of_cache and step.error and step.name.target:
            verb = "written" if step.name.text.startswith("exporting") else "read"
            missing = verb == "read" and step.error.endswith(": not found")
            reason = "there is none yet" if missing else step.error
            images = reasons.setdefault((verb, reason), [])
            image = job.shown(step.name.target)
            if image not in images:
                images.append(image)
    order = [job.shown(target.name) for target in job.involved]
    for (verb, reason), images in reasons.items():
        yield f"note: no build cache was {verb} for {', '.join(sorted(images, key=order.index))}: {reason}"
