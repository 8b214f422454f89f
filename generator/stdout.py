"""Where results go: a terminal without every letter, a pipe that nobody reads any more, a full disk."""

from __future__ import annotations

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
