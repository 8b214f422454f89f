"""What a person sees while bake runs: nothing, plain lines, or a live picture with one line per image."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from generator.bake.events import Step, StepEvent
from generator.bake.job import Job
from generator.progress import displayable, is_live, say
from generator.text import cells, duration, one_line, shorten, union_length

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LONG = 2.0
"""Seconds after which a step that still runs is announced."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FAILED, WAITING, DONE = "✗", "·", "✓"
COLORS = {FAILED: "red", WAITING: "", DONE: "green"}


class View:
    """A line for each step that starts or ends; cached steps are summed up at the end. For logs and CI."""

    def __init__(
        self,
        job: Job,
        write: Callable[[str], None] = say,
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job = job
        self._clock = clock
        self.note = write
        """shows a line: of a step, or something to know between two processes"""
        self._verbose = verbose
        self._width = max(len(job.shown(target.name)) for target in job.involved)
        self._platform = max(len(platform) for target in job.involved for platform in target.platforms)
        self._steps: Mapping[str, Step] = {}
        self._unannounced: list[Step] = []

    def begin(self, title: str, steps: Mapping[str, Step]) -> None:
        """A bake process starts; ``steps`` is filled in while it runs."""
        self._steps = steps
        self._unannounced.clear()
        self.note(f"{title}: {', '.join(target.name for target in self._job.targets)}")

    def show(self, event: StepEvent) -> None:
        """Shows an event of a step, or a note."""
        step = event.step
        if step is None:
            if self._verbose:
                self.note(event.text)
        elif step.name.internal and event.kind != "failed":
            return
        elif event.kind == "started":
            self._unannounced.append(step)
        elif event.kind == "finished" and not step.was_noop:
            self._line(step, step.name.text, f"{step.seconds:.1f} s")
        elif event.kind == "failed" and step.failed:
            self._line(step, step.name.text, "failed")
        elif event.kind == "log" and self._verbose:
            self._line(step, "", f"| {event.text}")

    def tick(self) -> None:
        """Time passed."""
        # many steps end, or turn out to be cached, right after they start: only a long one is announced
        for step in [step for step in self._unannounced if self._clock() - step.started > LONG]:
            self._unannounced.remove(step)
            if not step.completed:
                self._line(step, step.name.text, "…")

    def stop(self) -> None:
        """The run was interrupted: its processes are being stopped."""
        self.note("stopping")

    def end(self, *, failed: bool) -> None:
        """The process is over; what follows is printed below."""
        cached = (step.name for step in self._steps.values() if step.cached and not step.error)
        for image, count in Counter(self._job.shown(name.target) for name in cached if not name.internal).items():
            self.note(f"{image.ljust(self._width)}  {count} step{'s' if count > 1 else ''} cached")

    def _line(self, step: Step, what: str, tail: str) -> None:
        image = self._job.shown(step.name.target).ljust(self._width)
        platform = self._job.platform(step.name.target, step.name.platform).ljust(self._platform)
        name = shorten(one_line(what), 80)
        stage = f"{step.name.stage}: {name}" if step.name.stage and name else name
        self.note("  ".join(filter(None, (image, platform, stage, tail))))


class LiveView(View):
    """A picture that rich redraws in place.

    It is wiped when its process has ended well, since the next one or the result says the same; with ``keep`` (the
    result goes elsewhere) and after a failure it stays.
    """

    def __init__(
        self, job: Job, console: Console, *, keep: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(job, clock=clock)
        self._console = console
        self._keep = keep
        self._title, self._begun = "", 0.0

    def begin(self, title: str, steps: Mapping[str, Step]) -> None:
        from rich.live import Live

        self._title, self._steps, self._begun = title, steps, self._clock()
        # a new one for each process: one that is started again wipes as many lines above it as it had
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def show(self, event: StepEvent) -> None:
        """The picture is made from the steps."""

    def stop(self) -> None:
        self._title = "stopping"
        self._live.refresh()

    def end(self, *, failed: bool) -> None:
        self._live.stop()
        if failed or self._keep:
            self._console.print(self._picture(final=True), no_wrap=True, overflow="ellipsis")

    def _picture(self, *, final: bool = False) -> Text:
        from rich.text import Text

        now = self._clock()
        rows = image_rows(self._job, list(self._steps.values()), now, final=final)
        done = sum(row.mark == DONE for row in rows)
        title = f"{self._title}  {done} of {len(rows)}  {duration(now - self._begun)}"
        picture = Text(displayable(title), no_wrap=True, overflow="ellipsis")
        if len(rows) > self._console.height - 2 and not final:
            # rich crops the end
            rows.sort(key=lambda row: (row.mark == DONE, row.mark == WAITING))
        width = max(cells(row.image) for row in rows)
        for row in rows:
            picture.append(f"\n  {row.image.ljust(width)}  ")
            picture.append(displayable(row.mark), COLORS.get(row.mark, "cyan"))
            picture.append(displayable(f" {row.text}"))
        return picture


def make_view(job: Job, *, quiet: bool = False, verbose: bool = False) -> View:
    """The view that fits: a picture on a terminal, lines elsewhere and with ``-v``, nothing with ``-q``."""
    if quiet or verbose or not is_live():
        return View(job, (lambda _: None) if quiet else say, verbose=verbose)
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_interactive or console.is_dumb_terminal:
        return View(job)
    return LiveView(job, console, keep=not (sys.stdout and sys.stdout.isatty()))


class Row(NamedTuple):
    """One image in the picture."""

    image: str
    mark: str
    text: str


def image_rows(job: Job, steps: Iterable[Step], now: float, *, final: bool = False) -> list[Row]:
    """Every image's row. A step that several images share counts for the image that its name says now."""
    platforms = {job.shown(t.name): " ".join(p.removeprefix("linux/") for p in t.platforms) for t in job.involved}
    by_image: dict[str, list[Step]] = {image: [] for image in platforms}
    for step in steps:
        by_image.get(job.shown(step.name.target), []).append(step)
    return [Row(image, *_state(of_image, platforms[image], now, final)) for image, of_image in by_image.items()]


def _state(steps: list[Step], platforms: str, now: float, final: bool) -> tuple[str, str]:
    if failed := next((step for step in steps if step.failed), None):
        return FAILED, _step(failed, failed.seconds)
    running = [step for step in steps if step.started and not step.completed and not step.error]
    if running and not final:
        first = min(running, key=lambda step: (step.name.internal, step.started))
        progress = f"  {one_line(first.progress)}" if first.progress else ""
        others = f"  (and {len(running) - 1} more)" if len(running) > 1 else ""
        return SPINNER[int(now * 10) % len(SPINNER)], f"{_step(first, now - first.started)}{progress}{others}"
    counted = [step for step in steps if not step.name.internal and not step.is_cache_step]
    if not counted or any(not step.completed or step.error for step in counted):
        return WAITING, "not finished" if final else ""
    spans = [(step.started, step.completed) for step in counted if not step.was_noop]
    return DONE, f"{duration(union_length(spans)) if spans else 'cached':>7}  {platforms}"


def _step(step: Step, seconds: float) -> str:
    label = step.name.label
    return f"{duration(max(0.0, seconds)):>7}  {label}{': ' if label else ''}{one_line(step.name.text)}"
