"""What a person sees while bake runs: plain lines, or one line for each image on a terminal, or nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from generator.bake.events import Change, Step
from generator.bake.job import Job
from generator.bake.logs import step_label

Write = Callable[[str], None]

SHORT = 0.5
"""Seconds under which resolving a FROM is not worth a line of its own."""
LONG = 2.0
"""Seconds after which a step that still runs is announced."""


class View:
    """Shows nothing (``-q``); the others show more."""

    def begin(self, title: str) -> None:
        """A phase of the run starts."""

    def change(self, change: Change) -> None:
        """Something happened."""

    def tick(self) -> None:
        """Time went by."""

    def end(self) -> None:
        """The phase is over, well or not; what follows is printed below."""

    def note(self, text: str) -> None:
        """Something to know between two phases."""


class PlainView(View):
    """A line for each step that starts or ends; what was cached is summed up at the end. For logs and CI."""

    def __init__(
        self, job: Job, write: Write, *, verbose: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self._job = job
        self._clock = clock
        self._write = write
        self._verbose = verbose
        self._width = max(len(job.shown(target.name)) for target in job.involved)
        self._cached: dict[str, int] = {}
        self._unsaid: list[Step] = []

    def begin(self, title: str) -> None:
        self._cached.clear()
        self._unsaid.clear()
        self._write(f"{title}: {', '.join(target.name for target in self._job.targets)}")

    def change(self, change: Change) -> None:
        step = change.step
        if step is None:
            if self._verbose:
                self._write(change.text)
        elif step.name.internal and change.kind != "failed":
            return
        elif change.kind == "finished" and step.cached:
            image = self._job.shown(step.name.target)
            self._cached[image] = self._cached.get(image, 0) + 1
        elif change.kind == "started":
            self._unsaid.append(step)
        elif change.kind == "finished" and not (step.name.text.startswith("FROM ") and step.seconds < SHORT):
            self._line(step, f"{step.seconds:.1f} s")
        elif change.kind == "failed" and not step.called_off:
            self._line(step, "failed")
        elif change.kind == "log" and self._verbose:
            self._line(step, f"| {change.text}", what="")

    def tick(self) -> None:
        # many steps end, or turn out to be cached, right after they start: only a long one is worth a line at its start
        for step in [step for step in self._unsaid if self._clock() - step.started > LONG]:
            self._unsaid.remove(step)
            if not step.completed:
                self._line(step, "…")

    def end(self) -> None:
        for image, count in self._cached.items():
            self._write(f"{image.ljust(self._width)}  {count} step{'s' if count > 1 else ''} cached")
        self._cached.clear()

    def note(self, text: str) -> None:
        self._write(text)

    def _line(self, step: Step, tail: str, *, what: str | None = None) -> None:
        image = self._job.shown(step.name.target).ljust(self._width)
        platform = self._job.platform(step.name.target, step.name.platform)
        parts = (image, platform, shorten(step.name.text, 80) if what is None else what, tail)
        self._write("  ".join(part for part in parts if part))


@dataclass
class _Row:
    """One image's state in the live view."""

    running: dict[int, Step] = field(default_factory=dict)
    done: int = 0
    cached: int = 0
    failed: str = ""
    since: float = 0.0


class LiveView(View):
    """One line for each image, drawn again in place at most ten times a second. For terminals that know ANSI codes."""

    SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

    def __init__(self, job: Job, write: Write, *, width: int, clock: Callable[[], float] = time.time) -> None:
        self._job = job
        self._write = write
        self._columns = width
        self._clock = clock
        self._title = ""
        self._rows: dict[str, _Row] = {}
        self._drawn = 0
        self._last = 0.0

    def begin(self, title: str) -> None:
        self._title = title
        self._rows = {self._job.shown(target.name): _Row() for target in self._job.involved}
        self._drawn = 0
        self._draw()

    def change(self, change: Change) -> None:
        step = change.step
        row = self._rows.get(self._job.shown(step.name.target)) if step else None
        if step is None or row is None:
            return
        row.since = row.since or step.started
        if change.kind == "started":
            row.running[id(step)] = step
        elif change.kind in ("finished", "failed"):
            # it may have been shown under another image: a step that several share is given to the first of them
            for other in self._rows.values():
                other.running.pop(id(step), None)
            if not step.name.internal:
                row.done += 1
                row.cached += step.cached
            if change.kind == "failed" and not step.called_off:
                row.failed = step.name.text
        self.tick()

    def tick(self) -> None:
        if self._clock() - self._last >= 0.1:
            self._draw()

    def end(self) -> None:
        self._draw(final=True)
        self._drawn = 0

    def note(self, text: str) -> None:
        self._write(f"{text}\n")

    def _draw(self, *, final: bool = False) -> None:
        self._last = self._clock()
        lines = [self._title, *(self._row(image, row, final) for image, row in self._rows.items())]
        # up to the first line, then each line over the old one; nothing below is left of a longer picture
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._write(up + "".join(f"\r\x1b[K{shorten(line, self._columns - 1)}\n" for line in lines))
        self._drawn = len(lines)

    def _row(self, image: str, row: _Row, final: bool) -> str:
        name = image.ljust(max(map(len, self._rows)))
        if row.failed:
            return f"  {name}  ✗ {row.failed}"
        if row.running:
            step = next((s for s in row.running.values() if not s.name.internal), next(iter(row.running.values())))
            spin = self.SPINNER[int(self._clock() * 10) % len(self.SPINNER)]
            label = step_label(step.name)
            seconds = max(0.0, self._clock() - step.started)
            transfer = f"  {step.progress}" if step.progress else ""
            return f"  {name}  {spin} {duration(seconds)}  {label}{': ' if label else ''}{step.name.text}{transfer}"
        if not row.done:
            return f"  {name}  ·"
        if row.cached == row.done:
            return f"  {name}  ✓ cached"
        return f"  {name}  {'✓' if final else '·'} {row.done} steps, {row.cached} cached"


def shorten(text: str, width: int) -> str:
    """One line of at most ``width`` characters, without the mounts of a RUN step, which say little of what it does."""
    line = re.sub(r"--mount=\S+ ", "", " ".join(text.split()) if "RUN " in text else text)
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def duration(seconds: float) -> str:
    """``4.2 s``, ``1m02s``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"
