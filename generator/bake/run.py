"""Runs one bake process: sends its progress to a view and the logs, and returns its digests or raises its failure."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from generator.bake.cause import cause
from generator.bake.events import Reader, Step, StepEvent
from generator.bake.job import Job
from generator.bake.view import View
from generator.config.reference import parse_reference
from generator.config.settings import Settings, key_of
from generator.docker.engine import Facts
from generator.docker.git import Checkout
from generator.docker.hints import explain
from generator.docker.process import Docker
from generator.errors import BuildError, EngineError
from generator.project import STATE, template_name
from generator.text import one_line, union_length

if TYPE_CHECKING:
    from generator.registry.session import Access
    from generator.workspace import Workspace

EXPORTING = ("exporting", "pushing", "sending", "importing", "unpacking")
"""How BuildKit's names of the steps after a Dockerfile's own begin."""

NO_CACHE_EXPORT = "*.cache-to="
"""The override for every run after the first, which wrote the caches. It still reads them: BuildKit fetches a cached
step only when it is exported, and would run it otherwise."""

BUSY, LOST = "stopped answering during the build", "lost track of the build's steps"
TRANSIENT = {
    # Docker 26 with the containerd store unpacks every image that it exports; two that share a layer can meet in this
    "failed to unpack a layer that images share": re.compile(
        r"failed to prepare extraction snapshot .* does not exist: not found", re.DOTALL
    ),
    # it ended during the build (BuildKit before 0.19 can: moby/buildkit#5606) or lost the build, and restarts; the last
    # was met by two bakes at once on a busy machine (Docker 26.1.5, all steps cached)
    BUSY: re.compile(
        r"code = Unavailable|error reading from server:|error getting writer status: EOF|no active sessions|"
        r"transport is closing|failed to solve: DeadlineExceeded"
    ),
    # builds at once that share steps, of which one ends (moby/buildkit#2303); Docker 26 stayed so until a restart
    LOST: re.compile("inconsistent graph state"),
    # a busy registry, or a line that breaks; what was pushed is not sent again. An upload that is not found was ended
    # by a request whose answer was lost (BuildKit 0.17 sends it again)
    "could not send everything to the registry": re.compile(
        r"unexpected status.*: (?:408|429|5\d\d)\b|connection reset by peer|broken pipe|unexpected EOF|i/o timeout|"
        r"TLS handshake timeout|use of closed network connection|blob upload unknown|"
        r"from (?:PUT|PATCH) request to \S+/blobs/uploads/\S+: 404\b"
    ),
}
"""What passes outside of a Dockerfile's own steps: what the engine did, and how its message says so."""
UNREACHED = (
    r"(?i:could not resolve host|temporary failure (?:in name resolution|resolving)|name or service not known|"
    r"getaddrinfo e[a-z_]+|\beconnrefused\b|\betimedout\b|failed to establish a new connection|connection timed out|"
    r"network is unreachable|could not transfer artifact|unable to connect to|failed to connect to|"
    r"certificate[ _]verif\w+[ _]failed|self[-_ ]signed[-_ ]cert|unable to get local issuer certificate)"
)
"""How the tools in a step say that a download failed; compiled when one failed."""
TRIES = 5
PAUSE = 3
"""Seconds between two tries, for an engine that restarts."""
FIX = "fix it, then run the same command again: finished steps are cached"

TICK = 0.2
"""Seconds between two looks at the clock of a live view."""


@dataclass(frozen=True)
class BakeContext:
    """What every bake process of one run shares. ``docker`` runs in the project's root.

    ``command`` is ``buildx … bake`` with what all of them need; ``states`` are the local sources, by name.
    """

    docker: Docker
    workspace: Workspace
    job: Job
    command: tuple[str, ...]
    facts: Facts
    env: Mapping[str, str]
    view: View
    quiet: bool = False
    states: Mapping[str, Checkout] = field(default_factory=dict)
    access: Access | None = None
    """how the registry is reached, for a push"""

    @property
    def state(self) -> Path:
        return self.workspace.project.state

    @property
    def oci(self) -> bool:
        """MEDIA_TYPES: whether OCI's media types or Docker's."""
        return self.workspace.plan.settings.media_types == "oci"


