"""The engines that bundles are loaded into, each asked by its own command what it has."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field

from tests.e2e.conftest import docker


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def _full(name: str) -> str:
    return name if name.startswith(("localhost", "sha256:")) else f"docker.io/{name}"


@dataclass(frozen=True)
class DockerTarget:
    """As the others: ``by_diff_id``: it takes layers that it has by diff id, as a graphdriver does."""

    host: str
    by_diff_id: bool
    into: str = "docker"

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.host}

    def docker(self, *args: str, check: bool = True) -> str:
        return docker("--host", self.host, *args, check=check)

    def inspect(self, name: str, what: str) -> str:
        """A part of what it says of an image; "" where it has none."""
        return self.docker("image", "inspect", "--format", what, name, check=False)

    def ids(self, *names: str) -> dict[str, str]:
        """Name → ID of those that are there, also of those that the engine hides."""
        found = {name: self.inspect(name, "{{.Id}}") for name in names}
        return {name: identity for name, identity in found.items() if identity}

    @property
    def keeps_indexes(self) -> bool:
        return not self.by_diff_id

    def _saved(self, name: str) -> str:
        """What ``docker save`` gives away of an image, as tar lists it; nothing where it fails."""
        save = subprocess.Popen(["docker", "save", name], env={**os.environ, **self.env}, stdout=subprocess.PIPE)
        listed = subprocess.run(["tar", "-t"], stdin=save.stdout, capture_output=True, text=True, check=True).stdout
        return "" if save.wait() else listed

    def holds(self, name: str, digests: set[str]) -> bool:
        """Whether it gives these blobs away with the image."""
        return digests <= {f"sha256:{line.rpartition('/')[2]}" for line in self._saved(name).splitlines()}

    def whole(self, name: str) -> bool:
        """Whether the engine can give the image away again with all of its layers."""
        listed = self._saved(name)
        # the whole: an image that lacks a blob has no .RootFS.Layers
        layers = (json.loads(self.inspect(name, "{{json .}}"))["RootFS"] or {}).get("Layers")
        saved = listed.count("/layer.tar") or listed.count("blobs/sha256/") - listed.count("blobs/sha256/\n")
        return bool(layers) and saved >= len(layers)

    def remove(self, *names: str) -> None:
        """Takes names away, and images by their IDs that it keeps without one."""
        self.docker("image", "rm", "--force", *names, check=False)


@dataclass(frozen=True)
class PodmanTarget:
    into: str = "podman"
    by_diff_id: bool = False
    keeps_indexes: bool = False
    env: dict[str, str] = field(default_factory=dict)

    def ids(self, *names: str) -> dict[str, str]:
        """Listed, since podman takes a short name for that of any registry."""
        lines = _run("podman", "image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        words = [line.removeprefix("docker.io/").split() for line in lines.stdout.splitlines()]
        return {name: identity for name, identity in words if name in names}

    def whole(self, name: str) -> bool:
        return _run("podman", "save", "--output", "/dev/null", _full(name)).returncode == 0

    def remove(self, *names: str) -> None:
        _run("podman", "image", "rm", "--ignore", *map(_full, names))


@dataclass(frozen=True)
class ContainerdTarget:
    namespace: str
    address: str
    by_diff_id: bool = False
    keeps_indexes: bool = True

    @property
    def into(self) -> str:
        return f"containerd:{self.namespace}"

    @property
    def env(self) -> dict[str, str]:
        return {"CONTAINERD_ADDRESS": self.address}

    def _ctr(self, *args: str) -> str:
        return _run("ctr", "--address", self.address, "--namespace", self.namespace, *args).stdout

    def ids(self, *names: str) -> dict[str, str]:
        lines = [line.split() for line in self._ctr("images", "ls").splitlines()[1:]]
        found = {words[0].removeprefix("docker.io/"): words[2] for words in lines}
        return {name: found[name] for name in names if name in found}

    def holds(self, name: str, digests: set[str]) -> bool:
        return digests <= set(self._ctr("content", "ls", "--quiet").split())

    def whole(self, name: str) -> bool:
        lines = self._ctr("images", "check", f"name=={_full(name)}").splitlines()[1:]
        return [line.split()[3] for line in lines] == ["complete"]

    def remove(self, *names: str) -> None:
        # --sync: their blobs are gone, too, when it returns
        self._ctr("images", "rm", "--sync", *map(_full, names))


Target = DockerTarget | PodmanTarget | ContainerdTarget


def target(kind: str, namespace: str) -> Target:
    """The engine of this kind; KeyError names the variable that the sandbox sets for it."""
    if kind == "podman":
        return PodmanTarget()
    if kind == "containerd":
        return ContainerdTarget(namespace, os.environ["FATEGEN_SANDBOX_CONTAINERD"])
    return DockerTarget(os.environ[KINDS[kind]], by_diff_id="containerd" not in kind)


KINDS = {
    "docker 28, containerd store": "FATEGEN_SANDBOX_DOCKER28_CONTAINERD",
    "docker, containerd store": "DOCKER_HOST",
    "docker, graphdriver": "FATEGEN_SANDBOX_GRAPHDRIVER",
    "docker 20.10": "FATEGEN_SANDBOX_DOCKER20",
    "docker 28, graphdriver": "FATEGEN_SANDBOX_DOCKER28",
    "containerd": "FATEGEN_SANDBOX_CONTAINERD",
    "podman": "PATH",
}
