"""The engines that bundles are loaded into, behind one interface: Docker, podman and containerd."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from generator.docker.process import Child, Docker, find_docker, find_program
from generator.errors import EngineError, InputError, Problem, did_you_mean
from generator.images import reference
from generator.images.oci import MANIFEST_TYPES, parse_config, parse_manifest
from generator.images.strictjson import Malformed, fields, items, text
from generator.text import without

NOT_IN_ENGINE = "the engine has no image of this name"
GET_IMAGES = "fategen bake all --load loads your own images, docker pull others; docker image ls lists them"
"""The next step for it."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7"}
_KINDS = ("docker", "podman", "containerd")
_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


@dataclass(frozen=True)
class EngineImage:
    """What an engine has under a name: its ID, the diff ids of its layers, and (of Docker) its platform."""

    id: str
    layers: tuple[str, ...]
    platform: str = ""


@dataclass(frozen=True)
class Present:
    """What an engine need not be sent again.

    ``chains`` are the diff ids of its images, from the lowest layer up: a graphdriver takes a layer that sits on the
    same layers from there. ``manifests`` are those of images that are whole in a containerd store, blobs and all. (That
    such a store has a layer by diff id is no help: seen on Docker 26, 28 and ctr, the image then has a hole that only a
    later save or push shows.)
    """

    chains: frozenset[tuple[str, ...]] = frozenset()
    manifests: frozenset[str] = frozenset()


class Pipe(Protocol):
    """An engine's end of a load. ``finish`` ends it and returns the engine's output; EngineError: it failed.

    Left without ``finish``, by an exception, it ends so that the engine cannot take what was sent for an archive.
    """

    def write(self, data: bytes, /) -> object: ...

    def finish(self) -> str: ...


class Engine(Protocol):
    """An engine that images are loaded into. Names are full references."""

    def platform(self) -> str:
        """``os/architecture`` that it runs. EngineError where it does not answer."""

    def reads_zstd(self) -> bool:
        """Whether it unpacks layers in zstd."""

    def drops_untagged(self) -> bool:
        """Whether an image that loses its last name is gone at once (so that another name must keep it meanwhile)."""

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these names that it lists."""

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """What it has under these names; those without an image are left out."""

    def present(self, names: Sequence[str] = ()) -> Present:
        """What it need not be sent again; of its images, those with these names are enough."""

    def open_load(self, platform: str) -> contextlib.AbstractContextManager[Pipe]:
        """Start to load an archive of images for this platform."""

    def tag(self, image: str, name: str) -> None:
        """Give an image (a reference or an ID) a name. EngineError when it fails."""

    def untag(self, name: str) -> None:
        """Remove a name, and the image too where it was its last. No error where there is none."""


def engine_called(name: str) -> Engine:
    """``docker``, ``podman``, ``containerd`` or ``containerd:NAMESPACE`` (``default`` where it names none).

    InputError: no such kind of engine; EngineError: its command is not installed.
    """
    kind, colon, namespace = name.partition(":")
    if kind not in _KINDS or (colon and (kind != "containerd" or not _NAMESPACE.fullmatch(namespace))):
        known = "docker, podman, containerd or containerd:NAMESPACE"
        wrong = f"{name!r} is not an engine{did_you_mean(kind, _KINDS)}; there are {known}"
        raise InputError(Problem("--into", wrong))
    if kind == "docker":
        return DockerEngine(find_docker())
    if kind == "podman":
        return PodmanEngine(find_program("podman"))
    return ContainerdEngine(find_program("ctr"), namespace or "default")


class _LoadPipe:
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


def _full_names(output: str) -> frozenset[str]:
    """The full references in an engine's list of names, one a line."""
    names = set()
    for name in output.split("\n"):
        # <none> and what only this engine takes for a name cannot be a name of a bundle
        with contextlib.suppress(ValueError):
            names.add(reference.normalise(name))
    return frozenset(names)


class _DockerFacts(NamedTuple):
    platform: str
    containerd_store: bool
    version: str
    podman: bool


