"""A containerd (Kubernetes' own, say) as an engine that bundles are loaded into, through its ``ctr``.

``ctr`` takes the address of containerd from ``CONTAINERD_ADDRESS``. Seen with 1.6, 1.7 and 2.1.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence

from generator.bundle.engines.docker import LoadPipe, known_names
from generator.bundle.engines.loader import EngineImage, Holdings
from generator.docker.process import Docker
from generator.images.oci import MANIFEST_TYPES, parse_config, parse_manifest
from generator.images.strictjson import Malformed

_UNREACHABLE = "is containerd running, and may you use it? CONTAINERD_ADDRESS names its socket"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7"}


class ContainerdLoader:
    """One namespace of a containerd on this machine. An image's ID is the digest of its manifest."""

    def __init__(self, ctr: Docker, namespace: str) -> None:
        self._ctr = ctr
        self._namespace = ("--namespace", namespace)

    def platform(self) -> str:
        """``os/architecture`` of this machine: containerd is reached by a socket on it."""
        return f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"

    def reads_zstd(self) -> bool:
        """It does, but for 1.4 and before, of which nobody takes care any more."""
        return True

    def forgets_replaced(self) -> bool:
        """Its garbage collector takes what has no name."""
        return True

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these names whose images are there with every blob."""
        return frozenset(name for name, (_, _, whole) in self._images().items() if whole).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """The manifest behind each name, and the layers that its config names; no layers where it is not whole."""
        images = self._images()
        found = {}
        for name in names:
            if name in images:
                digest, media_type, whole = images[name]
                found[name] = EngineImage(digest, self._layers(digest, media_type) if whole else ())
        return found

    def holdings(self, names: Sequence[str] = ()) -> Holdings:
        """The images that are whole."""
        return Holdings(manifests=frozenset(digest for digest, _, whole in self._images().values() if whole))

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[LoadPipe]:
        """``ctr images import`` that waits for an archive; it unpacks for this platform."""
        args = [*self._namespace, "images", "import", "--platform", platform, "-"]
        with self._ctr.stream_in(args) as child:
            yield LoadPipe(self._ctr, child, _UNREACHABLE)

    def tag(self, image: str, name: str) -> None:
        """``ctr images tag``; EngineError when it fails."""
        self._ctr.check([*self._namespace, "images", "tag", "--force", image, name])

    def untag(self, name: str) -> None:
        """``ctr images rm``, which does not mind a name that is not there."""
        self._ctr.check([*self._namespace, "images", "rm", name])

    def _images(self) -> dict[str, tuple[str, str, bool]]:
        """Name → digest, media type, whether all of it is there."""
        found = {}
        checked = self._ctr.check([*self._namespace, "images", "check"], hint=_UNREACHABLE).stdout.splitlines()
        for line in checked[1:]:
            words = line.split()
            # REF TYPE DIGEST STATUS (n/m) …
            if len(words) > 3 and known_names(words[0]):
                found[words[0]] = (words[2], words[1], words[3] == "complete")
        return found

    def _layers(self, digest: str, media_type: str) -> tuple[str, ...]:
        if media_type not in MANIFEST_TYPES:
            return ()
        try:
            manifest = parse_manifest(self._content(digest), media_type)
            return parse_config(self._content(manifest.config.digest)).diff_ids
        except Malformed:
            return ()

    def _content(self, digest: str) -> bytes:
        return self._ctr.check([*self._namespace, "content", "get", digest]).stdout.encode()
