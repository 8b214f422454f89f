"""Where the results of a process go (a terminal without every letter, a pipe that nobody reads), and how it ends."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def escape() -> None:
    """What stdout cannot encode, such as a stray byte of a file or of its name, is printed escaped from now on."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """OSError where what was printed cannot be written."""
    # None where it was closed from the start
    if sys.stdout:
        sys.stdout.flush()


def give_up() -> None:
    """What is left of the output is dropped where it cannot be written: else Python says so at exit, with code 120."""
    try:
        flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> None:
    """Ends the process. After a failure no thread is waited for: it may hang on a registry that says nothing."""
    threading = sys.modules.get("threading")
    if code and threading is not None and threading.active_count() > 1:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
