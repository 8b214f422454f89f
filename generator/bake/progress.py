"""What a person sees while bake runs: nothing, plain lines, or a picture with one line an image on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from generator.bake.events import Change, Step
from generator.bake.job import Job
from generator.progress import displayable, is_live, say
from generator.text import cells, duration, one_line, shorten, union_length

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LONG = 2.0
"""Seconds after which a step that still runs is announced."""
FRAME = 0.1
"""Seconds between two pictures."""

State = Literal["running", "failed", "waiting", "done", "stopped"]
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS: dict[State, str] = {"failed": "✗", "waiting": "·", "done": "✓", "stopped": "·"}
COLOURS: dict[State, str] = {"running": "cyan", "failed": "red", "done": "green"}


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
        self._write = write
        self._verbose = verbose
        self._width = max(len(job.shown(target.name)) for target in job.involved)
        self._cached: dict[str, int] = {}
        self._unannounced: list[Step] = []

    def begin(self, title: str) -> None:
        """A phase of the run starts."""
        self._cached.clear()
        self._unannounced.clear()
        self._write(f"{title}: {', '.join(target.name for target in self._job.targets)}")

    def change(self, change: Change) -> None:
        """Something happened."""
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
            self._unannounced.append(step)
        elif change.kind == "finished" and not step.was_there:
            self._line(step, step.name.text, f"{step.seconds:.1f} s")
        elif change.kind == "failed" and not step.called_off and not step.of_cache:
            self._line(step, step.name.text, "failed")
        elif change.kind == "log" and self._verbose:
            self._line(step, "", f"| {change.text}")

    def tick(self) -> None:
        """Time passed."""
        # many steps end, or turn out to be cached, right after they start: only a long one is announced
        for step in [step for step in self._unannounced if self._clock() - step.started > LONG]:
            self._unannounced.remove(step)
            if not step.completed:
                self._line(step, step.name.text, "…")

    def stop(self) -> None:
        """The run was interrupted: its processes are being stopped."""
        self._write("stopping")

    def end(self, *, failed: bool) -> None:
        """The phase is over; what follows is printed below."""
        for image, count in self._cached.items():
            self._write(f"{image.ljust(self._width)}  {count} step{'s' if count > 1 else ''} cached")
        self._cached.clear()

    def note(self, text: str) -> None:
        """Something to know between two phases."""
        self._write(text)

    def _line(self, step: Step, what: str, tail: str) -> None:
        image = self._job.shown(step.name.target).ljust(self._width)
        platform = self._job.platform(step.name.target, step.name.platform)
        self._write("  ".join(filter(None, (image, platform, shorten(one_line(what), 80), tail))))


@dataclass(frozen=True)
class Row:
    """One image in the picture."""

    image: str
    state: State
    text: str


class LiveView(View):
    """A picture that is redrawn in place at most ten times a second.

    It is wiped when its phase has ended well, since the next phase or the result says the same; with ``keep`` (the
    result goes elsewhere) and after a failure it stays.
    """

    def __init__(
        self, job: Job, console: Console, *, keep: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        from rich.live import Live

        super().__init__(job, clock=clock)
        self._console = console
        self._keep = keep
        self._title = ""
        self._begun = self._last = 0.0
        self._steps: dict[int, Step] = {}
        self._live = Live(
            console=console,
            get_renderable=self._picture,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def begin(self, title: str) -> None:
        self._title = title
        self._begun = self._last = self._clock()
        self._steps.clear()
        self._live.start(refresh=True)

    def change(self, change: Change) -> None:
        if change.step is not None:
            self._steps[id(change.step)] = change.step
        self.tick()

    def tick(self) -> None:
        if self._clock() - self._last >= FRAME:
            self._last = self._clock()
            self._live.refresh()

    def stop(self) -> None:
        self._title = "stopping"
        self._live.refresh()

    def end(self, *, failed: bool) -> None:
        self._live.stop()
        if failed or self._keep:
            self._console.print(self._picture(final=True))

    def _picture(self, *, final: bool = False) -> Text:
        from rich.text import Text

        now = self._clock()
        rows = image_rows(self._job, list(self._steps.values()), now, final=final)
        done = sum(row.state == "done" for row in rows)
        fitting, others = fitting_rows(rows, self._console.height - 2)
        # a line as wide as the terminal would take two
        room = self._console.width - 1
        title = f"{self._title}  {done} of {len(rows)}  {duration(now - self._begun)}"
        lines = [Text(displayable(shorten(title, room)))]
        width = max(cells(row.image) for row in rows)
        for row in fitting:
            mark = MARKS.get(row.state) or SPINNER[int(now / FRAME) % len(SPINNER)]
            before = f"  {row.image.ljust(width)}  "
            line = Text(displayable(shorten(f"{before}{mark} {row.text}", room)))
            line.stylize(COLOURS.get(row.state, ""), len(before), len(before) + 1)
            lines.append(line)
        if others:
            lines.append(Text(displayable(shorten(f"  {others}", room))))
        return Text("\n").join(lines)


def make_view(job: Job, *, quiet: bool = False, verbose: bool = False) -> View:
    """The view that fits: a picture on a terminal, lines elsewhere and with ``-v``, nothing with ``-q``."""
    if quiet or verbose or not is_live():
        return View(job, (lambda _: None) if quiet else say, verbose=verbose)
    from rich.console import Console

    return LiveView(job, Console(stderr=True), keep=not sys.stdout.isatty())


def image_rows(job: Job, steps: Sequence[Step], now: float, *, final: bool = False) -> list[Row]:
    """Every image's row. A step that several images share counts for the image that its name says now."""
    platforms = {job.shown(t.name): " ".join(p.removeprefix("linux/") for p in t.platforms) for t in job.involved}
    by_image: dict[str, list[Step]] = {image: [] for image in platforms}
    for step in steps:
        by_image.get(job.shown(step.name.target), []).append(step)
    return [_row(image, of_image, platforms[image], now, final) for image, of_image in by_image.items()]


