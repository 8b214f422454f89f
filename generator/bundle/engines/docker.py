"""Docker as an engine that bundles are loaded into, and what ``podman`` and ``containerd`` share with it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from generator.bundle.engines.docker_socket import SocketPipe
from generator.bundle.engines.loader import EngineImage, Holdings, Pipe
from generator.docker.process import Child, Docker, signals_as_exceptions
from generator.docker.socket import connect
from generator.errors import EngineError
from generator.images import reference

ABSENT = "the engine has no image of this name"
FIND = "fategen bake all --load puts ours there, docker pull others; docker image ls lists what there is"
"""The next step for it."""
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


class _Engine(NamedTuple):
    platform: str
    containerd_store: bool
    version: str
    podman: bool


class DockerLoader:
    """Docker, with either image store. Commands and flags used exist since Docker 18.09."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def platform(self) -> str:
        """The engine's ``os/architecture``; EngineError where it does not answer."""
        return self._engine.platform

    @property
    def containerd_store(self) -> bool:
        """Which of its two image stores it has."""
        return self._engine.containerd_store

    @functools.cached_property
    def _engine(self) -> _Engine:
        """What is to be known of it, asked for at the same time."""
        asked = (
            ["version", "--format", "{{.Server.Os}}/{{.Server.Arch}} {{.Server.Version}} {{.Server.Components}}"],
            ["info", "--format", "{{json .DriverStatus}}"],
        )
        with self._docker.start(asked[0]) as version, self._docker.start(asked[1]) as info:
            said = [child.finish() for child in (version, info)]
        for done in said:
            if not done.ok:
                raise self._docker.failure(done, hint=_UNREACHABLE)
        platform, number, components = (said[0].stdout.strip() + "  ").split(" ", 2)
        return _Engine(platform, "io.containerd.snapshotter" in said[1].stdout, number, "Podman" in components)

    def reads_zstd(self) -> bool:
        """A containerd store does, a graphdriver from Docker 23 on, and podman, which may answer on Docker's socket."""
        major = self._engine.version.partition(".")[0]
        return self.containerd_store or self._engine.podman or not major.isdigit() or int(major) >= 23

    def forgets_replaced(self) -> bool:
        """A containerd store does (seen on Docker 26): what lost its last name may be collected at once."""
        return self.containerd_store

    def holdings(self, names: Sequence[str] = ()) -> Holdings:
        """The layers of all its images; of a containerd store the images that it lists and shows with layers.

        Docker 26 does not list an image that lacks a blob, 28 shows it with no layers.
        """
        listed = self._list("{{.ID}}", names if self.containerd_store else (), "--all", "--no-trunc").split()
        found = self.inspect(tuple(dict.fromkeys(listed))).values()
        if self.containerd_store:
            return Holdings(manifests=frozenset(image.id for image in found if image.layers))
        return Holdings(chains=frozenset(image.layers for image in found))

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these names that are in ``docker image ls``."""
        return known_names(self._list("{{.Repository}}:{{.Tag}}", names)).intersection(names)

    def _list(self, form: str, names: Sequence[str], *flags: str) -> str:
        """``docker image ls`` of these names, or of all: a containerd store adds up the sizes of each, 10 ms long."""
        wanted = [f"--filter=reference={reference.familiar(name)}" for name in names]
        return self._docker.check(["image", "ls", "--format", form, *flags, *wanted]).stdout

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """``docker image inspect`` of all at once: it shows those that are there, with every name that they have."""
        if not names:
            return {}
        form = "{{json .Id}}\t{{json .RootFS.Layers}}\t{{json .RepoTags}}\t{{.Os}}/{{.Architecture}}"
        done = self._docker.run(["image", "inspect", "--format", form, *names])
        absent = done.stderr.lower().count("no such image")
        if not done.ok and not absent:
            raise self._docker.failure(done, hint=_UNREACHABLE)
        # where nothing is there, some docker prints an empty line
        shown = [_shown(line) for line in done.stdout.splitlines() if line]
        if len(names) == 1:
            return {names[0]: shown[0][0]} if shown else {}
        known = {called: image for image, calls in shown for called in calls}
        found = {name: known[full] for name in names for full in known_names(name) | {name} if full in known}
        if len(found) + absent < len(names):
            # an image without the name that it was asked for
            found.update(item for n in names if n not in found for item in self.inspect([n]).items())
        return found

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[Pipe]:
        """``docker load`` that waits for an archive. It takes images of any platform."""
        hint = "docker info and the engine's log tell more; is its disk full?"
        if connection := connect(self._docker.socket):
            with signals_as_exceptions(), contextlib.closing(connection):
                yield SocketPipe(self._docker, connection, hint)
        else:
            with self._docker.stream_in(["load"]) as child:
                yield LoadPipe(self._docker, child, hint)

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


def _shown(line: str) -> tuple[EngineImage, frozenset[str]]:
    """An image, and all that it may be called: its ID, and the full references of its tags."""
    try:
        *values, platform = line.split("\t")
        identity, layers, tags = map(json.loads, values)
    except ValueError:
        raise EngineError(f"docker image inspect said {line[:80]!r}", hint="which docker is this?") from None
    image = EngineImage(str(identity), tuple(str(layer) for layer in layers or ()), platform)
    return image, known_names("\n".join(tags or ())) | {image.id}
