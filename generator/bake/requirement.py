"""One row of ``fategen doctor``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Row:
    """One requirement. ``missing``: bake does not work; ``note``: something else does not, or only for some images."""

    name: str
    state: State
    found: str
    needed: str
    get: str = ""
    without: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)
