"""For Pythons without ``shutil``: what the loader's modules, and argparse and tempfile, ask of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def which(name: str) -> str | None:
    """The file on ``PATH`` that this command is."""
    there = (Path(directory) / name for directory in os.get_exec_path())
    return next((str(path) for path in there if path.is_file() and os.access(path, os.X_OK)), None)


def get_terminal_size() -> os.terminal_size:
    try:
        return os.get_terminal_size()
    except OSError:
        return os.terminal_size((80, 24))


def rmtree(
    path: str,
    ignore_errors: bool = False,
    onerror: Callable[..., object] | None = None,
    *,
    onexc: Callable[..., object] | None = None,
) -> None:
    """tempfile's directories, which nobody else writes to. Those who want to hear of errors get them raised."""
    for directory, _, files in os.walk(path, topdown=False):
        for name in files:
            Path(directory, name).unlink()
        Path(directory).rmdir()
