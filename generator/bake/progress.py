"""What a person sees while bake runs: plain lines, or nothing; ``live`` has the picture for a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

from generator.bake.events import Change, Step
from generator.bake.job import Job
from generator.text import one_line, shorten

Write = Callable[[str], None]

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

    def stop(self) -> None:
        """The run was interrupted: what was started is being ended."""

    def end(self) -> None:
        """The phase is over, well or not; what follows is printed below."""

    def note(self, text: str) -> None:
        """Something to know between two phases."""

    def clear(self) -> None:
        """The run is over and went well: its result is printed next."""


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
        elif change.kind == "finished" and not step.was_there:
            self._line(step, f"{step.seconds:.1f} s")
        elif change.kind == "failed" and not step.called_off and not step.of_cache:
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

    def stop(self) -> None:
        self._write("stopping")

    def note(self, text: str) -> None:
        self._write(text)

    def _line(self, step: Step, tail: str, *, what: str | None = None) -> None:
        image = self._job.shown(step.name.target).ljust(self._width)
        platform = self._job.platform(step.name.target, step.name.platform)
        parts = (image, platform, shorten(one_line(step.name.text), 80) if what is None else what, tail)
        self._write("  ".join(part for part in parts if part))
