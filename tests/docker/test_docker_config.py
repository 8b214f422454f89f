"""Which program ``docker buildx`` is, found without asking docker."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from generator.docker import config as docker_config
from generator.docker.config import find_plugin, find_socket
from generator.docker.process import Docker


def program(path: Path, content: bytes = b"\x7fELF", mode: int = 0o755) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A docker whose system-wide plugins are in ``tmp_path/system``."""
    monkeypatch.setattr(docker_config, "SYSTEM_PLUGINS", (str(tmp_path / "system"),))
    return program(tmp_path / "bin/docker")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_a_users_own_plugin_goes_before_the_systems(tmp_path: Path, docker: str, environment: dict[str, str]) -> None:
    assert find_plugin("buildx", docker, environment) == ""
    system = program(tmp_path / "system/docker-buildx")
    assert find_plugin("buildx", docker, environment) == system
    own = program(tmp_path / "home/.docker/cli-plugins/docker-buildx")
    assert find_plugin("buildx", docker, environment) == own


def test_directories_of_the_configuration_go_first(tmp_path: Path, docker: str) -> None:
    extra = program(tmp_path / "extra/docker-buildx")
    program(tmp_path / "config/cli-plugins/docker-buildx")
    (tmp_path / "config/config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(tmp_path / "extra")]}))
    assert find_plugin("buildx", docker, {"DOCKER_CONFIG": str(tmp_path / "config")}) == extra


def test_what_cannot_be_run_is_left_to_docker_which_says_why(
    tmp_path: Path, docker: str, environment: dict[str, str]
) -> None:
    program(tmp_path / "home/.docker/cli-plugins/docker-buildx", mode=0o644)
    program(tmp_path / "system/docker-buildx")
    assert find_plugin("buildx", docker, environment) == ""


def test_a_docker_that_may_do_something_of_its_own_is_asked(
    tmp_path: Path, docker: str, environment: dict[str, str]
) -> None:
    program(tmp_path / "system/docker-buildx")
    assert find_plugin("buildx", program(tmp_path / "sudo/docker", b"#!/bin/sh\n"), environment) == ""
    snap = tmp_path / "snap/docker"
    snap.parent.mkdir()
    snap.symlink_to(program(tmp_path / "usr/snap"))
    assert find_plugin("buildx", str(snap), environment) == ""
    link = tmp_path / "link/docker"
    link.parent.mkdir()
    link.symlink_to(docker)
    assert find_plugin("buildx", str(link), environment) == str(tmp_path / "system/docker-buildx")
    assert find_plugin("buildx", str(tmp_path / "gone/docker"), environment) == ""


def test_only_buildx_is_started_without_docker() -> None:
    docker = Docker("/bin/docker", buildx="/plugins/docker-buildx")
    assert docker.argv(["buildx", "bake", "-f", "x"]) == ("/plugins/docker-buildx", "bake", "-f", "x")
    assert docker.argv(["info"]) == ("/bin/docker", "info")
    assert Docker("/bin/docker").argv(["buildx", "ls"]) == ("/bin/docker", "buildx", "ls")


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
