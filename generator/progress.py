"""What is written to stderr: messages, and one line of progress if stderr is a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from generator.text import duration, fold, human, shorten

_ASCII = str.maketrans({"✓": "v", "✗": "x", "·": ".", "…": ".", **dict.fromkeys("⠋⠹⠼⠦⠇", "/"),
                        **dict.fromkeys("⠙⠸⠴⠧⠏", "-")})  # fmt: skip
"""ASCII for the signs of progress; each is one column wide."""


class Progress(Protocol):
    """Called with what is being done, the bytes done and the bytes in all (0: unknown); it may raise to stop."""

    def __call__(self, what: str, done: int, total: int, /) -> None: ...


def quiet(_what: str, _done: int, _total: int) -> None:
    """Shows no progress."""


def say(text: str) -> None:
    """Prints a message or a note; results go to stdout instead. A terminal gets its lines folded between words.

    If stderr takes nothing any more (nobody reads the pipe, its disk is full), the command goes on without messages.
    """
    text = fold(text, _columns()) if sys.stderr.isatty() else text
    _write(f"\r\x1b[K{text}\n" if Bar.on_screen else f"{text}\n")


def drop(stream: TextIO) -> None:
    """From now on, what is written there goes nowhere; otherwise Python complains at exit, with code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BlockingIOError:
        pass  # a terminal that takes no more for now
    except OSError:
        drop(sys.stderr)


def is_live() -> bool:
    """Whether stderr is a terminal whose cursor can be moved."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def displayable(text: str) -> str:
    """The text, with signs of progress in ASCII if stderr cannot encode them."""
    try:
        text.encode(sys.stderr.encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII)
    return text


class Bar:
    """One line while it lasts: what is done, bytes, rate and time left; nothing if there is no terminal."""

    on_screen = False

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
        parts = [f"{self._verb} {100 * done // total:3d} %", f"{human(done)} of {human(total)}"] if total else []
        parts = parts or [self._verb, human(done)]
        # the rate of the first moment says nothing of the rest
        if done and now - self._start >= 1:
            parts += [f"{human(int(rate))}/s", *([f"{duration((total - done) / rate)} left"] if total else [])]
        parts.append(f"{kind} {digest[:12]}" if digest else kind)
        Bar.on_screen = True
        _write(f"\r\x1b[K{displayable(shorten('  '.join(parts), _columns() - 1))}")

    def __exit__(self, *_: object) -> None:
        if self._shown:
            Bar.on_screen = False
            _write("\r\x1b[K")


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
