"""How damage is told: what, which images need it, which bytes of the file, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.bundle.format.base import short_root
from generator.bundle.format.members import Contents
from generator.errors import BundleError

_SHOWN = 20
"""places that a message lists; ``DamagedError.damages`` has all"""


@dataclass(frozen=True)
class Damage:
    """One damaged place: bytes ``start`` to ``end`` (exclusive) of the whole, ``where`` that is in words.

    ``missing``: the file ends before it.
    """

    what: str
    images: tuple[str, ...]
    start: int
    end: int
    reason: str
    where: str = ""
    missing: bool = False

    def __str__(self) -> str:
        users = ", ".join(self.images[:8]) + (f" and {len(self.images) - 8} more" if len(self.images) > 8 else "")
        users = f" ({users})" if users else ""
        return f"{self.what}{users}, {self.where}, {self.reason}"


class DamagedError(BundleError):
    """A bundle whose bytes are not those that were saved; ``damages`` are all the places, in file order."""

    def __init__(self, message: str, damages: Sequence[Damage], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.damages = tuple(damages)


def damaged(name: str, plan: Contents, found: Sequence[Damage], outcome: str) -> DamagedError:
    """The error for a file of full length in which ``found`` is wrong."""
    if len(found) == 1:
        message = f"{name} is damaged: {found[0]}"
    else:
        message = f"{name} is damaged in {len(found):,} places{_list(found)}"
    ranges = "that range" if len(found) == 1 else "these ranges"
    hint = f"copy {ranges} again, or the whole file; the sender's root digest is {_root(plan)}"
    return DamagedError(_with(message, outcome), found, hint=hint)


def cut_short(name: str, plan: Contents, size: int, found: Sequence[Damage], outcome: str) -> DamagedError:
    """The error for a file that ends at ``size`` bytes, with ``found`` wrong before that."""
    missing = [
        Damage(m.label, m.images, max(m.offset, size), m.end, "is missing", missing=True)
        for m in plan.members
        if m.end > size
    ]
    images = list(dict.fromkeys(image for damage in missing for image in damage.images))
    lost = f"; lost: parts of {', '.join(images)}" if images else ""
    message = f"{name} is cut short: it has {size:,} of {plan.size:,} bytes{lost}"
    if found:
        message += f"\n  and before that it is damaged:{_list(found)}"
    hint = f"copy bytes {size:,}-{plan.size - 1:,} again, or the whole file; its root digest is {_root(plan)}"
    return DamagedError(_with(message, outcome), [*found, *missing], hint=hint)


def not_whole(name: str, file_size: int, size: int) -> str:
    """What ``inspect`` says of a file whose size alone tells that it is wrong."""
    if file_size < size:
        return (
            f"{name} is cut short: it has {file_size:,} of {size:,} bytes; copy bytes {file_size:,}-{size - 1:,} again"
        )
    return f"{name} has {file_size - size:,} bytes behind its end; copy it again"


def unsafe(name: str, at: int, reason: str, outcome: str) -> BundleError:
    """The error for a file that is well-formed but is not what its record says."""
    message = f"{name} is not what its record says: byte {at:,}: {reason}"
    return BundleError(_with(message, outcome), hint="do not use it; get the file again from its sender")


def _list(found: Sequence[Damage]) -> str:
    lines = [f"\n    {damage}" for damage in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"\n    and {len(found) - _SHOWN:,} more")
    return "".join(lines)


def _root(plan: Contents) -> str:
    return short_root(plan.index.root)


def _with(message: str, outcome: str) -> str:
    return f"{message}\n  {outcome}" if outcome else message
