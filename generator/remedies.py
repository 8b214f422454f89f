"""How to get what a machine lacks: the next steps that engine errors and ``fategen doctor`` share."""

from __future__ import annotations

import re

from generator.errors import EngineError

GET_DOCKER = (
    "install Docker Engine with buildx 0.13 or later (docs.docker.com/engine/install; on Debian 13: "
    "apt-get install docker.io docker-cli docker-buildx)"
)
GET_BUILDX = (
    "install docker-buildx-plugin (Docker's own packages) or docker-buildx (Debian 13, Ubuntu), or put the "
    "docker-buildx binary into ~/.docker/cli-plugins"
)
GET_PERMISSION = (
    'join the group of the socket ("sudo usermod -aG docker $USER", then log in again), or run a rootless engine'
)
GET_DAEMON = "start it (systemctl start docker), or set DOCKER_HOST or docker context use to one that runs"

_NO_DAEMON = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|error during connect", re.IGNORECASE
)
_NO_PERMISSION = re.compile(r"permission denied.*(docker\.sock|daemon socket|docker api)", re.IGNORECASE)
_NO_BUILDX = re.compile(r"unknown command: docker buildx|'buildx' is not a docker command")
_ADDRESS = re.compile(r"\b((?:unix|tcp|ssh|http|https)://[^\s\"',;]+?)(?=[\s\"',;]|: |\.? |\.?$)")


def explain(output: str) -> EngineError | None:
    """The reason in a failed docker command's output that has a known next step: daemon, permission or buildx."""
    found = _ADDRESS.search(output)
    where = f" at {found[1]}" if found else ""
    if _NO_PERMISSION.search(output):
        return EngineError(f"no permission to use the Docker daemon{where}", hint=GET_PERMISSION)
    if _NO_DAEMON.search(output):
        return EngineError(f"no Docker daemon answers{where}", hint=GET_DAEMON)
    if _NO_BUILDX.search(output):
        return EngineError("docker has no buildx plugin; fategen needs 0.13 or later", hint=GET_BUILDX)
    return None