@dataclass(frozen=True)
class BakeResult:
    """What a bake made: each target's digest (absent if nothing was exported) and busy seconds (absent if no step had
    to run)."""

    digests: Mapping[str, str]
    seconds: Mapping[str, float]


def run_bake(
    context: BakeContext, title: str, outputs: Mapping[str, str], *, overrides: Sequence[str] = (), again: bool = False
) -> BakeResult:
    """Builds all involved targets in one bake process. Raises BuildError or EngineError.

    After a transient failure it runs again: with half as many outputs at a time if the engine was busy. ``outputs``
    says where each target goes; the others stay in the builder's cache. ``again``: this run of fategen has built them,
    so that no step is run again, no build cache is written, and the logs are kept.
    """
    if not again:
        # what earlier runs wrote about these images; the processes of this one append
        (context.state / "logs").mkdir(parents=True, exist_ok=True)
        for name in ("", *(target.name for target in context.job.involved)):
            (context.workspace.project.root / log_file(context.job, name)).unlink(missing_ok=True)
    digests: dict[str, str] = {}
    seconds: dict[str, float] = {}
    todo, size, tries, done = list(outputs.items()), len(outputs), 1, False
    while todo or not done:
        try:
            digests |= _run_once(context, title, dict(todo[:size]), overrides, seconds, again or done)
        except EngineError as error:
            if not (reason := passing(error.message)) or tries == TRIES:
                raise
            tries += 1
            fewer = reason == BUSY and size > 1
            size = (size + 1) // 2 if fewer else size
            how = ", with half as many images at a time" if fewer else ""
            context.view.note(f"the engine {reason}; try {tries} of {TRIES}{how}")
            time.sleep(PAUSE)
        else:
            todo, done = todo[size:], True
    return BakeResult(digests, seconds)


def passing(message: str) -> str:
    """What the engine did, if it may do better in a moment; "" for another failure."""
    return next((what for what, pattern in TRANSIENT.items() if pattern.search(message)), "")


def failure(job: Job, message: str, *, target: str = "", in_step: bool, hint: str = "") -> BuildError | EngineError:
    """The error that a user sees: BuildError if a step of theirs failed, EngineError if an export or the engine did."""
    if in_step and re.search(UNREACHED, message):
        step = "a download failed: fategen images --external lists everything that a build downloads; "
        step += f"docs/proxy.md has mirrors, proxies and CAs, and --source NAME=DIR takes a local checkout; {FIX}"
    elif not in_step and (known := explain(message)):
        step = known.hint
    elif not in_step and (reason := passing(message)):
        again = "restart it" if reason == LOST else "wait"
        step = f"the engine {reason} ({TRIES} attempts): {again}, then run the same command again"
    else:
        step = FIX
    consequence = "      nothing was published" if job.options.output == "push" else ""
    message = f"{message}\n  full log: {log_file(job, target)}{consequence}"
    return BuildError(message, hint=hint or step) if in_step else EngineError(message, hint=hint or step)


def _run_once(
    context: BakeContext,
    title: str,
    outputs: Mapping[str, str],
    overrides: Sequence[str],
    seconds: dict[str, float],
    again: bool,
) -> dict[str, str]:
    """One bake process; returns the digests of what it exported, by target.

    ``seconds`` gets what each image took: the next try finds the steps of one that failed in the cache.
    """
    job, view = context.job, context.view
    # linked targets too: buildx 0.13 exports one that is not named as an image without a name
    names = [target.name for target in job.involved]
    metadata = context.state / "metadata.json"
    metadata.unlink(missing_ok=True)
    to = (f"{name}.output={outputs.get(name, 'type=cacheonly')}" for name in names)
    overrides = [*job.overrides, *to, *overrides]
    overrides += [NO_CACHE_EXPORT] if again else []
    args = [
        *context.command,
        "--progress=rawjson",
        f"--metadata-file={metadata}",
        *(["--no-cache"] if job.options.no_cache and not again else []),
        *([] if job.options.attestations else ["--provenance=false", "--sbom=false"]),
        *(word for override in overrides for word in ("--set", override)),
        *names,
    ]
    reader = Reader(names, context.docker.redact, time.time())
    code = -1
    view.begin(title, reader.steps)
    try:
        with (
            writing_logs(context, title) as log,
            context.docker.start(args, env=context.env, output="lines") as child,
        ):
            try:
                for line in child.lines(TICK):
                    view.tick()
                    for event in reader.feed(line):
                        log(event)
                        view.show(event)
                code = child.finish().code
            except KeyboardInterrupt:
                view.stop()
                raise
    finally:
        view.end(failed=code != 0)
    steps = reader.steps.values()
    for image, busy in busy_seconds(job, steps).items():
        seconds[image] = seconds.get(image, 0.0) + busy
    for note in cache_notes(job, steps):
        view.note(note)
    if code:
        raise bake_error(job, reader, code, context.workspace)
    content: Any = json.loads(metadata.read_text(encoding="utf-8"))
    digests = {target.name: content.get(target.name, {}).get("containerimage.digest") for target in job.targets}
    return {name: str(digest) for name, digest in digests.items() if digest}


