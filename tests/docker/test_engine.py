"""Versions, builders and engines as docker prints them; errors in terms of what to do; secrets kept out."""

from __future__ import annotations

import json
import os

import pytest

from generator.docker.engine import (
    BUILDX_ALLOW,
    BUILDX_NEEDED,
    Builder,
    Engine,
    engine_platform,
    parse_builder,
    parse_engine,
)
from generator.docker.hints import explain
from generator.docker.process import Completed, Docker, find_docker
from generator.errors import EngineError
from generator.text import parse_version

# as printed by Debian 13's docker-buildx 0.13.1 on Docker 26.1.5
INSPECT_DOCKER = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-24 13:58:36 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/amd64/v2, linux/amd64/v3, linux/amd64/v4, linux/arm64
Labels:
 org.mobyproject.buildkit.worker.containerd.namespace: moby
 org.mobyproject.buildkit.worker.hostname:             vm
"""

INSPECT_FARM = """\
Name:          farm
Driver:        remote
Last Activity: 2026-11-24 13:58:36 +0000 UTC

Nodes:
Name:             farm0
Endpoint:         tcp://10.0.0.8:1234
Status:           running
BuildKit version: v0.17.0
Platforms:        linux/amd64*, linux/amd64/v2, linux/386

Name:             farm1
Endpoint:         tcp://10.0.0.9:1234
Status:           running
BuildKit version: v0.17.0
Platforms:        linux/arm64*, linux/arm64/v8, linux/arm/v7, linux/arm/v6
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("github.com/docker/buildx v0.29.1 b8bd4e2a9b36e25fa27dc4ab6a1d5d1ac29bbe55", (0, 29, 1)),
        ("github.com/docker/buildx v0.14.0-desktop.1 22cb80b", (0, 14, 0)),
        ("0.17", (0, 17, 0)),
        ("v0.0.0+unknown", (0, 0, 0)),
        ("unknown", None),
        ("", None),
    ],
)
def test_version(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_builder_of_the_engine() -> None:
    builder = parse_builder(INSPECT_DOCKER)
    assert (builder.name, builder.driver) == ("default", "docker")
    assert (builder.running, builder.buildkits) == (True, ("v0.0.0+unknown",))
    assert builder.platforms == ("linux/amd64", "linux/arm64")


def test_builder_of_two_nodes() -> None:
    builder = parse_builder(INSPECT_FARM)
    assert builder.buildkits == ("v0.17.0", "v0.17.0")
    assert builder.platforms == ("linux/amd64", "linux/386", "linux/arm64", "linux/arm/v7", "linux/arm/v6")


def test_builders_that_do_not_run() -> None:
    assert parse_builder("") == Builder("", "")
    gone = parse_builder("Name: gone\nDriver: remote\n\nNodes:\nName: gone0\nEndpoint: tcp://h:9\nStatus: inactive\n")
    assert (gone.running, gone.error, gone.platforms) == (False, "", ())
    none = parse_builder("Name: default\nDriver:\nLast Activity: x\nError: Cannot connect to unix:///x\n")
    assert (none.driver, none.running, none.error) == ("", False, "Cannot connect to unix:///x")
    assert parse_builder(INSPECT_FARM).running
    assert not parse_builder(INSPECT_FARM.replace("running", "inactive", 1)).running, "one of its nodes does not"
    assert parse_builder("Name: a\nDriver: remote\n\nNodes:\nName: a0\nError: timed out\n").error == "timed out"


def info(**content: object) -> Completed:
    return Completed(("docker", "info"), 0, json.dumps(content), "")


def test_engine_with_the_containerd_store() -> None:
    engine, buildx = parse_engine(
        info(
            ServerVersion="26.1.5+dfsg1",
            OSType="linux",
            Architecture="x86_64",
            DriverStatus=[["driver-type", "io.containerd.snapshotter.v1"]],
            ClientInfo={"Version": "26.1.5+dfsg1", "Plugins": [{"Name": "buildx", "Version": "0.13.1+ds1"}]},
            RegistryConfig={
                "InsecureRegistryCIDRs": ["127.0.0.0/8"],
                "IndexConfigs": {"docker.io": {"Secure": True}, "plain.example.com": {"Secure": False}},
            },
        )
    )
    insecure = ("plain.example.com", "127.0.0.0/8")
    assert engine == Engine("26.1.5+dfsg1", "26.1.5+dfsg1", "containerd", "linux/amd64", None, insecure)
    assert buildx == (0, 13, 1)


def test_engine_with_a_graphdriver_and_no_plugins() -> None:
    status = [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]
    engine, buildx = parse_engine(
        info(ServerVersion="20.10.24", Architecture="aarch64", DriverStatus=status, ClientInfo={"Plugins": None})
    )
    assert (engine.store, engine.platform, buildx) == ("graphdriver", "linux/arm64", None)


@pytest.mark.parametrize("said", ["v0.0.0", "v0.0.0+unknown", "0.0.0-dev"])
def test_a_buildx_that_was_built_without_its_version_is_taken_for_the_newest(said: str) -> None:
    plugins = [{"Name": "buildx", "Version": said}]
    _, buildx = parse_engine(info(ServerVersion="26.1.5", ClientInfo={"Plugins": plugins}))
    assert buildx is not None and buildx > BUILDX_ALLOW > BUILDX_NEEDED


def test_engine_that_is_not_there() -> None:
    said = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    client = {"ServerVersion": "", "ClientInfo": {"Version": "28.2.2", "Plugins": []}}
    engine, _ = parse_engine(Completed(("docker",), 1, json.dumps(client), said))
    assert engine.client == "28.2.2"
    assert engine.problem is not None
    assert engine.problem.message == "no Docker daemon answers at unix:///var/run/docker.sock"
    assert "systemctl start docker" in engine.problem.hint
    nonsense, buildx = parse_engine(Completed(("docker",), 1, "", "flag provided but not defined"))
    assert nonsense.problem is not None and "flag provided" in nonsense.problem.message
    assert buildx is None


def test_machine_names() -> None:
    assert engine_platform("linux", "armv7l") == "linux/arm/v7"
    assert engine_platform("linux", "riscv64") == "linux/riscv64"
    assert engine_platform("linux", "i686") == "linux/386"
    assert engine_platform("linux", "loongarch64") == "linux/loong64"


DENIED = "no permission to use the Docker daemon at unix:///var/run/docker.sock"
NO_BUILDX = "docker has no buildx plugin; fategen needs 0.13 or later"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
         '"http://%2Fvar%2Frun%2Fdocker.sock/v1.45/info": dial unix: connect: permission denied', DENIED),
        ("permission denied while trying to connect to the docker API at unix:///var/run/docker.sock", DENIED),
        ("Cannot connect to the Docker daemon at tcp://10.0.0.5:2376. Is the docker daemon running?",
         "no Docker daemon answers at tcp://10.0.0.5:2376"),
        ("failed to connect to the docker API at unix:///x.sock; check if the path is correct",
         "no Docker daemon answers at unix:///x.sock"),
        ("docker: unknown command: docker buildx\n\nRun 'docker --help' for more information", NO_BUILDX),
        ("docker: 'buildx' is not a docker command.\nSee 'docker --help'", NO_BUILDX),
        ("ERROR: failed to solve: exporter oci for multi-node builds currently not supported",
         "--verify and bundle save cannot have images of several platforms from several nodes of a builder"),
        ("unknown shorthand flag: 'f' in -f\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]", NO_BUILDX),
    ],
)  # fmt: skip
def test_known_failures_have_a_next_step(said: str, message: str) -> None:
    error = explain(said)
    assert error is not None and error.message == message and error.hint


