"""Sends an engine what it needs of a bundle and of its bases, in one canonical stream."""

from __future__ import annotations

from generator.bundle.engines.loader import Pipe
from generator.bundle.format.archive import TRAILER, header, padding
from generator.bundle.format.members import Contents, Expected, blob_name, loader_files
from generator.bundle.format.model import BundleIndex
from generator.bundle.supply import Supply
from generator.errors import BundleError


class Sender:
    """Passes on the blobs that the engine needs, and holds the rest back until ``release``.

    Layers of a base come where they would stand in a whole bundle. A blob is padded only when it was right; after the
    first wrong one the engine is cut off, while the rest of the file is still checked, so that one run tells all of the
    damage.
    """

    def __init__(self, pipe: Pipe, plan: Contents, chosen: BundleIndex, supply: Supply, outcome: str) -> None:
        self._pipe, self._outcome = pipe, outcome
        self._wanted = {blob_name(digest) for digest in chosen.blobs() if digest not in supply.there}
        self._wanted |= {member.name for member in plan.members if member.role == "directory"}
        self._rank = {digest: number for number, digest in enumerate(plan.index.blobs())}
        self._borrowed = sorted(supply.borrowed, key=lambda one: self._rank[one.member.digest])
        self._sending = False
        self._cut = False

    def begin(self, member: Expected) -> None:
        if member.role == "layer":
            self._lend(self._rank[member.digest])
        self._sending = member.name in self._wanted and not self._cut
        if self._sending:
            self._pipe.write(header(member.name, member.size))

    def data(self, chunk: bytes) -> None:
        if self._sending:
            self._pipe.write(chunk)

    def end(self, member: Expected, good: bool) -> None:
        if not good:
            self._stop()
        if self._sending and not self._cut:
            self._pipe.write(bytes(padding(member.size)))
        self._sending = False

    def rest(self) -> None:
        """Send the layers of bases that come behind the last layer of the bundle. DamagedError: one is damaged."""
        self._lend(len(self._rank))

    def release(self, chosen: BundleIndex) -> None:
        """Send what makes an archive of it."""
        for name, content in loader_files(chosen):
            self._pipe.write(header(name, len(content)) + content + bytes(padding(len(content))))
        self._pipe.write(TRAILER)

    def _lend(self, before: int) -> None:
        while self._borrowed and self._rank[self._borrowed[0].member.digest] < before and not self._cut:
            one = self._borrowed.pop(0)
            self._pipe.write(header(one.member.name, one.member.size))
            try:
                for chunk in one.chunks(self._outcome):
                    self._pipe.write(chunk)
            except BundleError:
                self._stop()
                raise
            self._pipe.write(bytes(padding(one.member.size)))

    def _stop(self) -> None:
        if not self._cut:
            self._cut = True
            self._pipe.abort()
