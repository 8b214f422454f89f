"""The programs on ``PATH`` that fategen starts."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from generator.docker.config import find_plugin, find_socket
from generator.docker.process import Docker
from generator.docker.remedies import GET_DOCKER
from generator.errors import EngineError


def find_docker() -> Docker:
    """The docker command on ``PATH``. EngineError where there is none."""
    docker = find_program("docker", GET_DOCKER)
    buildx = find_plugin("buildx", docker.binary, os.environ)
    return replace(docker, buildx=buildx, socket=find_socket(docker.binary, os.environ))


def find_program(name: str, hint: str = "") -> Docker:
    """An engine's command on ``PATH`` (docker, podman, ctr). EngineError where there is none."""
    binary = shutil.which(name)
    if binary is None:
        raise EngineError(f"{name} is not installed (no {name} command on PATH)", hint=hint or f"install {name}")
    return Docker(binary)


def find_git() -> Docker | None:
    """The git command on ``PATH``, None where there is none: only the state of local sources needs it."""
    return Docker(binary) if (binary := shutil.which("git")) else None
