"""What is asked of an engine that images are loaded into: Docker, podman and containerd are beside this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class EngineImage:
    """What an engine has behind a name: its ID, the diff ids of its layers, and (of Docker) what it would start."""

    id: str
    layers: tuple[str, ...]
    platform: str = ""


@dataclass(frozen=True)
class Holdings:
    """What an engine need not be sent again.

    ``chains`` are the diff ids of its images, from the lowest layer up: a graphdriver takes a layer that stands on the
    same layers from there. ``manifests`` are those of images that are whole in a containerd store, blobs and all. (That
    such a store has a layer by diff id is no help: seen on Docker 26, 28 and ctr, the image then has a hole that only a
    later save or push shows.)
    """

    chains: frozenset[tuple[str, ...]] = frozenset()
    manifests: frozenset[str] = frozenset()


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

    def reads_zstd(self) -> bool:
        """Whether it unpacks layers in zstd."""

    def forgets_replaced(self) -> bool:
        """Whether an image that loses its last name is gone at once (so that a name must keep it meanwhile)."""

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these full references that it lists."""

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """What it has behind full references; those without an image are left out."""

    def holdings(self, names: Sequence[str] = ()) -> Holdings:
        """What it need not be sent again; ``names``: of its images, those with these names are enough."""

    def open_load(self, platform: str) -> AbstractContextManager[Pipe]:
        """Starts to take an archive of images for this platform."""

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
