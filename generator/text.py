"""Text for people: sizes, times, version numbers, tables, and lines cut to the width of a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

WIDTH = 80
"""Columns that output takes, if its words let it."""
Version: TypeAlias = "tuple[int, int, int]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> str:
    """The rows below their head, in columns as wide as their widest cell. A name that begins with ">" aligns right.

    With ``width``, cells are wrapped between words so that a line is no longer than that, if its words let it.
    """
    right = [name.startswith(">") for name in head]
    lines = [[name.lstrip(">") for name in head], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    if width:
        words = [max(len(word) for line in lines for word in line[i].split(" ")) for i in range(len(head))]
        usual = [sorted(len(line[i]) for line in lines)[len(lines) // 2] for i in range(len(head))]
        while sum(widths) + 2 * (len(head) - 1) > width and widths != words:
            # the one with the most room beside its usual cell: few rows are wrapped
            emptiest = max((i for i in range(len(head)) if widths[i] > words[i]), key=lambda i: widths[i] - usual[i])
            widths[emptiest] -= 1
        wrapped = ([wrap(cell, w).split("\n") for cell, w in zip(line, widths)] for line in lines)  # noqa: B905
        lines = [part for cells_of in wrapped for part in zip_longest(*cells_of, fillvalue="")]
    return "\n".join(
        "  ".join(line[i].rjust(w) if right[i] else line[i].ljust(w) for i, w in enumerate(widths)).rstrip()
        for line in lines
    )


def wrap(text: str, width: int = WIDTH, indent: str = "", hanging: str = "") -> str:
    """The words of a text in lines of this width, each behind ``indent``, all but the first behind ``hanging``, too;
    a longer word is not broken."""
    import textwrap

    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fold(text: str, width: int) -> str:
    """The text, with lines that are longer than this folded between words; what is folded is indented further."""
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        long = cells(line) > width > len(indent) + 20
        lines.append(wrap(line.lstrip(), width, indent, "  ") if long else line)
    return "\n".join(lines)


def short_digest(digest: str) -> str:
    """``sha256:91c19792…``, for a table; "" for no digest."""
    return digest[:15] + "…" if digest else ""


def replaced_line(images: Iterable[tuple[str, str]]) -> str:
    """Which of these images replaced another in the registry, with its digest ("" if not); "" if none did."""
    replaced = [f"{name} (was {short_digest(digest)})" for name, digest in images if digest]
    return f"replaced in the registry: {', '.join(replaced)}" if replaced else ""


def cells(text: str) -> int:
    """The columns that a terminal needs for it (Unicode TR11: wide characters take two; combining ones none)."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def one_line(step: str) -> str:
    """A step's name: of a script, the comment that begins it; of another RUN step, the command without its mounts."""
    text = printable(re.sub(r"--mount=\S+ ", "", " ".join(step.split())))
    script = re.fullmatch(r"RUN <<\S+ \(# ?(.+?)(?:\.\.\.)?\)", text)
    return script[1] if script else text


def printable(text: str) -> str:
    """Somebody else's words for a terminal: an escape code in them must not move its cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shorten(text: str, width: int) -> str:
    """At most ``width`` columns of it."""
    if cells(text) <= width:
        return text
    kept, left = "", width - 1
    for char in text:
        left -= _cell(char)
        if left < 0:
            break
        kept += char
    return kept + "…" if width > 0 else ""


def without(prefix: str, text: str) -> str:
    """``text.removeprefix(prefix)``, which Python 3.8 lacks: what ``fategen-load.pyz`` is made of runs there."""
    return text[len(prefix) :] if text.startswith(prefix) else text


def duration(seconds: float) -> str:
    """``4.2 s``, ``1m02s``, ``1h02m``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def human(size: int) -> str:
    """A number of bytes with a unit of a thousand: ``84 MB``, ``1.2 GB``, ``512 B``."""
    value, unit, larger = float(size), "B", ["kB", "MB", "GB"]
    while value >= 999.5 and larger:
        value, unit = value / 1000, larger.pop(0)
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:,.0f} {unit}"


def timestamp(text: str) -> float:
    """RFC 3339 with nanoseconds, as Go writes it -> seconds since 1970; 0 if it is no time."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", text)
    if not match:
        return 0.0
    # before Python 3.11, fromisoformat takes neither nine digits nor a Z
    return datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp() + float(match[2] or 0)


def union_length(spans: Sequence[tuple[float, float]]) -> float:
    """The time that intervals cover together; if they overlap it is counted once."""
    total, end = 0.0, float("-inf")
    for begin, finish in sorted(spans):
        total += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return total


def parse_version(text: str) -> Version | None:
    """The first version number in a text: ``v0.29.1``, ``0.13.1+ds1-3``, ``0.17``. None if there is none."""
    match = re.search(r"(?<![\w.])v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def show_version(version: Version) -> str:
    return ".".join(map(str, version))


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