# what the steps say


def busy_seconds(job: Job, steps: Iterable[Step]) -> dict[str, float]:
    """Seconds in which an image's own steps ran, not its export. What ran beside each other counts once.

    An image for which only the export ran has none.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for step in steps:
        of_image = step.name.target and not step.name.internal and not step.name.text.startswith(EXPORTING)
        # of a run that was broken off some steps were only announced
        if of_image and step.completed and not step.was_noop:
            spans.setdefault(job.shown(step.name.target), []).append((step.started, step.completed))
    return {image: union_length(of_image) for image, of_image in spans.items()}


def cache_notes(job: Job, steps: Iterable[Step]) -> Iterator[str]:
    """What build caches in a registry (CACHE_FROM, CACHE_TO) did not do, each reason once with its images.

    A cache never makes a build fail: BuildKit does without one that it cannot read, and ``ignore-error`` in the bake
    file forgives one that it cannot write.
    """
    reasons: dict[tuple[str, str], set[str]] = {}
    for step in steps:
        if step.is_cache_step and step.error and step.name.target:
            verb = "written" if step.name.text.startswith("exporting") else "read"
            missing = verb == "read" and step.error.endswith(": not found")
            reason = "there is none yet" if missing else step.error
            reasons.setdefault((verb, reason), set()).add(job.shown(step.name.target))
    order = [job.shown(target.name) for target in job.involved]
    for (verb, reason), images in reasons.items():
        yield f"note: no build cache was {verb} for {', '.join(sorted(images, key=order.index))}: {reason}"


_UNTOLD = re.compile(
    r'^process ".*" did not complete successfully: |^failed to (?:compute cache key|calculate checksum)[^"]*(?=")|'
    r"(?<=^lstat )\S*/buildkit-mount\d+",
    re.DOTALL,
)
"""What a step's error repeats of its command, or tells of the engine's own disk."""


def bake_error(job: Job, reader: Reader, code: int, workspace: Workspace) -> BuildError | EngineError:
    """The failure of a bake process: the step that broke it, else buildx's last message."""
    if step := reader.failed_step:
        name = step.name
        platform = job.platform(name.target, name.platform)
        where = (job.shown(name.target) or "docker buildx bake") + (f" ({platform})" if platform else "")
        stage, _, number = name.stage.rpartition(" ")
        stage = f" in stage {stage}, step {number}" if stage and "/" in number else ""
        error = _UNTOLD.sub("", step.error)
        lines = "".join(f"\n  | {line}" for line in (*cause(step.tail), *filter(str.strip, error.splitlines())))
        at = place(job, reader, workspace, name.target)
        message = f"{where} failed{stage}: {one_line(name.text)}{lines}{at}"
        hint = base_hint(job, workspace.plan.settings, name.text, step.error)
        in_step = not name.text.startswith(EXPORTING)
        return failure(job, message, target=name.target, in_step=in_step, hint=hint)
    errors = [note for note in reader.notes if note.startswith("ERROR: ")] or list(reader.notes)
    words = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {code}, no message"
    in_dockerfile = "dockerfile parse error" in words
    target = re.match(r"target (\S+): ", words)
    at = place(job, reader, workspace, target[1] if target else "") if in_dockerfile else ""
    return failure(job, f"docker buildx bake failed: {words}{at}", in_step=in_dockerfile)


