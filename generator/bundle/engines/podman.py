"""Podman as an engine that bundles are loaded into (seen with 4.3, 5.4 and 5.8)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence

from generator.bundle.engines.docker import LoadPipe, known_names
from generator.bundle.engines.loader import EngineImage, Holdings
from generator.docker.process import Docker
from generator.errors import EngineError
from generator.images.strictjson import Malformed, fields, items, text
from generator.text import without

_UNREACHABLE = "may you use it? podman info tells"


class PodmanLoader:
    """Podman. An image's ID is the digest of its config."""

    def __init__(self, podman: Docker) -> None:
        self._podman = podman

    def platform(self) -> str:
        """Its own ``os/architecture``; EngineError where it does not answer."""
        return self._podman.check(["info", "--format", "{{.Host.OS}}/{{.Host.Arch}}"], hint=_UNREACHABLE).stdout.strip()

    def reads_zstd(self) -> bool:
        """Every podman that takes a bundle."""
        return True

    def forgets_replaced(self) -> bool:
        """It keeps images without a name."""
        return False

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these names that are in ``podman image ls``."""
        there = self._podman.check(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout
        return known_names(there).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """``podman image inspect``, for each of the names that exist."""
        found = {}
        for name in names:
            done = self._podman.run(["image", "inspect", name])
            if done.ok:
                found[name] = _image(done.stdout)
            elif "image not known" not in done.stderr:
                raise self._podman.failure(done, hint=_UNREACHABLE)
        return found

    def holdings(self, names: Sequence[str] = ()) -> Holdings:
        """Nothing: of an archive of several images it wants every layer (and skips by itself what it has)."""
        return Holdings()

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[LoadPipe]:
        """``podman load`` that waits for an archive. It takes images of any platform."""
        with self._podman.stream_in(["load", "--quiet"]) as child:
            yield LoadPipe(self._podman, child, "podman info tells more; is its disk full?")

    def tag(self, image: str, name: str) -> None:
        """``podman image tag``; EngineError when it fails."""
        self._podman.check(["image", "tag", image, name])

    def untag(self, name: str) -> None:
        """``podman image rm``; by force only where a container still uses the image (``untag`` keeps it then)."""
        done = self._podman.run(["image", "rm", name])
        if not done.ok and "in use" in done.stderr:
            done = self._podman.run(["untag", name])
        if not done.ok and "image not known" not in done.stderr:
            raise self._podman.failure(done)


def _image(output: str) -> EngineImage:
    try:
        found = fields(items(json.loads(output), "its output")[0], "its output", ("Id", "RootFS"))
        layers = items(fields(found["RootFS"], "RootFS", ()).get("Layers") or [], "Layers")
        identity = without("sha256:", text(found["Id"], "Id"))
        return EngineImage(f"sha256:{identity}", tuple(text(layer, "Layers") for layer in layers))
    except (ValueError, IndexError) as error:
        reason = error if isinstance(error, Malformed) else output[:80]
        raise EngineError(f"podman image inspect said what fategen does not understand: {reason}") from None
