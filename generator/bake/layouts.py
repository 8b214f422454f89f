"""Exports what is built as OCI image layouts, one directory for each image, for ``fategen bundle save``."""

from __future__ import annotations

from pathlib import Path

from generator.bake.logs import clear_logs
from generator.bake.phases import attempt, failed
from generator.bake.run import PhaseError, Session
from generator.errors import EngineError

SHARED = "shared"


def export_layouts(session: Session) -> dict[str, Path]:
    """Builds the session's targets and exports each to ``.fategen/layouts/<target>``. Gives target -> directory.

    The ``blobs`` of all of them are one directory, so that a layer that many images have is sent and kept once; it
    stays between runs, as a cache. There is no attestation, and layers are what a push sends: gzip, unless a base has
    others.
    Raises BuildError or EngineError.
    """
    layouts = {target.name: _empty_layout(session.state / "layouts", target.name) for target in session.job.targets}
    (session.state / "logs").mkdir(parents=True, exist_ok=True)
    clear_logs(session.state / "logs", session.job)
    root = session.state.parent
    outputs = {name: f"type=oci,tar=false,dest={path.relative_to(root)}" for name, path in layouts.items()}
    try:
        attempt(session, "exporting", outputs, flags=["--provenance=false", "--sbom=false"])
    except PhaseError as error:
        raise failed(error) from error
    missing = [name for name, path in layouts.items() if not (path / "index.json").is_file()]
    if missing:
        raise EngineError(
            f"docker buildx bake succeeded, but wrote no OCI layout for {', '.join(missing)}",
            hint="docker buildx inspect shows the builder; one with the docker-container driver can write them",
        )
    return layouts


def _empty_layout(layouts: Path, name: str) -> Path:
    """A layout directory without an index: buildx adds to one that is there, so an old entry would stay in it."""
    (layouts / SHARED / "sha256").mkdir(parents=True, exist_ok=True)
    path = layouts / name
    path.mkdir(exist_ok=True)
    (path / "index.json").unlink(missing_ok=True)
    blobs = path / "blobs"
    if not blobs.is_symlink():
        blobs.symlink_to(Path("..") / SHARED, target_is_directory=True)
    return path