def test_other_failures_keep_the_engines_last_line() -> None:
    docker = Docker("docker", ("s3cret",))
    said = "one\nERROR: token s3cret was refused\n\n"
    done = Completed(("docker", "buildx", "imagetools", "inspect", "x"), 1, "", said)
    assert docker.failure(done).message == "docker buildx imagetools inspect failed: token *** was refused"
    assert docker.failure(Completed(("docker", "load"), 1, "", "")).message.endswith("exit code 1, no message")
    done = Completed(("docker", "compose", "--ansi", "never", "up"), 1, "", "no such image")
    assert docker.failure(done).message == "docker compose failed: no such image"


def test_secrets_and_logins_of_urls_are_redacted() -> None:
    docker = Docker("docker").with_secrets("hunter2", "", "hunter2-long")
    assert docker.secrets == ("hunter2", "hunter2-long")
    assert docker.redact("a hunter2-long b hunter2") == "a *** b ***"
    for login in ("me:pa55", "TOKEN", "me:p@ss:w@rd", ":pa55", "git:pa55"):
        assert docker.redact(f"proxy http://{login}@proxy:3128 used") == "proxy http://***@proxy:3128 used"
    harmless = "https://host:5000/a@sha256:00 docker-image://mysql:8@sha256:00 ssh://git@host/a git@github.com:a/b"
    assert docker.redact(harmless) == harmless


def test_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nonexistent")
    with pytest.raises(EngineError) as caught:
        find_docker()
    assert "not installed" in caught.value.message
    assert "install Docker Engine with buildx" in caught.value.hint
