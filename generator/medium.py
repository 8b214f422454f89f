"""Asks at the terminal for the next medium of a bundle in parts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.bundle.format.source import Ask


def ask_for_medium() -> Ask | None:
    """How to ask, None where nobody is there to answer."""
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _ask(missing: str) -> Path | None:
    words = "put in the next medium, then name its directory (nothing: give up): "
    print(f"\n{missing}\n{words}", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    return Path(answer) if answer else None
