"""The engines that bundles are loaded into, behind one interface: Docker, podman and containerd."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from generator.config.reference import familiar, normalize
from generator.docker import engine as docker_engine
from generator.docker.process import Docker, find_program
from generator.errors import EngineError, InputError, Problem, did_you_mean
from generator.images.oci import INDEX_TYPES, parse_config, parse_index, parse_manifest
from generator.images.strictjson import Malformed
from generator.text import printable, without

NOT_IN_ENGINE = "the engine has no image of this name"
_KINDS = ("docker", "podman", "containerd")
_NOT_UNPACKED = re.compile(r"Error unpacking image \S+: apply layer error .*")
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

    ``chains`` are the diff ids of a graphdriver's images, from the lowest layer up: it takes a layer on the same layers
    from there. ``manifests`` are those of images that are whole in a containerd store, or the indexes of which its own
    platform is. (A layer that it has by diff id is no help: on Docker 26, 28 and ctr the image then has a hole.)
    """

    chains: frozenset[tuple[str, ...]] = frozenset()
    manifests: frozenset[str] = frozenset()


class Engine:
    """An engine that images are loaded into by its command, as docker and podman have it. Names are full references.

    Methods raise EngineError if the engine does not answer or refuses."""

    _load: Sequence[str] = ("load",)
    _full = "is its disk full?"
    _unreachable = "is it running, and may you use it?"
    _missing, _in_use = "no such image", "conflict"
    """Its messages for an image that it does not have, and for one that a container still uses."""
    _remove_used: Sequence[str] = ("image", "rm", "--force")
    """Takes the name of such an image, which stays."""
    needs_every_layer = False
    """Whether an archive must have all layers of its images, also those that the engine has."""

    def __init__(self, command: Docker) -> None:
        self._command = command

    def platform(self) -> str:
        """``os/architecture`` that it runs."""
        raise NotImplementedError

    def reads_zstd(self) -> bool:
        """Whether it unpacks layers in zstd."""
        return True

    @property
    def containerd_store(self) -> bool:
        """Whether containerd has its images: one of several platforms stays one, with the digest that registries know,
        and what lost its last name may be deleted at once (seen on Docker 26): another name must keep it meanwhile."""
        return False

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these names that it lists."""
        return _full_names(self._list("{{.Repository}}:{{.Tag}}", names).split("\n")).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """What it has under these names; those without an image are left out."""
        return {name: image for name in names for image, _ in self._inspect([name])[0]}

    def present(self, names: Sequence[str] = ()) -> Present:
        """What it need not be sent again; of its images, those with these names are enough."""
        return Present()

    def load(self, platform: str, pieces: Iterable[bytes]) -> str:
        """Load the archive of images that ``pieces`` make, for this platform ("": all), and return the engine's output.

        When ``pieces`` raises, the engine is stopped so that it cannot take what it got for a whole archive.
        """
        with self._command.start([*self._load, *self._for_platform(platform)], feed=True) as child:
            for piece in pieces:
                child.pipe.write(piece)
            done = child.finish()
        if not done.ok:
            raise self._command.failure(done, hint=self._full)
        return self._command.redact(done.stdout + done.stderr)

    def tag(self, image: str, name: str) -> None:
        """Give an image (a reference or an ID) a name."""
        self._command.check(["image", "tag", image, name])

    def untag(self, name: str) -> None:
        """Remove a name, and the image with its last name. No error if the name does not exist."""
        done = self._command.run(["image", "rm", name])
        if not done.ok and self._in_use in done.stderr:
            done = self._command.run([*self._remove_used, name])
        if not done.ok and self._missing not in done.stderr.lower():
            raise self._command.failure(done)

    def _for_platform(self, platform: str) -> Sequence[str]:
        return ()

    def _list(self, form: str, names: Sequence[str], *flags: str) -> str:
        return self._command.check(["image", "ls", "--format", form, *flags]).stdout

    def _inspect(self, names: Sequence[str]) -> tuple[list[tuple[EngineImage, frozenset[str]]], int]:
        """Those of these images that it has, each with all its names and IDs, and how many it reports as missing."""
        # the whole: a template that names .RootFS.Layers fails for an image without layers
        done = self._command.run(["image", "inspect", "--format", "{{json .}}", *names])
        missing = done.stderr.lower().count(self._missing)
        if not done.ok and not missing:
            raise self._command.failure(done, hint=self._unreachable)
        # if there is no image, some docker prints an empty line
        return [_shown_image(line) for line in done.stdout.split("\n") if line], missing


def engine_from_name(name: str) -> Engine:
    """``docker``, ``podman``, ``containerd`` or ``containerd:NAMESPACE``. EngineError if its command is missing."""
    kind, colon, namespace = name.partition(":")
    if kind not in _KINDS or (colon and (kind != "containerd" or not _NAMESPACE.fullmatch(namespace))):
        known = "docker, podman, containerd or containerd:NAMESPACE"
        wrong = f"{name!r} is not an engine{did_you_mean(kind, _KINDS)}; there are {known}"
        raise InputError(Problem("--into", wrong))
    if kind == "docker":
        hint = "install Docker Engine with this site's packages, or choose another engine with --into"
        return DockerEngine(find_program("docker", hint))
    if kind == "podman":
        return PodmanEngine(find_program("podman"))
    return ContainerdEngine(find_program("ctr"), namespace or "default")


def _full_names(listed: Iterable[str]) -> frozenset[str]:
    """The full references among the names that an engine lists."""
    names = set()
    for name in listed:
        # <none> and what only this engine takes for a name cannot be a name of a bundle
        with contextlib.suppress(ValueError):
            names.add(normalize(name))
    return frozenset(names)


def _shown_image(line: str) -> tuple[EngineImage, frozenset[str]]:
    """An image, and all that it may be called: its ID, and the full references of its tags."""
    try:
        shown = json.loads(line)
        layers, tags = (shown.get("RootFS") or {}).get("Layers") or (), shown.get("RepoTags") or ()
        identity = "sha256:" + without("sha256:", shown["Id"])
        platform = f"{shown.get('Os', '')}/{shown.get('Architecture', '')}"
        if shown.get("Variant"):
            platform += f"/{shown['Variant']}"
        image = EngineImage(identity, tuple(map(str, layers)), platform)
    except (ValueError, LookupError, TypeError, AttributeError):
        message = f"unexpected output of image inspect: {line[:80]!r}"
        raise EngineError(message, hint="check the engine's version") from None
    return image, _full_names(tags) | {image.id}


class DockerEngine(Engine):
    """Docker, with either image store."""

    _unreachable = "is it running, and may you use it? see docker version"
    _full = "see docker info and the engine's log; is its disk full?"

    @functools.cached_property
    def _facts(self) -> docker_engine.Engine:
        facts = docker_engine.ask_engine(self._command)
        if facts.problem is not None:
            raise facts.problem
        return facts

    def platform(self) -> str:
        return self._facts.platform

    @property
    def containerd_store(self) -> bool:
        return self._facts.store == "containerd"

    def reads_zstd(self) -> bool:
        """A containerd store does, a graphdriver from Docker 23 on, and podman, which may answer on Docker's socket."""
        major = self._facts.version.partition(".")[0]
        # podman's versions began anew: 1 to 5
        return self.containerd_store or not major.isdigit() or not 17 <= int(major) < 23

    def present(self, names: Sequence[str] = ()) -> Present:
        """The layers of all its images; of a containerd store the images that it lists and shows with layers.

        Docker 26 does not list an image that lacks a blob, 28 shows it with no layers.
        """
        listed = self._list("{{.ID}}", names if self.containerd_store else (), "--all", "--no-trunc").split()
        images = self.inspect(tuple(dict.fromkeys(listed))).values()
        if self.containerd_store:
            return Present(manifests=frozenset(image.id for image in images if image.layers))
        return Present(chains=frozenset(image.layers for image in images))

    def load(self, platform: str, pieces: Iterable[bytes]) -> str:
        """As every engine's; and EngineError for a layer that it cannot unpack: Docker 28 says so and exits with 0."""
        output = super().load(platform, pieces)
        if found := _NOT_UNPACKED.search(output):
            hint = "the image was damaged before it was saved, or the engine's disk is full (docker info)"
            raise EngineError(f"docker load: {printable(found[0])}", hint=hint)
        return output

    def _list(self, form: str, names: Sequence[str], *flags: str) -> str:
        """These names alone, or all for none: a containerd store adds up the sizes of each, 10 ms long."""
        # a reference there is a pattern of Go's path.Match, and an IPv6 registry would be a class of characters
        patterns = (familiar(name).replace("[", r"\[") for name in names)
        return super()._list(form, names, *flags, *(f"--filter=reference={pattern}" for pattern in patterns))

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """All in one command, which shows those that it has, with every name that they have."""
        if len(names) < 2:
            return super().inspect(names)
        shown, missing = self._inspect(names)
        by_name = {name: image for image, image_names in shown for name in image_names}
        images = {name: by_name[full] for name in names for full in _full_names([name]) | {name} if full in by_name}
        if len(images) + missing < len(names):
            # an image without the requested name
            images.update(super().inspect([name for name in names if name not in images]))
        return images


