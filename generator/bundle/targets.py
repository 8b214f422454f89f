"""Docker as an engine that bundles are loaded into, and what ``podman`` and ``containerd`` share with it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence

from generator.bundle import reference
from generator.bundle.loader import EngineImage, Holdings
from generator.engine import Child, Docker
from generator.errors import EngineError

_UNREACHABLE = "is it running, and may you use it? docker version tells"


class LoadPipe:
    """A running ``docker load``, or what another engine calls it. ``hint`` is the next step when it fails."""

    def __init__(self, engine: Docker, child: Child, hint: str) -> None:
        self._engine, self._child, self._hint = engine, child, hint

    def write(self, data: bytes, /) -> object:
        return self._child.pipe.write(data)

    def finish(self) -> str:
        done = self._child.finish()
        if not done.ok:
            raise self._engine.failure(done, hint=self._hint)
        return self._engine.redact(done.stdout + done.stderr)

    def abort(self) -> None:
        self._child.abort()


class DockerLoader:
    """Docker, with either image store. Commands and flags used exist since Docker 18.09."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def platform(self) -> str:
        """The engine's ``os/architecture``; EngineError where it does not answer."""
        args = ["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]
        return self._docker.check(args, hint=_UNREACHABLE).stdout.strip()

    @functools.cached_property
    def containerd_store(self) -> bool:
        """Which of its two image stores it has."""
        status = self._docker.check(["info", "--format", "{{json .DriverStatus}}"], hint=_UNREACHABLE).stdout
        return "io.containerd.snapshotter" in status

    def forgets_replaced(self) -> bool:
        """A containerd store does (seen on Docker 26): what lost its last name may be collected at once."""
        return self.containerd_store

    def holdings(self) -> Holdings:
        """The layers of all its images; of a containerd store the images that it lists and shows with layers.

        Docker 26 does not list an image that lacks a blob, 28 shows it with no layers.
        """
        ids = self._docker.check(["image", "ls", "--all", "--quiet", "--no-trunc"]).stdout.split()
        found = self.inspect(tuple(dict.fromkeys(ids))).values() if ids else ()
        if self.containerd_store:
            return Holdings(manifests=frozenset(image.id for image in found if image.layers))
        return Holdings(chains=frozenset(image.layers for image in found))

    def listed(self) -> frozenset[str]:
        """Every name in ``docker image ls``."""
        return known_names(self._docker.check(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """``docker image inspect``, once when all are there, else once for each."""
        done = self._docker.run(["image", "inspect", "--format", "{{json .Id}}\t{{json .RootFS.Layers}}", *names])
        lines = done.stdout.splitlines()
        if done.ok and len(lines) == len(names):
            return {name: _image(lines[number]) for number, name in enumerate(names)}
        if len(names) > 1:
            return {name: image for n in names for name, image in self.inspect([n]).items()}
        if "no such image" not in done.stderr.lower():
            raise self._docker.failure(done, hint=_UNREACHABLE)
        return {}

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[LoadPipe]:
        """``docker load`` that waits for an archive. It takes images of any platform."""
        with self._docker.stream_in(["load"]) as child:
            yield LoadPipe(self._docker, child, "docker info and the engine's log tell more; is its disk full?")

    def tag(self, image: str, name: str) -> None:
        """``docker tag``; EngineError when it fails."""
        self._docker.check(["image", "tag", image, name])

    def untag(self, name: str) -> None:
        """``docker image rm``; by force only where a container still uses the image (which then stays)."""
        done = self._docker.run(["image", "rm", name])
        if not done.ok and "conflict" in done.stderr:
            done = self._docker.run(["image", "rm", "--force", name])
        if not done.ok and "no such image" not in done.stderr.lower():
            raise self._docker.failure(done)


def known_names(output: str) -> frozenset[str]:
    """The full references in an engine's list of names, one a line."""
    found = set()
    for name in output.split("\n"):
        # <none> and what only this engine takes for a name cannot be a name of a bundle
        with contextlib.suppress(ValueError):
            found.add(reference.normalise(name))
    return frozenset(found)


def _image(line: str) -> EngineImage:
    identity, _, layers = line.partition("\t")
    try:
        return EngineImage(str(json.loads(identity)), tuple(str(layer) for layer in json.loads(layers) or ()))
    except ValueError:
        raise EngineError(f"docker image inspect said {line[:80]!r}", hint="which docker is this?") from None
