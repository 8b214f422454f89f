"""The images of the sample, started as KubeFATE starts them: they answer, get signals, restart, take a mounted conf."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import docker, registry_get

JAVA = {"federation": 8889, "proxy": 9370, "roll": 8011, "meta-service": 8590, "fateboard": 8080}
"""Each Java component and the port of its default configuration (federation: the image EXPOSEs 9394)."""
SEVERAL = {"egg": 7888, "python": 9380}
"""The components that run more than one process."""
HOME = "/data/projects/fate"

Start = Callable[..., str]


def reference(pushed: Path, image: str) -> str:
    prefix = (pushed / ".env").read_text(encoding="utf-8").splitlines()[0].removeprefix("PREFIX=")
    return f"{prefix}/{image}:1.3.0-release"


@pytest.fixture
def start(pushed: Path) -> Iterator[Start]:
    """Starts a container of an image with docker's options; it is removed at the end."""
    started = []

    def run(image: str, *options: str, command: tuple[str, ...] = ()) -> str:
        container = docker("run", "-d", *options, reference(pushed, image), *command)
        started.append(container)
        return container

    yield run
    if started:
        docker("rm", "-f", "-v", *started)


def ask(container: str, port: int, *, within: float) -> str:
    """What the service says to a plain line, at its published port; waits for it to listen."""
    address = docker("port", container, str(port)).splitlines()[0]
    host, _, published = address.rpartition(":")
    end = time.monotonic() + within
    while True:
        try:
            with socket.create_connection((host, int(published)), 2) as connection:
                connection.sendall(b"GET /v1/version HTTP/1.0\r\n\r\n")
                connection.settimeout(2)
                if answer := connection.recv(1000):
                    return answer.decode("utf-8", "replace")
        except OSError:
            pass
        if time.monotonic() > end:
            pytest.fail(f"nothing answers on {port} within {within} s:\n{docker('logs', container)}")
        time.sleep(0.1)


def stop(container: str) -> float:
    """Seconds from SIGTERM to the end."""
    begin = time.monotonic()
    docker("stop", "-t", "10", container)
    return time.monotonic() - begin


