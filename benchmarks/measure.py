"""A measurement, its bound, and how both are taken."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """``ours`` and ``theirs`` in seconds, or in ``unit``.

    ``bound`` is what the README promises, ``met`` whether this run kept it.
    """

    name: str
    ours: float
    theirs: float
    ratio: str
    bound: str
    met: bool
    unit: str = "s"


class Failed(Exception):
    """A command that is part of a measurement; the message ends with what it said."""


def seconds(function: Callable[[], object], times: int = 1, before: Callable[[], object] = lambda: None) -> float:
    """The median of several runs; ``before`` each of them is not counted."""
    measured = []
    for _ in range(times):
        before()
        begin = time.perf_counter()
        function()
        measured.append(time.perf_counter() - begin)
    return statistics.median(measured)


def run(args: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(args, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def slower(name: str, ours: float, theirs: float, most: float, plus: float = 0.0) -> Row:
    """A row whose promise is: at most ``most`` times as long as the other (and ``plus`` seconds)."""
    bound = f"≤ {most:g} x" + (f" + {plus:g} s" if plus else "")
    return Row(name, ours, theirs, f"{ours / theirs:.2f} x", bound, ours <= theirs * most + plus)


def faster(name: str, ours: float, theirs: float, least: float) -> Row:
    """A row whose promise is: at least ``least`` times as fast as the other."""
    return Row(name, ours, theirs, f"{theirs / ours:.1f} x faster", f"≥ {least:g} x", theirs / ours >= least)


def within(name: str, ours: float, most: float) -> Row:
    """A row whose promise is a time of its own: less than ``most`` seconds."""
    return Row(name, ours, most, f"{ours / most:.2f} x", f"< {most:g} s", ours < most)
