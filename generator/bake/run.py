"""Runs one bake process to its end: its progress goes to a view and the logs, its digests and failure come back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from generator.bake.cache import cache_notes
from generator.bake.environment import Recipe, arguments
from generator.bake.events import Reader, Step
from generator.bake.job import Job, Options
from generator.bake.logs import Logs
from generator.bake.progress import View
from generator.config.reference import parse_reference
from generator.config.settings import key_of
from generator.docker.engine import Facts
from generator.docker.git import Checkout
from generator.docker.process import Docker
from generator.text import union_length

Kind = Literal["step", "export", "engine"]
EXPORTING = ("exporting", "pushing", "sending", "importing", "unpacking")
"""How BuildKit's names of the steps after a Dockerfile's own begin."""

TICK = 0.2
"""Seconds between two looks at the clock of a live view."""


@dataclass(frozen=True)
class Session:
    """What every bake process of one run shares. ``docker`` runs in the project's root; ``state`` is ``.fategen``.

    ``readable`` are paths outside of the project that the build reads.
    """

    docker: Docker
    state: Path
    job: Job
    options: Options
    recipe: Recipe
    facts: Facts
    env: Mapping[str, str]
    view: View
    readable: tuple[str, ...] = ()
    states: Mapping[str, Checkout] = field(default_factory=dict)
    """the local sources, by name"""
    tagged_before: Mapping[str, str] = field(default_factory=dict)
    """Reference -> digest of what the registry had under it before the push"""


@dataclass(frozen=True)
class Phase:
    """One bake process that succeeded: each target's digest (absent where nothing was exported) and busy seconds.

    ``cached`` are the images none of whose steps had to run.
    """

    digests: Mapping[str, str]
    seconds: Mapping[str, float]
    cached: frozenset[str]
    warnings: tuple[str, ...]


class PhaseError(Exception):
    """One bake process failed. ``message`` names image, platform, step and its last lines; ``log`` has all of them.

    ``pushed`` are the references whose manifest was being pushed, and whether the registry acknowledged it. ``kind``
    says what failed: a step of a Dockerfile, the export of an image that is built, or the engine itself.
    """

    def __init__(self, message: str, log: str, pushed: Mapping[str, bool], kind: Kind, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.message = message
        self.log = log
        self.pushed = pushed
        self.kind = kind


def run_bake(
    session: Session,
    title: str,
    outputs: Mapping[str, str],
    *,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    writable: Sequence[str] = (),
) -> Phase:
    """One bake process over everything that is involved. Raises PhaseError.

    ``outputs`` says where each target goes; the others stay in the builder's cache. Linked targets are always named on
    the command line: buildx 0.13 exports one that is not named as an image without a name.
    """
    job, view = session.job, session.view
    targets = job.involved
    metadata = session.state / "metadata.json"
    metadata.unlink(missing_ok=True)
    args = arguments(
        job,
        session.options,
        session.recipe,
        session.facts.buildx,
        [target.name for target in targets],
        overrides=[
            *(f"{target.name}.output={outputs.get(target.name, 'type=cacheonly')}" for target in targets),
            *overrides,
        ],
        flags=["--progress=rawjson", f"--metadata-file={metadata}", *flags],
        readable=session.readable,
        writable=writable,
    )
    reader = Reader([target.name for target in targets], session.docker.redact, time.time())
    code = -1
    view.begin(title)
    try:
        with (
            Logs(session.state / "logs", job, title) as logs,
            session.docker.stream_lines(args, env=session.env) as child,
        ):
            try:
                for line in child.lines(TICK):
                    view.tick()
                    for change in reader.feed(line):
                        logs.change(change)
                        view.change(change)
                code = child.finish().code
            except KeyboardInterrupt:
                view.stop()
                raise
    finally:
        view.end(failed=code != 0)
    for note in cache_notes(job, reader.steps.values()):
        view.note(note)
    if code:
        raise phase_error(job, reader, code, logs)
    return Phase(_digests(metadata, job), busy(reader, job), cached(reader, job), tuple(dict.fromkeys(reader.warnings)))


def phase_error(job: Job, reader: Reader, code: int, logs: Logs) -> PhaseError:
    """The failure of a bake process: the step that broke it, else buildx's own last words."""
    step = reader.failed_step()
    kind: Kind
    if step is None:
        errors = [note for note in reader.notes if note.startswith("ERROR: ")] or list(reader.notes)
        said = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {code}, no message"
        kind, hint = "engine", ""
        if "dockerfile parse error" in said:
            # BuildKit does not say whose
            files = ", ".join(dict.fromkeys(t.dockerfile for t in job.involved if t.dockerfile))
            kind, hint = "step", f"it is a line of one of {files}; edit the template that it is rendered from"
        return PhaseError(f"docker buildx bake failed: {said}", logs.shown(""), reader.pushed, kind, hint)
    name = step.name
    platform = job.platform(name.target, name.platform)
    where = (job.shown(name.target) or "docker buildx bake") + (f" ({platform})" if platform else "")
    stage, _, number = name.stage.rpartition(" ")
    part = f'stage "{stage}", step {number}: ' if stage and "/" in number else ""
    lines = "".join(f"\n  | {line}" for line in _what_it_said(step))
    kind = "export" if name.text.startswith(EXPORTING) else "step"
    return PhaseError(
        f"{where} failed in {part}{name.text}{lines}",
        logs.shown(name.target),
        reader.pushed,
        kind,
        base_hint(job, name.text),
    )


def base_hint(job: Job, step: str) -> str:
    """The keys that say where a base image comes from, for a step that did not get one; "" for another step."""
    asked = step.removeprefix("load metadata for ")
    for base in (base for target in job.involved for base in target.bases):
        if asked != step and asked in (base.reference, str(parse_reference(base.reference).full)):
            return (
                f"{base.reference} is the base {base.name}: BASE_REGISTRY in .env says which registry has the bases, "
                f"{key_of(base.name, '_IMAGE')} names another image for this one; fategen images --external lists all"
            )
    return ""


def _what_it_said(step: Step) -> list[str]:
    """Its last log lines; then how it ended, in BuildKit's words without the command that the message has already."""
    ended = re.sub(r"^process \".*\" did not complete successfully: ", "", step.error, flags=re.DOTALL)
    return [*step.tail, ended]


def _digests(metadata: Path, job: Job) -> dict[str, str]:
    """Each target's ``containerimage.digest`` from bake's metadata file; a file that is missing is no error here."""
    try:
        content: Any = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = {target.name: content.get(target.name) for target in job.targets}
    return {
        name: str(entry["containerimage.digest"])
        for name, entry in entries.items()
        if isinstance(entry, dict) and entry.get("containerimage.digest")
    }


def cached(reader: Reader, job: Job) -> frozenset[str]:
    """The images that were all there: whatever ran for one is its export."""
    ran = {
        job.shown(step.name.target)
        for step in _own_steps(reader)
        if not step.was_there and not step.name.text.startswith(EXPORTING)
    }
    return frozenset(target.name for target in job.targets) - ran


def busy(reader: Reader, job: Job) -> dict[str, float]:
    """Seconds in which a step of an image ran; steps beside each other count once, cached ones not at all."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for step in _own_steps(reader):
        if not step.cached and step.seconds:
            spans.setdefault(job.shown(step.name.target), []).append((step.started, step.completed))
    return {image: union_length(of_image) for image, of_image in spans.items()}


def _own_steps(reader: Reader) -> list[Step]:
    """The steps that make an image: not what BuildKit does around them, nor build caches."""
    return [s for s in reader.steps.values() if s.name.target and not s.name.internal and not s.of_cache]
