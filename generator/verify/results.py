"""What a check found: one ``Result`` for each, whether the check read an image, started it, or asked a whole party."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One check of one image (or of what stands in its place, such as a path between two of a party).

    ``check`` names what was looked at (``/data/projects/fate/roll/conf``, ``port 8011``, ``ends on SIGTERM``), and
    ``where`` is the catalogue's ``file:line`` that asks for it. ``log`` are the container's last lines, where it had
    any to say. ``seconds`` is what the check took, 0.0 where that is no time of its own, and
    ``begun`` when it began (since 1970): checks run beside each other. ``next`` is what to do about a failure that has
    a likely cause of its own.
    """

    image: str
    platform: str
    check: str
    ok: bool
    expected: str
    found: str
    where: str
    log: tuple[str, ...] = ()
    seconds: float = 0.0
    begun: float = 0.0
    next: str = ""


def failures(results: Iterable[Result]) -> tuple[Result, ...]:
    """Those that failed, in their order."""
    return tuple(result for result in results if not result.ok)
