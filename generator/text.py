"""Text for one line of a terminal: how wide it is, cut to a width; times and sizes for people."""

from __future__ import annotations

import re
import unicodedata


def cells(text: str) -> int:
    """The columns that a terminal needs for it (Unicode TR11: wide characters take two; combining ones none)."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def one_line(step: str) -> str:
    """A step's name, without the mounts of a RUN step, which say little of what it does."""
    return printable(re.sub(r"--mount=\S+ ", "", " ".join(step.split())))


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
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:,.0f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def _cell(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