def _row(image: str, steps: list[Step], platforms: str, now: float, final: bool) -> Row:
    broken = next((step for step in steps if step.error and not step.called_off and not step.of_cache), None)
    if broken is not None:
        return Row(image, "failed", _step(broken, broken.seconds))
    running = [step for step in steps if step.started and not step.completed and not step.error]
    if running and not final:
        first = min(running, key=lambda step: (step.name.internal, step.started))
        others = f"  (and {len(running) - 1} more)" if len(running) > 1 else ""
        progress = f"  {one_line(first.progress)}" if first.progress else ""
        return Row(image, "running", f"{_step(first, now - first.started)}{progress}{others}")
    counted = [step for step in steps if not step.name.internal and not step.of_cache]
    if not counted or any(not step.completed or step.error for step in counted):
        return Row(image, "stopped" if final else "waiting", "not finished" if final else "")
    spans = [(step.started, step.completed) for step in counted if not step.was_there]
    return Row(image, "done", f"{duration(union_length(spans)) if spans else 'cached':>7}  {platforms}")


def _step(step: Step, seconds: float) -> str:
    label = step.name.label
    return f"{duration(max(0.0, seconds)):>7}  {label}{': ' if label else ''}{one_line(step.name.text)}"


def fitting_rows(rows: list[Row], lines: int) -> tuple[list[Row], str]:
    """As many rows as fit, in their order, what is going on before what is over; and how many others there are."""
    if len(rows) <= max(1, lines):
        return rows, ""
    rank = ("failed", "running", "waiting", "stopped", "done")
    first = sorted(rows, key=lambda row: rank.index(row.state))[: max(0, lines - 1)]
    others = [row.state for row in rows if row not in first]
    counts = ", ".join(f"{others.count(state)} {state}" for state in rank if state in others)
    return [row for row in rows if row in first], f"and {counts}"
