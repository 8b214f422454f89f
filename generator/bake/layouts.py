"""OCI layouts of the plan's images, built or fetched: what bundles are made of, and what is verified."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bake.checks import create_command
from generator.bake.job import Job
from generator.bake.run import NO_CACHE_EXPORT, PhaseError, Session, clear_logs, failure, run_bake
from generator.docker.engine import BUILDX_APART
from generator.errors import EngineError
from generator.plan.plan import Plan
from generator.progress import Bar, say
from generator.text import Version

if TYPE_CHECKING:
    from generator.bundle.index import BundleIndex
    from generator.images.layout import SourceImage
    from generator.registry.fetch import Fetch
    from generator.workspace import Workspace

SHARED = "shared"


def build_layouts(
    session: Session, plan: Plan, platforms: Sequence[str], *, again: bool = False
) -> tuple[SourceImage, ...]:
    """Builds the session's targets and writes each to ``.fategen/layouts/<target>``. Raises BuildError or EngineError.

    There is no attestation, and layers are what a push sends: gzip, unless a base has others. ``again``: the images
    were built just now, so that no build cache is written.
    """
    from generator.bundle.sources import fill_layouts, source_images

    if session.facts.multi_platform:
        return source_images(session.job, platforms, _export(session, again=again))
    say(
        "through the engine: its image store (graphdriver) cannot export OCI layouts, so the images are loaded into it "
        "and read back with docker save"
    )
    images = source_images(session.job, platforms, _load(session, plan, again=again))
    with Bar("reading it back", session.quiet) as bar:
        fill_layouts(session.docker, images, bar)
    return images


def _export(session: Session, *, again: bool) -> dict[str, Path]:
    """Has bake write the layouts. Target -> directory; the blobs stay between runs, as a cache."""
    layouts = empty_layouts(session.state, session.job)
    root = session.state.parent
    outputs = {name: f"type=oci,tar=false,dest={path.relative_to(root)}" for name, path in layouts.items()}
    if leaders := sent_first(session.job, session.facts.buildx):
        _bake(session, "exporting one image of each base", {name: outputs[name] for name in leaders}, again)
        again = True
    _bake(session, "exporting", {name: out for name, out in outputs.items() if name not in leaders}, again)
    missing = [name for name, path in layouts.items() if not (path / "index.json").is_file()]
    if missing:
        raise EngineError(
            f"docker buildx bake succeeded, but wrote no OCI layout for {', '.join(missing)}",
            hint="docker buildx inspect shows the builder; one with the docker-container driver can write them",
        )
    return layouts


def sent_first(job: Job, buildx: Version) -> tuple[str, ...]:
    """Targets to export before the others, one for each base; none where that would save nothing.

    From buildx 0.20 on (containerd 2) images that are exported beside each other do not see each other's layers, so
    that a base would come once for each image that stands on it: at 1 GB of images, twice the time.
    """
    if buildx < BUILDX_APART:
        return ()
    builders = {target.name for target in job.involved if target.kind == "builder"}
    sent: set[str] = set()
    leaders = []
    for target in job.targets:
        below = {base.name for base in target.bases} | {*target.parents} - builders
        if not below & sent:
            leaders.append(target.name)
            sent |= below
    return tuple(leaders) if len(leaders) < len(job.targets) else ()


def _load(session: Session, plan: Plan, *, again: bool) -> dict[str, Path]:
    """Has bake load the images into an engine that writes no layouts. Target -> directory, for what it saves.

    EngineError for a platform that is not the engine's: it would take the image's place.
    """
    platform = session.facts.engine.platform
    if others := sorted({p for target in session.job.targets for p in target.platforms if p != platform}):
        raise EngineError(
            f"{', '.join(others)} cannot be saved through this engine: its image store (graphdriver) keeps one "
            f"platform of an image, {platform}; create a builder with\n    {create_command(plan)}\n"
            "  and add --builder fategen",
            hint="nothing was started",
        )
    layouts = empty_layouts(session.state, session.job)
    _bake(session, "building and loading", {target.name: "type=docker" for target in session.job.targets}, again)
    return layouts


def _bake(session: Session, title: str, outputs: Mapping[str, str], again: bool) -> None:
    clear_logs(session.state, session.job)
    try:
        run_bake(session, title, outputs, overrides=[NO_CACHE_EXPORT] if again else [])
    except PhaseError as error:
        raise failure(error) from error


def empty_layouts(state: Path, job: Job) -> dict[str, Path]:
    """Target -> its layout below ``state``, without an index yet; the blobs of all are one directory."""
    return {target.name: empty_layout(state / "layouts", target.name) for target in job.targets}


def empty_layout(layouts: Path, name: str) -> Path:
    """A layout directory without an index: buildx adds to one that is there, so an old entry would stay in it.

    Its blobs are in the directory of all the layouts beside it.
    """
    (layouts / SHARED / "sha256").mkdir(parents=True, exist_ok=True)
    path = layouts / name
    path.mkdir(exist_ok=True)
    (path / "index.json").unlink(missing_ok=True)
    blobs = path / "blobs"
    if not blobs.is_symlink():
        # buildx makes a directory where the link was deleted under its hands
        shutil.rmtree(blobs, ignore_errors=True)
        blobs.symlink_to(Path("..") / SHARED, target_is_directory=True)
    return path


@contextlib.contextmanager
def fetching_layouts(
    workspace: Workspace,
    job: Job,
    platforms: Sequence[str],
    process: Mapping[str, str],
    quiet: bool,
    others: Sequence[str] = (),
    bases: Sequence[BundleIndex] = (),
) -> Iterator[Fetch]:
    """The job's images, and ``others``, as their registries have them, but for layers that ``bases`` have."""
    from generator.bake.registry import registries_of
    from generator.registry.fetch import fetching, other_images, planned_images

    layout = partial(empty_layout, workspace.project.make_state("layouts"))
    images = [*planned_images(job.targets, platforms, layout), *other_images(others, platforms, layout)]
    registries = registries_of(workspace, process)
    without = frozenset(blob for base in bases for blob in base.blobs())
    with Bar("fetching", quiet) as bar, fetching(images, registries, without=without, progress=bar) as fetch:
        yield fetch
