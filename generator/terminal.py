"""stderr as a terminal: its size, what it can show, and a line of progress on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from generator.text import duration, human, shorten

if TYPE_CHECKING:
    from generator.bundle.format.archive import Progress

_ASCII = str.maketrans({"✓": "v", "✗": "x", "·": ".", "…": ".", **dict.fromkeys("⠋⠹⠼⠦⠇", "/"),
                        **dict.fromkeys("⠙⠸⠴⠧⠏", "-")})  # fmt: skip
"""What stands for the signs of progress where the locale has no Unicode; each is one column wide."""


def is_live() -> bool:
    """Whether stderr is a terminal whose cursor can be moved."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def size() -> tuple[int, int]:
    """Columns and lines of stderr's terminal now; 80 and 24 where it does not know them."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24


def is_unicode() -> bool:
    """Whether the terminal shows more than ASCII. Python itself writes UTF-8 in the locale C (PEP 538, PEP 540), and
    sets LC_CTYPE to C.UTF-8 for it: somebody who chose C gets ASCII.
    """
    chosen = [os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if chosen[1] == "C.UTF-8" and chosen[2]:
        chosen[1] = None
    locale = next((name for name in chosen if name), "C.UTF-8")
    return locale not in ("C", "POSIX") and sys.stderr.encoding.lower().replace("-", "") == "utf8"


def write(text: str) -> None:
    """As it is, without a line end; signs of progress in ASCII where the terminal has no others."""
    sys.stderr.write(text if is_unicode() else text.translate(_ASCII))
    sys.stderr.flush()


class Bar:
    """One line while it lasts: part, bytes, rate and time left; nothing where there is no terminal."""

    def __init__(self, verb: str, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._verb = verb
        self._shown = not quiet and is_live()
        self._clock = clock
        self._next = 0.0
        self._start = clock()

    def __enter__(self) -> Progress:
        return self._show

    def _show(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if not self._shown or now < self._next:
            return
        self._next = now + 0.1
        rate = done / max(now - self._start, 0.001)
        kind, _, digest = what.partition(" sha256:")
        # of a stream nobody knows how long it is: total is 0
        parts = [f"{self._verb} {100 * done // total:3d} %", f"{human(done)} of {human(total)}"] if total else []
        parts = parts or [self._verb, human(done)]
        # a rate of the first moment says nothing of the rest
        if done and now - self._start >= 1:
            parts += [f"{human(int(rate))}/s", *([f"{duration((total - done) / rate)} left"] if total else [])]
        parts.append(f"{kind} {digest[:12]}" if digest else kind)
        write(f"\r\x1b[K{shorten('  '.join(parts), size()[0] - 1)}")

    def __exit__(self, *_: object) -> None:
        if self._shown:
            write("\r\x1b[K")
