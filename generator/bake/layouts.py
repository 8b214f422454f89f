"""Exports what is built as OCI image layouts, one directory for each image, for ``fategen bundle save``."""

from __future__ import annotations

import shutil
from pathlib import Path

from generator.bake.cache import AGAIN
from generator.bake.job import Job
from generator.bake.logs import clear_logs
from generator.bake.phases import attempt, failed
from generator.bake.preflight import create_command
from generator.bake.run import PhaseError, Session
from generator.docker.engine import BUILDX_APART
from generator.errors import EngineError
from generator.plan.plan import Plan
from generator.text import Version

SHARED = "shared"


def export_layouts(session: Session, *, again: bool = False) -> dict[str, Path]:
    """Builds the session's targets and exports each to ``.fategen/layouts/<target>``. Gives target -> directory.

    The ``blobs`` of all of them are one directory, so that a layer that many images have is sent and kept once; it
    stays between runs, as a cache. There is no attestation, and layers are what a push sends: gzip, unless a base has
    others.
    ``again``: they were built just now, so that no build cache is written. Raises BuildError or EngineError.
    """
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
    seen: set[str] = set()
    leaders = []
    for target in job.targets:
        below = {base.name for base in target.bases} | {*target.parents} - builders
        if not below & seen:
            leaders.append(target.name)
            seen |= below
    return tuple(leaders) if len(leaders) < len(job.targets) else ()


def load_for_layouts(session: Session, plan: Plan, *, again: bool = False) -> dict[str, Path]:
    """Builds the session's targets into an engine that writes no layouts. Gives target -> directory, for what it saves.

    Raises BuildError, or EngineError, also for a platform that is not the engine's: it would take the image's place.
    """
    own = session.facts.engine.platform
    others = sorted({platform for target in session.job.targets for platform in target.platforms if platform != own})
    if others:
        raise EngineError(
            f"{', '.join(others)} cannot be saved through this engine: its image store (graphdriver) keeps one "
            f"platform of an image, {own}; create a builder with\n    {create_command(plan)}\n"
            "  and add --builder fategen",
            hint="nothing was started",
        )
    layouts = empty_layouts(session.state, session.job)
    _bake(session, "building and loading", {target.name: "type=docker" for target in session.job.targets}, again)
    return layouts


def _bake(session: Session, title: str, outputs: dict[str, str], again: bool) -> None:
    (session.state / "logs").mkdir(parents=True, exist_ok=True)
    clear_logs(session.state / "logs", session.job)
    try:
        attempt(session, title, outputs, overrides=AGAIN if again else ())
    except PhaseError as error:
        raise failed(error) from error


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
        # a directory is what buildx makes where the link was deleted under its hands
        shutil.rmtree(blobs, ignore_errors=True)
        blobs.symlink_to(Path("..") / SHARED, target_is_directory=True)
    return path
