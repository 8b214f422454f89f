"""The picture of a run on a terminal that knows ANSI codes: one line for each image, drawn again in place.

Own code and not rich's: it is this file, and importing rich's live display alone takes longer than ``fategen render``.
The cursor is never hidden, so that nothing has to be put right on any way out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from generator.bake.events import Change, Step
from generator.bake.job import Job
from generator.bake.logs import step_label
from generator.bake.progress import View, Write
from generator.text import cells, duration, one_line, shorten, union_length

State = Literal["running", "failed", "waiting", "done", "stopped"]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS: dict[State, str] = {"failed": "✗", "waiting": "·", "done": "✓", "stopped": "·"}
COLOURS: dict[State, str] = {"running": "36", "failed": "31", "done": "32"}
"""Codes of SGR (ECMA-48): cyan, red, green."""
FRAME = 0.1
"""Seconds between two pictures."""


@dataclass(frozen=True)
class Row:
    """One image as the picture shows it."""

    image: str
    state: State
    text: str


class LiveView(View):
    """Draws at most ten times a second. One picture for all phases of a run: the next one is drawn over the last.

    ``size`` gives columns and lines now, since a terminal may change them. ``clear`` takes the picture away, for a
    result that says the same, unless ``keep`` says that the result goes elsewhere.
    """

    def __init__(
        self,
        job: Job,
        write: Write,
        *,
        size: Callable[[], tuple[int, int]],
        colour: bool = False,
        keep: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job = job
        self._write = write
        self._size = size
        self._colour = colour
        self._keep = keep
        self._clock = clock
        self._images = list(dict.fromkeys(job.shown(target.name) for target in job.involved))
        self._title = ""
        self._begun = self._last = 0.0
        self._steps: dict[int, Step] = {}
        self._drawn: list[str] = []

    def begin(self, title: str) -> None:
        self._title = title
        self._begun = self._clock()
        self._steps.clear()
        self._draw()

    def change(self, change: Change) -> None:
        if change.step is not None:
            self._steps[id(change.step)] = change.step
        self.tick()

    def tick(self) -> None:
        if self._clock() - self._last >= FRAME:
            self._draw()

    def stop(self) -> None:
        self._title = "stopping"
        self._draw()

    def end(self) -> None:
        self._draw(final=True)

    def note(self, text: str) -> None:
        self._write(f"{self._back()}{text}\n")
        self._drawn = []
        self._draw(final=True)

    def clear(self) -> None:
        if not self._keep:
            self._write(self._back())
            self._drawn = []

    def _draw(self, *, final: bool = False) -> None:
        self._last = now = self._clock()
        columns, lines = self._size()
        rows = _rows(self._job, self._images, list(self._steps.values()), now, final)
        done = sum(row.state == "done" for row in rows)
        title = f"{self._title}  {done} of {len(rows)}  {duration(now - self._begun)}"
        fitting, rest = _fitting(rows, lines - 2)
        width = max(map(cells, self._images))
        # the cursor goes below the picture, and a line as long as the terminal is wide would take two
        room = columns - 1
        shown = [shorten(title, room)]
        painted = [shown[0]]
        for row in fitting:
            mark = MARKS.get(row.state) or SPINNER[int(now / FRAME) % len(SPINNER)]
            line = shorten(f"  {row.image.ljust(width)}  {mark} {row.text}", room)
            shown.append(line)
            code = COLOURS.get(row.state) if self._colour else None
            painted.append(line.replace(mark, f"\x1b[{code}m{mark}\x1b[m", 1) if code else line)
        if rest:
            shown.append(shorten(f"  {rest}", room))
            painted.append(shown[-1])
        # in one piece: each line over the old one, then nothing is left of a longer picture, or of a "^C"
        self._write(self._back(erase=False) + "".join(f"\r\x1b[K{line}\n" for line in painted) + "\x1b[J")
        self._drawn = shown

    def _back(self, *, erase: bool = True) -> str:
        """To the first line of the picture; lines that a terminal made narrower has broken in two count as two."""
        if not self._drawn:
            return ""
        columns, lines = self._size()
        up = sum(max(1, -(-cells(line) // columns)) for line in self._drawn)
        return f"\x1b[{min(up, lines - 1)}A" + ("\r\x1b[J" if erase else "")


def _rows(job: Job, images: list[str], steps: list[Step], now: float, final: bool) -> list[Row]:
    """Every image's row. A step counts where its name says now: one that several share gets another as bake reports."""
    own: dict[str, list[Step]] = {image: [] for image in images}
    for step in steps:
        own.get(job.shown(step.name.target), []).append(step)
    platforms = {job.shown(t.name): " ".join(p.removeprefix("linux/") for p in t.platforms) for t in job.involved}
    return [_row(image, of_image, platforms[image], now, final) for image, of_image in own.items()]


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
    mine = [step for step in steps if not step.name.internal and not step.of_cache]
    if not mine or any(not step.completed or step.error for step in mine):
        return Row(image, "stopped" if final else "waiting", "not finished" if final else "")
    spans = [(step.started, step.completed) for step in mine if not step.was_there]
    return Row(image, "done", f"{duration(union_length(spans)) if spans else 'cached':>7}  {platforms}")


def _step(step: Step, seconds: float) -> str:
    label = step_label(step.name)
    return f"{duration(max(0.0, seconds)):>7}  {label}{': ' if label else ''}{one_line(step.name.text)}"


def _fitting(rows: list[Row], lines: int) -> tuple[list[Row], str]:
    """As many rows as fit, in their order, what is going on before what is over; and a word on the others."""
    if len(rows) <= max(1, lines):
        return rows, ""
    rank = ("failed", "running", "waiting", "stopped", "done")
    first = sorted(rows, key=lambda row: rank.index(row.state))[: max(0, lines - 1)]
    others = [row.state for row in rows if row not in first]
    counts = ", ".join(f"{others.count(state)} {state}" for state in rank if state in others)
    return [row for row in rows if row in first], f"and {counts}"