def place(job: Job, reader: Reader, workspace: Workspace, failed: str) -> str:
    """Where the failed step is: the line of its Dockerfile, and that of the template if only one line is like it.

    BuildKit shows the lines, but names every file "Dockerfile": it is that of the ``failed`` target, if that is known,
    and has these lines.
    """
    lines = reader.failed_lines
    number, first = next(iter(lines.items()), (0, ""))
    for target in {t.dockerfile: t for t in job.involved if number and t.dockerfile}.values():
        text = workspace.tree.get(target.dockerfile, "").splitlines()
        if job.shown(failed) in ("", job.shown(target.name)) and text[number - 1 : number] == [first]:
            template = workspace.template(target)
            found = [n for line in lines.values() if len(n := _numbers(template, line)) == 1]
            line = f":{found[0][0]}" if found else ""
            return f"\n  at: {target.dockerfile}:{number}, from {template_name(template)}{line}"
    return ""


def _numbers(template: Path, line: str) -> list[int]:
    """The lines of a template that this one can be rendered from."""
    numbers = []
    for number, text in enumerate(template.read_text(encoding="utf-8").splitlines(), 1):
        fixed = re.split(r"\{\{.*?\}\}", text)
        # one that is an expression alone, or a comment with one, could give any line
        if re.search(r"\w\w", "".join(fixed)) and re.fullmatch(".*".join(map(re.escape, fixed)), line):
            numbers.append(number)
    return numbers


def base_hint(job: Job, settings: Settings, step: str, error: str) -> str:
    """How to get the base image that a step did not get; "" for another step."""
    wanted = step.removeprefix("load metadata for ")
    prefix = parse_reference(f"{settings.prefix}/x").full.name.removesuffix("x")
    if job.options.published_base and "not found" in error and wanted.startswith((f"{settings.prefix}/", prefix)):
        return f"{wanted} is not published: fategen bake base --push, or leave out --published-base"
    for base in (base for target in job.involved for base in target.bases):
        if wanted != step and wanted in (base.reference, str(parse_reference(base.reference).full)):
            key, what = key_of(base.name, "_IMAGE"), f"{base.reference} is the base {base.name}"
            if key in settings.overrides:
                return f"{what}, as {key} says: correct it ({base.where})"
            if re.search(r"\b401 ", error):
                return f"{what}: docker login {parse_reference(base.reference).full.domain}"
            return (
                f"{what} ({base.where}): set BASE_REGISTRY in .env to a registry that has it, or {key} to another "
                "image; fategen images --external lists all"
            )
    return ""


# logs: one file for each image, bake.log for what belongs to none


def log_file(job: Job, target: str = "") -> str:
    """The path of a target's log as messages name it, from the project's root."""
    return f"{STATE}/logs/{job.shown(target) or 'bake'}.log"


@contextlib.contextmanager
def writing_logs(context: BakeContext, title: str) -> Iterator[Callable[[StepEvent], None]]:
    """Appends each event that it is called with to a log, below the ``title`` of this bake process."""
    files: dict[str, TextIO] = {}
    with contextlib.ExitStack() as closing:

        def write(event: StepEvent) -> None:
            name = log_file(context.job, event.step.name.target if event.step else "")
            if name not in files:
                file = context.workspace.project.root / name
                files[name] = closing.enter_context(file.open("a", encoding="utf-8"))
                files[name].write(f"== {title}\n")
            files[name].write(_log_line(event) + "\n")

        yield write


def _log_line(event: StepEvent) -> str:
    if (step := event.step) is None:
        return event.text
    label = f"[{step.name.label}] " if step.name.label else ""
    if event.kind == "log":
        return f"{label}| {event.text}"
    if event.kind == "finished":
        return f"{label}{one_line(step.name.text)}  {'cached' if step.cached else f'{step.seconds:.1f} s'}"
    return f"{label}{one_line(step.name.text)}  {event.kind}{f': {event.text}' if event.text else ''}"
