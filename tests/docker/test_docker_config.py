"""Which engine docker talks to, found without asking docker."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from generator.docker.config import find_socket


def program(path: Path, content: bytes = b"\x7fELF") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def docker(tmp_path: Path) -> str:
    return program(tmp_path / "bin/docker")


def test_the_engines_socket_is_the_one_that_docker_would_take(docker: str, tmp_path: Path) -> None:
    home = tmp_path / "home/.docker"
    for name, host in (("near", "unix:///run/near.sock"), ("far", "ssh://far")):
        kept = home / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
        kept.mkdir(parents=True)
        (kept / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))

    def found(config: dict[str, object], **environment: str) -> str:
        (home / "config.json").write_text(json.dumps(config))
        return find_socket(docker, {"HOME": str(tmp_path / "home"), **environment})

    assert found({}) == "/var/run/docker.sock"
    assert found({"currentContext": "near"}) == "/run/near.sock"
    assert found({"currentContext": "near"}, DOCKER_CONTEXT="default") == "/var/run/docker.sock"
    assert found({"currentContext": "far"}, DOCKER_CONTEXT="near") == "/run/near.sock"
    assert found({"currentContext": "far"}, DOCKER_HOST="unix:///run/mine.sock") == "/run/mine.sock"


def test_an_engine_behind_no_such_socket_is_left_to_docker(docker: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    assert find_socket(docker, {**home, "DOCKER_HOST": "tcp://10.0.0.5:2376"}) == ""
    assert find_socket(docker, {**home, "DOCKER_HOST": "10.0.0.5"}) == ""
    assert find_socket(docker, {**home, "DOCKER_CONTEXT": "gone"}) == ""
    assert find_socket(program(tmp_path / "sudo/docker", b"#!/bin/sh\n"), home) == ""
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text('{"HttpHeaders": {"X-Meta": "for a proxy before the engine"}}')
    assert find_socket(docker, home) == ""