class PodmanEngine(Engine):
    """Podman (seen with 4.3, 5.4 and 5.8). An image's ID is the digest of its config.

    Nothing counts as ``present``: of an archive of several images it wants every layer (and skips what it has).
    """

    _load = ("load", "--quiet")
    _unreachable = "may you use it? see podman info"
    _full = "see podman info; is its disk full?"
    _missing, _in_use, _remove_used = "image not known", "in use", ("untag",)
    needs_every_layer = True

    def platform(self) -> str:
        form = "{{.Host.OS}}/{{.Host.Arch}}"
        return self._command.check(["info", "--format", form], hint=self._unreachable).stdout.strip()


class ContainerdEngine(Engine):
    """One namespace of a containerd on this machine (seen with 1.6, 1.7 and 2.1). An ID is a manifest's digest."""

    _unreachable = _full = "is containerd running, and may you use it? CONTAINERD_ADDRESS sets its socket"

    def __init__(self, ctr: Docker, namespace: str) -> None:
        super().__init__(ctr)
        self._namespace = ("--namespace", namespace)
        self._load = (*self._namespace, "images", "import")

    def platform(self) -> str:
        """That of this machine: containerd is reached by a socket on it."""
        return docker_engine.engine_platform("linux", platform.machine())

    @property
    def containerd_store(self) -> bool:
        return True

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset(name for name, (_, _, whole) in self._images().items() if whole).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        """What is behind each name, and the layers that its config names; no layers if it is not whole."""
        images = {}
        for name, (digest, media_type, whole) in self._images().items():
            if name in names:
                images[name] = EngineImage(digest, self._layers(digest, media_type) if whole else ())
        return images

    def present(self, names: Sequence[str] = ()) -> Present:
        """The images that are whole."""
        return Present(manifests=frozenset(digest for digest, _, whole in self._images().values() if whole))

    def tag(self, image: str, name: str) -> None:
        self._ctr("images", "tag", "--force", image, name)

    def untag(self, name: str) -> None:
        self._ctr("images", "rm", name)

    def _for_platform(self, platform: str) -> Sequence[str]:
        return ("--platform", platform, "-") if platform else ("--all-platforms", "-")

    def _images(self) -> dict[str, tuple[str, str, bool]]:
        """Name → digest, media type, whether the image is whole."""
        images = {}
        for line in self._ctr("images", "check").splitlines()[1:]:
            words = line.split()
            # REF TYPE DIGEST STATUS (n/m) …
            if len(words) > 3 and _full_names(words[:1]):
                images[words[0]] = (words[2], words[1], words[3] == "complete")
        return images

    def _layers(self, digest: str, media_type: str) -> tuple[str, ...]:
        try:
            data = self._ctr("content", "get", digest).encode()
            if media_type in INDEX_TYPES:
                own = [child for child in parse_index(data, media_type) if child.platform == self.platform()]
                return self._layers(own[0].descriptor.digest, own[0].descriptor.media_type) if own else ()
            manifest = parse_manifest(data, media_type)
            return parse_config(self._ctr("content", "get", manifest.config.digest).encode()).diff_ids
        except Malformed:
            return ()

    def _ctr(self, *args: str) -> str:
        return self._command.check([*self._namespace, *args], hint=self._unreachable).stdout
