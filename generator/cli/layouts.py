"""OCI layouts of the plan's images, built or fetched: what bundles are made of, and what is verified."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from generator.progress import Bar, say

if TYPE_CHECKING:
    from generator.bake import Job
    from generator.bake.run import Session
    from generator.bundle.format.model import BundleIndex
    from generator.images.from_registry import Coming
    from generator.images.layout import SourceImage
    from generator.plan.plan import Plan
    from generator.project import Project
    from generator.registry.client import Registries
    from generator.workspace import Workspace


@contextlib.contextmanager
def alone(project: Project) -> Iterator[None]:
    """For as long as the block lasts, no other fategen builds in this project, or fills its layouts: it waits."""
    with (project.make_state("layouts") / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another fategen, which is at work in this project")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def built_layouts(
    session: Session, plan: Plan, platforms: Sequence[str], quiet: bool, *, again: bool = False
) -> tuple[SourceImage, ...]:
    """The session's images, built and written; ``again``: they were built just now, so no cache is written anew."""
    from generator import bake as baking
    from generator.bundle.sources import fill_layouts, source_images

    classic = not session.facts.multi_platform
    if classic:
        say(
            "through the engine: its image store (graphdriver) writes no OCI layouts, so the images are loaded into it "
            "and read back with docker save"
        )
    written = (
        baking.load_for_layouts(session, plan, again=again) if classic else baking.export_layouts(session, again=again)
    )
    found = source_images(session.job, platforms, written)
    if classic:
        with Bar("reading it back", quiet) as bar:
            fill_layouts(session.docker, found, bar)
    return found


@contextlib.contextmanager
def fetching_layouts(
    workspace: Workspace,
    job: Job,
    platforms: Sequence[str],
    quiet: bool,
    others: Sequence[str] = (),
    bases: Sequence[BundleIndex] = (),
) -> Iterator[Coming]:
    """The job's images, and ``others``, as their registries have them, but for layers that ``bases`` have."""
    from generator.images.from_registry import fetching
    from generator.images.wanted import added, planned

    images = [*planned(job, platforms), *added(others, platforms)]
    state = workspace.project.make_state()
    with (
        Bar("fetching", quiet) as bar,
        fetching(images, state, _registries(workspace), bases=bases, progress=bar) as coming,
    ):
        yield coming


def _registries(workspace: Workspace) -> Registries:
    """As bake would push to them: its proxies and docker's logins; CA_BUNDLE is known to this client too."""
    from generator.bake import Options, make_environment
    from generator.registry.client import Registries

    environment = make_environment(workspace.plan, Options(), os.environ).values
    authorities = environment.get("CA_BUNDLE")
    return Registries(environment, (workspace.project.root / authorities,) if authorities else ())
