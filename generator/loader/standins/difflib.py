"""For Pythons without ``difflib``: no name is near another, so no message suggests one."""

from __future__ import annotations

from collections.abc import Sequence


def get_close_matches(word: str, possibilities: Sequence[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
    return []
