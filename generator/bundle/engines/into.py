"""The engine that ``--into`` names."""

from __future__ import annotations

import re

from generator.bundle.engines.containerd import ContainerdLoader
from generator.bundle.engines.docker import DockerLoader
from generator.bundle.engines.loader import Loader
from generator.bundle.engines.podman import PodmanLoader
from generator.docker.process import find_docker, find_program
from generator.errors import InputError, Problem, did_you_mean

_KNOWN = ("docker", "podman", "containerd")
_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


def engine_called(name: str) -> Loader:
    """``docker``, ``podman``, ``containerd`` or ``containerd:NAMESPACE`` (``default`` where it names none).

    InputError: no such kind of engine; EngineError: its command is not installed.
    """
    kind, colon, namespace = name.partition(":")
    if kind not in _KNOWN or (colon and (kind != "containerd" or not _NAMESPACE.fullmatch(namespace))):
        known = "docker, podman, containerd or containerd:NAMESPACE"
        raise InputError(Problem("--into", f"{name!r} is no engine{did_you_mean(kind, _KNOWN)}; there are {known}"))
    if kind == "docker":
        return DockerLoader(find_docker())
    if kind == "podman":
        return PodmanLoader(find_program("podman"))
    return ContainerdLoader(find_program("ctr"), namespace or "default")
