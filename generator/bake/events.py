"""Reads the progress of ``docker buildx bake --progress=rawjson``: lines of JSON in, events of build steps out.

Each line is one ``SolveStatus`` of BuildKit's client package (client/graph.go): vertexes are steps, statuses are
transfers inside of a step, logs are what a step printed (base64). Text that is not JSON is a message of buildx.

Seen with buildx 0.13.1 and 0.29.1: 0.13 prints each object over many lines (its last is a lone ``}``), newer ones print
it on one. A step that several targets share is reported once for each of them, under the same digest with another name.
A run of one target leaves the target's name out of its steps' names. Finished steps are reported more than once.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from generator.text import timestamp

TAIL = 2000
"""Log lines of a step that are kept: a failure's cause is somewhere in them."""
NOTES = 20
RESOLVING = 0.5
"""Seconds under which a FROM has pulled nothing."""


@dataclass(frozen=True)
class StepName:
    """A vertex's name taken apart. ``target`` is "" for what belongs to no target, ``platform`` for what has none.

    ``internal`` marks what BuildKit does around the Dockerfile's own steps: loading files, resolving names.
    """

    target: str
    platform: str
    stage: str
    text: str
    internal: bool = False

    @property
    def label(self) -> str:
        """``linux/arm64 storage 3/5``, as far as the step has them."""
        return " ".join(part for part in (self.platform, self.stage) if part)


@dataclass
class Step:
    """One vertex, as far as it got. ``started`` and ``completed`` are seconds since 1970, 0 for not yet."""

    name: StepName
    started: float = 0.0
    completed: float = 0.0
    cached: bool = False
    error: str = ""
    progress: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    @property
    def seconds(self) -> float:
        return max(0.0, self.completed - self.started) if self.completed else 0.0

    @property
    def was_noop(self) -> bool:
        """It was cached, or a FROM that had only to be resolved."""
        resolved = self.name.text.startswith("FROM ") and bool(self.completed) and not self.error
        return self.cached or (resolved and self.seconds < RESOLVING)

    @property
    def is_cache_step(self) -> bool:
        """It reads or writes a build cache; when that fails the build goes on."""
        return self.name.text.startswith(("importing cache manifest", "exporting cache"))

    @property
    def failed(self) -> bool:
        """It has an error of its own: neither a build cache's, nor that another step failed."""
        return bool(self.error) and not self.is_cache_step and not re.search(r"context canceled|Canceled", self.error)


@dataclass(frozen=True)
class StepEvent:
    """Something that happened to a step, or (``note``) a line of buildx that belongs to no step."""

    kind: Literal["started", "finished", "failed", "log", "note"]
    step: Step | None
    text: str = ""


_CONTROL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])|[\0-\x08\n-\x1f\x7f-\x9f]"
)
"""Escape sequences of a terminal (ECMA-48: colours, cursor movements, titles) and control characters but for tabs."""
_NAME = re.compile(r"^\[([^\]]+)\] (.*)$", re.DOTALL)
_SHOWN_LINE = re.compile(r"^ *(\d+) \| >>> (.*)$")
_PLATFORM = re.compile(r"^(?:linux|windows|darwin|freebsd|wasi?|wasip1|js)/[a-z0-9_]+(?:/v\d+)?(?:->\S+)?$")


def parse_name(name: str, targets: Sequence[str]) -> StepName:
    """``[tool linux/arm64 stage-1 2/5] COPY …`` -> its parts; ``targets`` are all that the run builds.

    A name without a target (``[internal] load local bake definitions``, ``exporting to image``) keeps only its text.
    ``linux/amd64->arm64`` is BuildKit's way to say that a step of the build platform serves another one.
    """
    only = targets[0] if len(targets) == 1 else ""
    match = _NAME.match(name)
    if not match:
        return StepName(only, "", "", name, internal=not only)
    words, text = match[1].split(), match[2]
    target = only or (words.pop(0) if words and words[0] in targets else "")
    # a stage may have one of these names: its steps have numbers
    numbered = bool(words) and re.fullmatch(r"\d+/\d+", words[-1])
    internal = "metadata file" in text or (not numbered and bool({"internal", "context", "auth"} & {*words}))
    words = words if numbered else [word for word in words if word != "internal"]
    platform = words.pop(0).partition("->")[0] if words and _PLATFORM.match(words[0]) else ""
    return StepName(target, platform, " ".join(words), text, internal)