class DockerEngine:
    """Docker, with either image store. Commands and flags used exist since Docker 18.09."""

    _UNREACHABLE = "is it running, and may you use it? see docker version"

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    def platform(self) -> str:
        return self._facts.platform

    @property
    def containerd_store(self) -> bool:
        """Which of its two image stores it has."""
        return self._facts.containerd_store

    @functools.cached_property
    def _facts(self) -> _DockerFacts:
        """Two commands, at the same time."""
        asked = (
            ["version", "--format", "{{.Server.Os}}/{{.Server.Arch}} {{.Server.Version}} {{.Server.Components}}"],
            ["info", "--format", "{{json .DriverStatus}}"],
        )
        with self._docker.start(asked[0]) as version, self._docker.start(asked[1]) as info:
            results = [child.finish() for child in (version, info)]
        for done in results:
            if not done.ok:
                raise self._docker.failure(done, hint=self._UNREACHABLE)
        platform, number, components = (results[0].stdout.strip() + "  ").split(" ", 2)
        containerd_store = "io.containerd.snapshotter" in results[1].stdout
        return _DockerFacts(platform, containerd_store, number, "Podman" in components)

    def reads_zstd(self) -> bool:
        """A containerd store does, a graphdriver from Docker 23 on, and podman, which may answer on Docker's socket."""
        major = self._facts.version.partition(".")[0]
        return self.containerd_store or self._facts.podman or not major.isdigit() or int(major) >= 23

    def drops_untagged(self) -> bool:
        """A containerd store does (seen on Docker 26): what lost its last name may be collected at once."""
        return self.containerd_store

    def present(self, names: Sequence[str] = ()) -> Present:
        """The layers of all its images; of a containerd store the images that it lists and shows with layers.

        Docker 26 does not list an image that lacks a blob, 28 shows it with no layers.
        """
        listed = self._list("{{.ID}}", names if self.containerd_store else (), "--all", "--no-trunc").split()
        images = self.inspect(tuple(dict.fromkeys(listed))).values()
        if self.containerd_store:
            return Present(manifests=frozenset(image.id for image in images if image.layers))
        return Present(chains=frozenset(image.layers for image in images))

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        return _full_names(self._list("{{.Repository}}:{{.Tag}}", names)).intersection(names)

    def _list(self, form: str, names: Sequence[str], *flags: str) -> str:
        """``docker image ls`` of these names, or of all: a containerd store adds up the sizes of each, 10 ms long."""
        wanted = [f"--filter=reference={reference.familiar(name)}" for name in names]
        return self._docker.check(["image", "ls", "--format", form, *flags, *wanted]).stdout

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """``docker image inspect`` of all at once: it shows those that it has, with every name that they have."""
        if not names:
            return {}
        form = "{{json .Id}}\t{{json .RootFS.Layers}}\t{{json .RepoTags}}\t{{.Os}}/{{.Architecture}}"
        done = self._docker.run(["image", "inspect", "--format", form, *names])
        missing = done.stderr.lower().count("no such image")
        if not done.ok and not missing:
            raise self._docker.failure(done, hint=self._UNREACHABLE)
        # where there is no image, some docker prints an empty line
        shown = [_shown_image(line) for line in done.stdout.splitlines() if line]
        if len(names) == 1:
            return {names[0]: shown[0][0]} if shown else {}
        by_name = {name: image for image, image_names in shown for name in image_names}
        images = {name: by_name[full] for name in names for full in _full_names(name) | {name} if full in by_name}
        if len(images) + missing < len(names):
            # an image without the name that it was asked for
            images.update(item for n in names if n not in images for item in self.inspect([n]).items())
        return images

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[Pipe]:
        """``docker load``, which takes images of any platform."""
        with self._docker.start(["load"], feed=True) as child:
            yield _LoadPipe(self._docker, child, "see docker info and the engine's log; is its disk full?")

    def tag(self, image: str, name: str) -> None:
        self._docker.check(["image", "tag", image, name])

    def untag(self, name: str) -> None:
        """By force only where a container still uses the image (which then stays)."""
        done = self._docker.run(["image", "rm", name])
        if not done.ok and "conflict" in done.stderr:
            done = self._docker.run(["image", "rm", "--force", name])
        if not done.ok and "no such image" not in done.stderr.lower():
            raise self._docker.failure(done)


def _shown_image(line: str) -> tuple[EngineImage, frozenset[str]]:
    """An image, and all that it may be called: its ID, and the full references of its tags."""
    try:
        *values, platform = line.split("\t")
        identity, layers, tags = map(json.loads, values)
    except ValueError:
        raise EngineError(
            f"unexpected output of docker image inspect: {line[:80]!r}", hint="which version of docker is this?"
        ) from None
    image = EngineImage(str(identity), tuple(str(layer) for layer in layers or ()), platform)
    return image, _full_names("\n".join(tags or ())) | {image.id}


