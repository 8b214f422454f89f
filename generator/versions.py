"""Version numbers, as docker, buildx and BuildKit say them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

Version: TypeAlias = "tuple[int, int, int]"


def show(version: Version) -> str:
    return ".".join(map(str, version))


def parse_version(text: str) -> Version | None:
    """The first version number in a text: ``v0.29.1``, ``0.13.1+ds1-3``, ``0.17``. None where there is none."""
    found = re.search(r"(?<![\w.])v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