class Reader:
    """Keeps the steps of one bake run. ``targets`` are in build order; a step that several have is the first one's.

    ``redact`` is applied to every text before anything else sees it. ``begun`` is when the run began (seconds
    since 1970): BuildKit reports a step just run by an earlier build with its original timestamps, and not as cached.
    """

    def __init__(self, targets: Sequence[str], redact: Callable[[str], str], begun: float = 0.0) -> None:
        self.steps: dict[str, Step] = {}
        self.notes: deque[str] = deque(maxlen=NOTES)
        self.failed_lines: dict[int, str] = {}
        """the lines of a Dockerfile, by number, that buildx showed for the failure"""
        self._begun = begun
        self._targets = targets
        self._redact = redact
        self._partial: dict[tuple[str, int], bytes] = {}
        self._object: list[str] = []

    @property
    def failed_step(self) -> Step | None:
        """The step that broke the build: the first with an error of its own. None if buildx itself failed."""
        failed = [step for step in self.steps.values() if step.failed]
        return min(failed, key=lambda step: step.completed or float("inf"), default=None)

    def feed(self, line: str) -> Iterator[StepEvent]:
        """The events in one line of output. A line that is no part of a ``SolveStatus`` is a note."""
        if not line.strip():
            return
        if line == "{":
            self._object = [line]
            return
        if self._object and (line[0].isspace() or line == "}"):
            self._object.append(line)
            if line != "}":
                return
            line = "\n".join(self._object)
            self._object = []
        try:
            status = json.loads(line)
        except ValueError:
            status = None
        if not isinstance(status, dict):
            text = self._redact(line)
            self.notes.append(text)
            shown = _SHOWN_LINE.match(text)
            if shown and (not self.failed_lines or int(shown[1]) - 1 in self.failed_lines):
                self.failed_lines[int(shown[1])] = shown[2]
            yield StepEvent("note", None, text)
            return
        self._object = []
        for vertex in _objects(status, "vertexes"):
            yield from self._vertex(str(vertex.get("digest", "")), vertex)
        for transfer in _objects(status, "statuses"):
            self._transfer(str(transfer.get("vertex", "")), transfer)
        for log in _objects(status, "logs"):
            yield from self._log(str(log.get("vertex", "")), log)

    def _vertex(self, digest: str, vertex: dict[str, Any]) -> Iterator[StepEvent]:
        name = parse_name(self._redact(str(vertex.get("name", ""))), self._targets)
        step = self.steps.setdefault(digest, Step(name))
        if self._order(name) < self._order(step.name):
            step.name = name
        was_started, was_completed, was_error = step.started, step.completed, step.error
        # a step that is run again (another exporter, a retry) reports a second start: its time counts from the first
        step.started = step.started or timestamp(str(vertex.get("started")))
        step.completed = timestamp(str(vertex.get("completed"))) or step.completed
        step.cached = bool(vertex.get("cached")) or 0 < step.completed < self._begun
        step.error = self._redact(str(vertex.get("error") or ""))
        if step.started and not was_started and not step.completed:
            yield StepEvent("started", step)
        failed, finished = step.error and not was_error, step.completed and not was_completed
        if failed or finished:
            for stream in (1, 2):
                rest = self._partial.pop((digest, stream), b"")
                if rest.strip():
                    yield self._logged(step, rest)
            yield StepEvent("failed", step, step.error) if failed else StepEvent("finished", step)

    def _order(self, name: StepName) -> int:
        return self._targets.index(name.target) if name.target in self._targets else len(self._targets)

    def _transfer(self, digest: str, transfer: dict[str, Any]) -> None:
        if digest not in self.steps:
            return
        current, total = transfer.get("current") or 0, transfer.get("total") or 0
        name = self._redact(str(transfer.get("id") or transfer.get("name") or ""))
        self.steps[digest].progress = f"{name} {current * 100 // total} %" if total else name

    def _log(self, digest: str, log: dict[str, Any]) -> Iterator[StepEvent]:
        if digest not in self.steps:
            return
        try:
            data = base64.b64decode(str(log.get("data") or ""))
        except ValueError:
            data = b""
        # a chunk may end mid-line or mid-character; emit whole lines so a secret is never split
        stream = digest, 2 if log.get("stream") == 2 else 1
        *lines, self._partial[stream] = (self._partial.get(stream, b"") + data).split(b"\n")
        for line in lines:
            yield self._logged(self.steps[digest], line)

    def _logged(self, step: Step, line: bytes) -> StepEvent:
        # what a progress bar overwrote with carriage returns is gone on a terminal too
        shown = line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace")
        # a tool's colours, and what else would move a cursor
        text = self._redact(_CONTROL.sub("", shown))
        step.tail.append(text)
        return StepEvent("log", step, text)


def _objects(status: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = status.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
