"""How damage is reported: what, which images need it, which bytes of the file, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.bundle.format import Contents
from generator.bundle.index import short_root
from generator.errors import BundleError

_SHOWN = 20
"""places that a message lists; ``DamagedError.damages`` has all"""


@dataclass(frozen=True)
class Damage:
    """One damaged place: bytes ``start`` to ``end`` (exclusive) of the file. ``missing``: the file ends before it."""

    what: str
    images: tuple[str, ...]
    start: int
    end: int
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        users = ", ".join(self.images[:8]) + (f" and {len(self.images) - 8} more" if len(self.images) > 8 else "")
        users = f" ({users})" if users else ""
        return f"{self.what}{users}, bytes {self.start:,}-{self.end - 1:,} of the file, {self.reason}"


class DamagedError(BundleError):
    """A bundle whose bytes are not those that were saved; ``damages`` are all the places, in file order."""

    def __init__(self, message: str, damages: Sequence[Damage], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.damages = tuple(damages)


def damaged(name: str, contents: Contents, damages: Sequence[Damage], outcome: str) -> DamagedError:
    """The error for a file of full length. ``outcome`` ends the message: what became of the command."""
    if len(damages) == 1:
        message = f"{name} is damaged: {damages[0]}"
    else:
        message = f"{name} is damaged in {len(damages):,} places{_list(damages)}"
    ranges = "that range" if len(damages) == 1 else "these ranges"
    hint = f"copy {ranges} again, or the whole file; the sender's root digest is {short_root(contents.index.root)}"
    return DamagedError(_with(message, outcome), damages, hint=hint)


def cut_short(name: str, contents: Contents, size: int, damages: Sequence[Damage], outcome: str) -> DamagedError:
    """The error for a file that ends at ``size`` bytes, with ``damages`` before that."""
    missing = [
        Damage(m.label, m.images, max(m.offset, size), m.end, "is missing", missing=True)
        for m in contents.members
        if m.end > size
    ]
    images = list(dict.fromkeys(image for damage in missing for image in damage.images))
    lost = f"; lost: parts of {', '.join(images)}" if images else ""
    message = f"{name} is cut short: it has {size:,} of {contents.size:,} bytes{lost}"
    if damages:
        message += f"\n  and before that it is damaged:{_list(damages)}"
    root = short_root(contents.index.root)
    hint = f"copy bytes {size:,}-{contents.size - 1:,} again, or the whole file; its root digest is {root}"
    return DamagedError(_with(message, outcome), [*damages, *missing], hint=hint)


def wrong_size(name: str, file_size: int, size: int) -> str:
    """What ``inspect`` says of a file whose size alone shows that it is wrong."""
    if file_size < size:
        missing = f"{file_size:,}-{size - 1:,}"
        return f"{name} is cut short: it has {file_size:,} of {size:,} bytes; copy bytes {missing} again"
    return f"{name} has {file_size - size:,} bytes after its end; copy it again"


def unsafe(name: str, at: int, reason: str, outcome: str) -> BundleError:
    """The error for a file that is a well-formed tar but does not match its index."""
    message = f"{name} does not match its bundle index: byte {at:,}: {reason}"
    return BundleError(_with(message, outcome), hint="do not use it; get the file again from its sender")


def _list(damages: Sequence[Damage]) -> str:
    lines = [f"\n    {damage}" for damage in damages[:_SHOWN]]
    if len(damages) > _SHOWN:
        lines.append(f"\n    and {len(damages) - _SHOWN:,} more")
    return "".join(lines)


def _with(message: str, outcome: str) -> str:
    return f"{message}\n  {outcome}" if outcome else message
