"""Plain text tables: columns as wide as their widest cell, no line ends in spaces."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows below their head. A column whose name begins with ">" is aligned to the right."""
    right = [name.startswith(">") for name in head]
    lines = [[name.lstrip(">") for name in head], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(line[i].rjust(w) if right[i] else line[i].ljust(w) for i, w in enumerate(widths)).rstrip()
        for line in lines
    )
