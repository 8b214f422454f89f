"""``Settings`` + ``Line`` + selection -> ``Plan``. (shape only; the planner comes with the next commits)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["builder", "base", "component", "third-party"]


@dataclass(frozen=True)
class Context:
    """One entry of a bake target's ``contexts``: ``value`` is ``target:x``, ``docker-image://ref``, a git URL or a path."""

    name: str
    value: str


@dataclass(frozen=True)
class SkippedPlatform:
    """A platform that the settings ask for and the image does not have, and why."""

    platform: str
    reason: str


@dataclass(frozen=True)
class Target:
    """One bake target. ``name`` is the image's name; a builder has no tags and is never pushed.

    ``dockerfile`` is the path of the rendered file relative to the project, "" for an inline ``FROM`` (third-party).
    """

    name: str
    kind: Kind
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    skipped: tuple[SkippedPlatform, ...]
    contexts: tuple[Context, ...]
    dockerfile: str
    parents: tuple[str, ...]
    """names of the targets that it is linked to (``from`` and ``needs``), in build order"""


@dataclass(frozen=True)
class Group:
    name: str
    targets: tuple[str, ...]
