"""stdout that cannot show or take every byte (a plain terminal, a closed pipe, a full disk), and how a process ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable

from generator.errors import FategenError, refused
from generator.progress import say


def show(output_format: str, document: object, text: str, *, err: bool = False) -> None:
    """Print a result as ``--format`` asks for it; with ``err`` to standard error."""
    out = sys.stderr if err else sys.stdout
    print(json.dumps(document, indent=2) if output_format == "json" else text, file=out, flush=True)


def escape() -> None:
    """From now on, print escaped what stdout cannot encode, such as a stray byte of a file name."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def run(command: Callable[[], object]) -> int:
    """Run a command; its exit code. An error becomes a message on stderr, Ctrl-C becomes 130."""
    escape()
    try:
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
    """Drop the output that cannot be written; otherwise Python complains at exit, with code 120."""
    try:
        flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> None:
    """End the process. No thread is waited for: it may hang on a registry that never answers."""
    import threading

    if threading.active_count() > 1:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
