"""The names that a load touches: what they were, whether they became what the bundle says, and the way back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from generator.bundle.engines.loader import EngineImage, Loaded, Loader
from generator.bundle.format.model import BundleIndex, Variant
from generator.errors import EngineError, FategenError
from generator.images.reference import familiar


class Tags:
    """Remembers on entry what the names of ``chosen`` stand for; puts that back when the block fails."""

    def __init__(self, engine: Loader, chosen: BundleIndex) -> None:
        self._engine = engine
        self._variants = {name: image.variants[0] for image in chosen.images for name in image.references}
        self._before: Mapping[str, EngineImage] = {}
        self._kept: dict[str, str] = {}
        self._at_stake = False

    def __enter__(self) -> Tags:
        self._before = self._engine.inspect(list(self._variants))
        if self._engine.forgets_replaced():
            for name, image in self._before.items():
                if image.id not in _ids(self._variants[name]):
                    keep = "fategen.invalid/keep:" + hashlib.sha256(name.encode()).hexdigest()[:16]
                    self._engine.tag(name, keep)
                    self._kept[name] = keep
        return self

    def at_stake(self) -> None:
        """From now on the engine may change names."""
        self._at_stake = True

    def confirm(self, said: str) -> tuple[Loaded, ...]:
        """Ask the engine what it has now; EngineError, with what it ``said``, where that is not what was sent.

        Each of the three questions catches what the others miss: containerd stores hide a broken image from the list
        (26), show it with no layers (28), and graphdrivers take a foreign config under a right name.
        """
        names = list(self._variants)
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(self._engine.listed, names)
            there, listed = self._engine.inspect(names), asked.result()
        problems = []
        for name, variant in self._variants.items():
            image = there.get(name)
            if image is None or name not in listed:
                problems.append(f"{familiar(name)} is not there")
            elif image.layers != tuple(layer.diff_id for layer in variant.layers):
                problems.append(f"{familiar(name)} has other layers than the bundle")
            elif image.id not in _ids(variant):
                problems.append(f"{familiar(name)} is {image.id}, neither its manifest nor its config")
        if problems:
            lines = "".join(f"\n    {problem}" for problem in problems)
            words = said.strip().splitlines()
            last = f"\n  its last words: {words[-1]}" if words else ""
            raise EngineError(f"the engine did not take the bundle as it is:{lines}{last}", hint="is its disk full?")
        return tuple(
            Loaded(name, variant.platform, there[name].id, self._before[name].id if name in self._before else "")
            for name, variant in self._variants.items()
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost: list[str] = []
        try:
            if error is not None and self._at_stake:
                lost = self._restore()
        finally:
            for name, keep in self._kept.items():
                if name not in lost:
                    self._engine.untag(keep)
        if lost:
            ways = ", ".join(f"{familiar(n)} → {self._kept.get(n) or self._before[n].id}" for n in lost)
            raise EngineError(f"{error}\n  and these names could not be put back: {ways}", hint="docker tag them")
        if isinstance(error, FategenError) and self._at_stake:
            raise EngineError(f"{error.message}\n  every name is what it was before", hint=error.hint) from error

    def _restore(self) -> list[str]:
        """Put every name back; the names for which that failed."""
        lost = []
        now = self._engine.inspect(list(self._variants))
        for name in self._variants:
            before = self._before.get(name)
            if before is None:
                # also where nothing is seen: an engine may hide what it has half loaded
                self._engine.untag(name)
            elif name not in now or now[name].id != before.id:
                if name in now:
                    # what was loaded half goes for good, instead of staying without a name
                    self._engine.untag(name)
                try:
                    self._engine.tag(self._kept.get(name, before.id), name)
                except EngineError:
                    lost.append(name)
        return lost


def _ids(variant: Variant) -> tuple[str, str]:
    """What an engine may call it: a containerd store by its manifest, a graphdriver by its config."""
    return variant.manifest.digest, variant.config.digest
