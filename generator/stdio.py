"""stdout that cannot show or take every byte (a plain terminal, a closed pipe, a full disk), and how a process ends.

Standard library alone, for Python 3.8 too: the offline loader is made of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from generator.errors import FategenError, InputError, Problem, refused
from generator.progress import drop, say


def show(output_format: str, document: object, text: str, *, err: bool = False) -> None:
    """Print a result as ``--format`` asks for it; with ``err`` to standard error."""
    out = sys.stderr if err else sys.stdout
    print(json.dumps(document, indent=2) if output_format == "json" else text, file=out, flush=True)


def stdout_bytes() -> BinaryIO:
    """Standard output for binary data. Raises InputError if it was closed from the start."""
    if sys.stdout is None:
        raise InputError(Problem("standard output", "is closed"), hint="send it to a file or a pipe")
    return sys.stdout.buffer


def escape() -> None:
    """From now on, print escaped what stdout cannot encode, such as a stray byte of a file name."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def run(command: Callable[[], object]) -> int:
    """Run a command; its exit code. An error becomes a message on stderr; Ctrl-C, SIGTERM and SIGHUP become 130."""
    escape()
    if sys.stderr is None:
        # closed from the start; what is said there is lost
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        # for all of it: whatever it started or wrote is ended and removed, as after Ctrl-C
        with signals_as_exceptions():
            code = command()
            flush()
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except FategenError as error:
        say(error.render())
        return error.exit_code
    except BrokenPipeError:
        # the reader of a pipe (head, less) went away: say nothing
        give_up()
        return 141
    except OSError as error:
        refusal = refused(error)
        say(refusal.render())
        give_up()
        return refusal.exit_code
    return code if isinstance(code, int) else 0


def flush() -> None:
    """Write out what was printed. Raises OSError."""
    # None if it was closed from the start
    if sys.stdout:
        sys.stdout.flush()


def give_up() -> None:
    """Drop the output that cannot be written."""
    try:
        flush()
    except OSError:
        drop(sys.stdout)


def leave(code: int) -> None:
    """End the process. No thread is waited for: it may hang on a registry that never answers."""
    if threading.active_count() > 1:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block like Ctrl-C. Only the main thread may set handlers; elsewhere: no-op."""

    def handler(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    with _handled_by(handler, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def signals_deferred(note: str) -> Iterator[list[int]]:
    """The numbers of the signals that would end the process and came during the block, which looks at them itself.

    The first one prints the ``note``. One that comes a second or more later ends the block: what it waits for may never
    come. Only the main thread may set handlers; elsewhere none is deferred.
    """
    came: list[int] = []
    again = 0.0

    def handler(number: int, _frame: FrameType | None) -> None:
        nonlocal again
        if came and time.monotonic() > again:
            raise KeyboardInterrupt(signal.Signals(number).name)
        if not came:
            say(note)
            again = time.monotonic() + 1
        came.append(number)

    with _handled_by(handler, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield came


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # nohup has SIGHUP ignored: it stays so
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = [number for number in numbers if number != signal.SIGHUP or not ignored]
    old = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
