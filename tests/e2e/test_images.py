"""What containers of the sample's images do beyond their contract, which ``fategen verify`` checks (test_verify)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import docker

HOME = "/data/projects/fate"

Start = Callable[..., str]


@pytest.fixture
def start(pushed: Path) -> Iterator[Start]:
    """Starts a container of an image with docker's options; it is removed at the end."""
    prefix = (pushed / ".env").read_text(encoding="utf-8").splitlines()[0].removeprefix("PREFIX=")
    containers = []

    def run(image: str, *options: str) -> str:
        containers.append(docker("run", "-d", *options, f"{prefix}/{image}:1.3.0-release"))
        return containers[-1]

    yield run
    if containers:
        docker("rm", "-f", "-v", *containers)


def ask(container: str, port: int, *, within: float) -> str:
    """What the service answers to a plain line at its published port; waits for it to listen."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with connect(container, port) as connection:
                connection.sendall(b"GET /v1/version HTTP/1.0\r\n\r\n")
                if answer := connection.recv(1000):
                    return answer.decode("utf-8", "replace")
        except OSError:
            pass
        time.sleep(0.1)
    return pytest.fail(f"nothing answers on {port} within {within} s:\n{docker('logs', container)}")


def connect(container: str, port: int) -> socket.socket:
    host, _, published = docker("port", container, str(port)).splitlines()[0].rpartition(":")
    return socket.create_connection((host, int(published)), 5)


def stop(container: str) -> int:
    """The exit code after SIGTERM; 137: it did not end within 10 s."""
    docker("stop", "-t", "10", container)
    return int(docker("inspect", "--format", "{{.State.ExitCode}}", container))


def test_a_java_component_of_another_platform_starts_under_emulation(start: Start) -> None:
    container = start("federation", "--platform", "linux/arm64", "-p", "127.0.0.1::8889")
    assert "federation 1.1 ok" in ask(container, 8889, within=120)
    assert docker("exec", container, "uname", "-m") == "aarch64"
    assert stop(container) == 143


def test_a_mounted_configuration_replaces_the_default(start: Start, tmp_path: Path) -> None:
    container = start("federation", "-p", "127.0.0.1::8889")
    docker("cp", f"{container}:{HOME}/federation/conf", str(tmp_path / "conf"))
    properties = tmp_path / "conf" / "federation.properties"
    properties.write_text(properties.read_text(encoding="utf-8").replace("8889", "9394"), encoding="utf-8")
    mounted = start(
        "federation", "-p", "127.0.0.1::9394", "--mount",
        f"type=bind,src={tmp_path / 'conf'},dst={HOME}/federation/conf,readonly",
    )  # fmt: skip
    assert "federation 1.1 ok" in ask(mounted, 9394, within=60)


def test_egg_serves_both_its_ports_reaps_its_children_and_ends_with_its_storage_service(start: Start) -> None:
    container = start("egg", "-p", "127.0.0.1::7778", "-p", "127.0.0.1::7888")
    ask(container, 7888, within=60)
    with connect(container, 7778) as connection:
        # the first frame of HTTP/2, gRPC's transport, is the server's SETTINGS (type 4)
        assert connection.recv(9)[3:4] == b"\x04"
    docker("exec", "-d", container, "sh", "-c", "(sleep 0.1 &) ; exit 0")
    time.sleep(0.6)
    assert "Z" not in docker("exec", container, "ps", "-eo", "stat=")
    docker("exec", container, "sh", "-c", 'kill -9 "$(pidof storage-service || pgrep storage-serv)"')
    docker("wait", container, timeout=30)