def inspect(container_or_image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(docker("inspect", container_or_image))[0]
    return found


@pytest.mark.parametrize("image", [*JAVA, *SEVERAL])
def test_a_component_answers_on_its_port_and_ends_by_a_signal(start: Start, image: str) -> None:
    port = {**JAVA, **SEVERAL}[image]
    container = start(image, "-p", f"127.0.0.1::{port}")
    answer = ask(container, port, within=20)
    assert "ok" in answer or "200 OK" in answer
    assert stop(container) < 2


def test_a_java_component_of_another_platform_starts_under_emulation(start: Start) -> None:
    container = start("federation", "--platform", "linux/arm64", "-p", "127.0.0.1::8889")
    assert "federation 1.1 ok" in ask(container, 8889, within=60)
    assert docker("exec", container, "uname", "-m") == "aarch64"
    assert stop(container) < 5


def test_java_is_process_1_so_that_no_shell_keeps_its_signals(start: Start) -> None:
    container = start("proxy", "-p", "127.0.0.1::9370")
    ask(container, 9370, within=20)
    assert docker("exec", container, "cat", "/proc/1/comm") == "java"


@pytest.mark.parametrize("image", [*SEVERAL])
def test_an_init_is_process_1_where_there_are_several_processes(start: Start, image: str) -> None:
    container = start(image, "-p", f"127.0.0.1::{SEVERAL[image]}")
    assert docker("exec", container, "cat", "/proc/1/comm") == "tini"


def test_egg_leaves_no_zombie_when_a_child_of_it_ends(start: Start) -> None:
    container = start("egg", "-p", "127.0.0.1::7888")
    ask(container, 7888, within=20)
    docker("exec", "-d", container, "sh", "-c", "(sleep 0.1 &) ; exit 0")
    time.sleep(0.6)
    states = docker("exec", container, "ps", "-eo", "stat=")
    assert not [s for s in states.splitlines() if s.startswith("Z")]


def test_egg_ends_when_storage_service_does_so_that_its_restart_policy_sees_it(start: Start) -> None:
    container = start("egg", "-p", "127.0.0.1::7888")
    ask(container, 7888, within=20)
    docker("exec", container, "sh", "-c", 'kill -9 "$(pidof storage-service || pgrep storage-serv)"')
    end = time.monotonic() + 5
    while inspect(container)["State"]["Running"]:  # type: ignore[index]
        assert time.monotonic() < end, "the container runs on without its storage-service"
        time.sleep(0.1)


def test_storage_service_of_egg_listens(start: Start) -> None:
    container = start("egg", "-p", "127.0.0.1::7778", "-p", "127.0.0.1::7888")
    ask(container, 7888, within=20)
    address = docker("port", container, "7778").splitlines()[0]
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.settimeout(5)
        # the first frame of HTTP/2, gRPC's transport, is the server's SETTINGS (type 4)
        assert connection.recv(9)[3:4] == b"\x04"


@pytest.mark.parametrize("image", ["roll", "egg", "python"])
def test_a_restart_works(start: Start, image: str) -> None:
    port = {**JAVA, **SEVERAL}[image]
    container = start(image, "-p", f"127.0.0.1::{port}")
    ask(container, port, within=20)
    docker("restart", "-t", "10", container)
    ask(container, port, within=20)


def test_a_mounted_configuration_replaces_the_default(start: Start, tmp_path: Path) -> None:
    container = start("federation", "-p", "127.0.0.1::8889")
    docker("cp", f"{container}:{HOME}/federation/conf", str(tmp_path / "conf"))
    properties = tmp_path / "conf" / "federation.properties"
    properties.write_text(properties.read_text(encoding="utf-8").replace("8889", "9394"), encoding="utf-8")
    mounted = start(
        "federation", "-p", "127.0.0.1::9394", "--mount",
        f"type=bind,src={tmp_path / 'conf'},dst={HOME}/federation/conf,readonly",
    )  # fmt: skip
    assert "federation 1.1 ok" in ask(mounted, 9394, within=20)


CONF = {
    "federation": "federation/conf/federation.properties federation/conf/applicationContext-federation.xml",
    "proxy": "proxy/conf/proxy.properties proxy/conf/route_table.json proxy/conf/applicationContext-proxy.xml",
    "roll": "roll/conf/roll.properties roll/conf/applicationContext-roll.xml roll/conf/log4j2.properties",
    "meta-service": "meta-service/conf/meta-service.properties meta-service/conf/applicationContext-meta-service.xml",
    "fateboard": "fateboard/conf/application.properties fateboard/conf/ssh.properties fateboard/fateboard.jar",
    "egg": "eggroll/egg/conf/egg.properties eggroll/egg/conf/processor-starter.sh eggroll/egg/eggroll-egg.jar "
    "eggroll/python/eggroll/conf/server_conf.json eggroll/python/eggroll/computing/processor.py "
    "eggroll/python/arch/conf/server_conf.json eggroll/storage-service-cxx/storage-service",
    "python": "python/fate_flow/settings.py python/arch/conf/server_conf.json python/eggroll/conf/server_conf.json "
    "python/eggroll/api/__init__.py python/examples python/federatedml",
}
"""Where KubeFATE 1.3 mounts single files or directories over the image's own (facts of its compose file and chart)."""


@pytest.mark.parametrize("image", list(CONF))
def test_every_path_that_kubefate_mounts_over_is_in_the_image(start: Start, image: str) -> None:
    container = start(image)
    paths = [f"{HOME}/{path}" for path in CONF[image].split()]
    missing = [p for p in paths if docker("exec", container, "sh", "-c", f'test -e "{p}" || echo "{p}"')]
    assert missing == []


def test_the_python_environment_is_where_kubefate_looks_for_it(start: Start) -> None:
    container = start("egg")
    script = ". /data/projects/python/venv/bin/activate && python -c 'import click, tqdm; print(click.__version__)'"
    assert docker("exec", container, "bash", "-c", script).startswith("7.0")


def test_labels_say_source_and_version_and_hold_no_date(pushed: Path, start: Start) -> None:
    container = start("roll")
    labels = inspect(container)["Config"]["Labels"]  # type: ignore[index]
    assert labels["org.opencontainers.image.source"] == "https://github.com/WeBankFinTech/eggroll.git"
    assert labels["org.opencontainers.image.version"] == "1.3.0-release"
    assert "org.opencontainers.image.created" not in labels


def test_the_registry_lists_both_platforms_where_an_image_has_both(registry: str, pushed: Path) -> None:
    def platforms(image: str) -> list[str]:
        found = registry_get(registry, f"federatedai/{image}/manifests/1.3.0-release")
        assert isinstance(found, dict)
        entries = found.get("manifests", [{"platform": {"os": "linux", "architecture": "amd64"}}])
        return [f"{e['platform']['os']}/{e['platform']['architecture']}" for e in entries]

    both = ["linux/amd64", "linux/arm64"]
    assert {image: platforms(image) for image in [*JAVA, *SEVERAL, "base-image"]} == {
        **dict.fromkeys(JAVA, both), "egg": both[:1], "python": both[:1], "base-image": both[:1]
    }  # fmt: skip


def test_no_secret_is_left_in_an_image_s_history_or_layers(pushed: Path) -> None:
    for image in ("base-image", "egg"):
        name = reference(pushed, image)
        docker("pull", "-q", name)
        assert "BEGIN CERTIFICATE" not in docker("history", "--no-trunc", name)
        left = docker("run", "--rm", name, "sh", "-c", "ls -A /run/secrets /root/.netrc /tmp 2> /dev/null || true")
        assert [line for line in left.splitlines() if line and not line.endswith(":")] == []
