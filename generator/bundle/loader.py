"""What is asked of an engine that images are loaded into; ``targets`` has the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class EngineImage:
    """What an engine has behind a name: its ID, and the diff ids of its layers."""

    id: str
    layers: tuple[str, ...]


class Pipe(Protocol):
    """The engine's end of a load. ``finish`` ends it in order and returns what the engine said; EngineError: it failed.

    ``abort`` ends it so that the engine cannot take what was sent for a whole archive.
    """

    def write(self, data: bytes, /) -> object: ...

    def finish(self) -> str: ...

    def abort(self) -> None: ...


class Loader(Protocol):
    """An engine that images are loaded into."""

    def platform(self) -> str:
        """``os/architecture`` that it runs."""

    def forgets_replaced(self) -> bool:
        """Whether an image that loses its last name is gone at once (so that a name must keep it meanwhile)."""

    def listed(self) -> frozenset[str]:
        """The full references of all images that it lists."""

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """What it has behind full references; those without an image are left out."""

    def open_load(self) -> AbstractContextManager[Pipe]:
        """Starts to take an archive."""

    def tag(self, image: str, name: str) -> None:
        """Gives an image (a reference or an ID) a name."""

    def untag(self, name: str) -> None:
        """Takes a name away; the image too where it was its last. No error where there is none."""


@dataclass(frozen=True)
class Loaded:
    """One name that was loaded. ``before`` is the ID that it had, "" where it was not there."""

    reference: str
    platform: str
    id: str
    before: str

    @property
    def state(self) -> Literal["new", "same", "replaced"]:
        return "new" if not self.before else "same" if self.before == self.id else "replaced"