class PodmanEngine:
    """Podman (seen with 4.3, 5.4 and 5.8). An image's ID is the digest of its config."""

    _UNREACHABLE = "may you use it? see podman info"

    def __init__(self, podman: Docker) -> None:
        self._podman = podman

    def platform(self) -> str:
        form = "{{.Host.OS}}/{{.Host.Arch}}"
        return self._podman.check(["info", "--format", form], hint=self._UNREACHABLE).stdout.strip()

    def reads_zstd(self) -> bool:
        """Every podman that takes a bundle."""
        return True

    def drops_untagged(self) -> bool:
        """It keeps images without a name."""
        return False

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        output = self._podman.check(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout
        return _full_names(output).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        images = {}
        for name in names:
            done = self._podman.run(["image", "inspect", name])
            if done.ok:
                images[name] = _podman_image(done.stdout)
            elif "image not known" not in done.stderr:
                raise self._podman.failure(done, hint=self._UNREACHABLE)
        return images

    def present(self, names: Sequence[str] = ()) -> Present:
        """Nothing: of an archive of several images it wants every layer (and skips by itself what it has)."""
        return Present()

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[Pipe]:
        """``podman load``, which takes images of any platform."""
        with self._podman.start(["load", "--quiet"], feed=True) as child:
            yield _LoadPipe(self._podman, child, "see podman info; is its disk full?")

    def tag(self, image: str, name: str) -> None:
        self._podman.check(["image", "tag", image, name])

    def untag(self, name: str) -> None:
        """Where a container still uses the image, it stays."""
        done = self._podman.run(["image", "rm", name])
        if not done.ok and "in use" in done.stderr:
            done = self._podman.run(["untag", name])
        if not done.ok and "image not known" not in done.stderr:
            raise self._podman.failure(done)


def _podman_image(output: str) -> EngineImage:
    try:
        image = fields(items(json.loads(output), "its output")[0], "its output", ("Id", "RootFS"))
        layers = items(fields(image["RootFS"], "RootFS", ()).get("Layers") or [], "Layers")
        identity = without("sha256:", text(image["Id"], "Id"))
        return EngineImage(f"sha256:{identity}", tuple(text(layer, "Layers") for layer in layers))
    except (ValueError, IndexError) as error:
        reason = error if isinstance(error, Malformed) else output[:80]
        raise EngineError(f"unexpected output of podman image inspect: {reason}") from None


class ContainerdEngine:
    """One namespace of a containerd on this machine (seen with 1.6, 1.7 and 2.1). An ID is a manifest's digest.

    ``ctr`` takes the address of containerd from ``CONTAINERD_ADDRESS``.
    """

    _UNREACHABLE = "is containerd running, and may you use it? CONTAINERD_ADDRESS sets its socket"

    def __init__(self, ctr: Docker, namespace: str) -> None:
        self._ctr = ctr
        self._namespace = ("--namespace", namespace)

    def platform(self) -> str:
        """That of this machine: containerd is reached by a socket on it."""
        return f"linux/{_MACHINES.get(platform.machine(), platform.machine())}"

    def reads_zstd(self) -> bool:
        """It does since 1.5."""
        return True

    def drops_untagged(self) -> bool:
        """Its garbage collector removes what has no name."""
        return True

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset(name for name, (_, _, whole) in self._images().items() if whole).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """The manifest behind each name, and the layers that its config names; no layers where it is not whole."""
        images = {}
        for name, (digest, media_type, whole) in self._images().items():
            if name in names:
                images[name] = EngineImage(digest, self._layers(digest, media_type) if whole else ())
        return images

    def present(self, names: Sequence[str] = ()) -> Present:
        """The images that are whole."""
        return Present(manifests=frozenset(digest for digest, _, whole in self._images().values() if whole))

    @contextlib.contextmanager
    def open_load(self, platform: str) -> Iterator[Pipe]:
        """``ctr images import``, which unpacks for this platform."""
        args = [*self._namespace, "images", "import", "--platform", platform, "-"]
        with self._ctr.start(args, feed=True) as child:
            yield _LoadPipe(self._ctr, child, self._UNREACHABLE)

    def tag(self, image: str, name: str) -> None:
        self._ctr.check([*self._namespace, "images", "tag", "--force", image, name])

    def untag(self, name: str) -> None:
        self._ctr.check([*self._namespace, "images", "rm", name])

    def _images(self) -> dict[str, tuple[str, str, bool]]:
        """Name → digest, media type, whether the image is whole."""
        images = {}
        lines = self._ctr.check([*self._namespace, "images", "check"], hint=self._UNREACHABLE).stdout.splitlines()
        for line in lines[1:]:
            words = line.split()
            # REF TYPE DIGEST STATUS (n/m) …
            if len(words) > 3 and _full_names(words[0]):
                images[words[0]] = (words[2], words[1], words[3] == "complete")
        return images

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
