"""``fategen verify`` on the sample's images as they are built, and on images that misbehave when they are started.

The broken images are built by one bake, one of each component, and verified in one run. Each is found by the check that
is meant for it, with the line that asks for it, and passes the others. tests/verify/test_checks.py has what needs no
start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from generator.project import packaged_data
from generator.verify.origins import NAMES, place
from generator.verify.started import LABEL
from tests.e2e.conftest import (
    digest_of,
    docker,
    fategen,
    is_pushed,
    make_project,
    registry_get,
    start,
    succeeded,
    wait_for,
)
from tests.fate_plan import put

SPACE = f"verify-{os.getpid()}"
TAG = "1.3.0-release"
ALL = ("base-image", "federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python")
JAVA = ("federation", "proxy", "roll", "meta-service", "fateboard")
HOME = "/data/projects/fate"
READ_ONLY = "starts with its configuration mounted read-only"


@dataclass(frozen=True)
class Broken:
    """An image, the line of a Dockerfile that breaks it, the check that has to say so, and what its line says.

    ``also`` is another check that fails for it; all others pass.
    """

    image: str
    line: str
    check: str
    asks: str
    found: str = ""
    also: str = ""


def wrapped(script: str) -> str:
    """A java that runs ``script`` and then the one that was there."""
    java = "/opt/java/openjdk/bin/java"
    lines = ("#!/bin/sh", script, f'exec {java}.real "$@"')
    return "\n".join((f"RUN mv {java} {java}.real", f"COPY --chmod=755 <<'EOF' {java}", *lines, "EOF"))


ACTS = {
    "it ignores SIGTERM": Broken(
        "federation", wrapped('trap "" TERM'), "ends on SIGTERM, idle", "started:", "killed",
        "ends on SIGTERM, busy",
    ),
    "it listens on another port": Broken(
        "proxy", f"RUN sed -i s/9370/9371/ {HOME}/proxy/conf/proxy.properties", "port 9370", 'port: "9370"',
        "nothing listens after 20 s; what listens: 9371", READ_ONLY,
    ),
    "another JRE": Broken(
        "roll", wrapped("""[ "$1" != -version ] || exec echo 'openjdk version "11.0.2"'"""), "java -version",
        "java -version: {command: [java, -version]", 'printed openjdk version "11.0.2"',
    ),
    "its log has a stack trace": Broken(
        "meta-service", wrapped("""echo 'Exception in thread "main" java.lang.IllegalStateException'"""), "log",
        "contract:", 'Exception in thread "main" java.lang.IllegalStateException',
    ),
    "it writes to its configuration": Broken(
        "fateboard", wrapped("touch conf/started || exit 1"), READ_ONLY,
        "conf: directory", "the container exited with 1",
    ),
    "upstream's egg: it does not start a second time": Broken(
        "egg", r"RUN sed -i 's/^mkdir -p logs/mkdir once || exit 1/' /usr/local/bin/start-egg", "starts again",
        "contract:", "the container exited with 1",
    ),
    "it listens for itself alone": Broken(
        "python", f"RUN sed -i 's/(IP, HTTP/(\"127.0.0.1\", HTTP/' {HOME}/python/fate_flow/fate_flow_server.py",
        "port 9380", 'ports: ["9360", "9380"]', "it accepts connections only from inside the container", READ_ONLY,
    ),
    "a requirement cannot be imported": Broken(
        "base-image", "RUN rm -r /data/projects/python/venv/lib/python3*/site-packages/tqdm",
        "import of every requirement", "import of every requirement:", "exited with 1",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def project(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory, bake = tmp_path_factory.mktemp("verify"), ("bake", "all", "--load", "-q", "--platform", "linux/amd64")
    return make_project(directory, bake, namespace=SPACE)


@pytest.fixture(scope="module")
def results(project: Path, registry: str) -> list[dict[str, Any]]:
    """Of all broken images, each of which is built FROM the image that it breaks, under ``SPACE/broken``."""
    prefix = f"{registry}/{SPACE}/broken"
    targets = {
        case.image: {
            "dockerfile-inline": f"FROM {registry}/{SPACE}/{case.image}:{TAG}\n{case.line}\n",
            "tags": [f"{prefix}/{case.image}:{TAG}"],
            "output": ["type=docker"],
            "attest": ["type=provenance,disabled=true"],
        }
        for case in ACTS.values()
    }
    file = project / "broken.json"
    file.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}), encoding="utf-8")
    done = subprocess.run(["docker", "buildx", "bake", "-f", str(file)], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ran = fategen("verify", *targets, "--prefix", prefix, "--within", "20", "--format", "json", "-q", cwd=project)
    assert ran.code == 1, ran.err
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


@pytest.mark.parametrize("case", ACTS.values(), ids=ACTS)
def test_what_an_image_does_is_checked_against_its_contract(case: Broken, results: list[dict[str, Any]]) -> None:
    failed = [result for result in results if result["image"] == case.image and not result["ok"]]
    assert [result["check"] for result in failed] == [case.check, *filter(None, [case.also])]
    first = failed[0]
    assert case.found in first["found"]
    file, _, number = first["where"].partition(":")
    lines = (packaged_data("catalogue") / Path(file).name).read_text(encoding="utf-8").splitlines()
    assert case.asks in lines[int(number) - 1]


NOWHERE = "the engine has no image of this name"
LACKED = {  # what is asked for, what is said of which images, the next step
    "verify": (
        "verify roll egg --tag none", {"roll:none": NOWHERE, "egg:none": NOWHERE},
        "build and load: fategen bake roll egg --load; or fetch what is published: docker pull",
    ),
    "save": (
        "bundle save --image roll --image egg --from engine --set TAG=none",
        {"roll:none": NOWHERE, "egg:none": NOWHERE},
        "fategen bake all --load loads your own images, docker pull others",
    ),
    "platform": (
        "verify roll --platform linux/arm64", {f"roll:{TAG}": "the engine does not have it for linux/arm64"},
        "build and load: fategen bake roll --load --platform linux/arm64",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("command", "lacked", "step"), LACKED.values(), ids=LACKED)
def test_what_the_engine_lacks_is_named_with_the_next_step(
    project: Path, registry: str, command: str, lacked: dict[str, str], step: str
) -> None:
    ran = fategen(*command.split(), "-q", cwd=project)
    assert (ran.code, ran.out) == (2, "")
    for name, said in lacked.items():
        assert f"{registry}/{SPACE}/{name}: {said}" in ran.err
    assert f"  next: {step}" in ran.err
    assert not list(project.glob("*.fate.tar*"))


def test_an_image_that_needs_another_service_is_not_started(project: Path, tmp_path: Path) -> None:
    directory = make_project(tmp_path, namespace=SPACE)
    needs = "line: '1.3'\nextends: packaged\nimages:\n  roll:\n    contract: {started: {needs: a database}}\n"
    put(directory, "catalogue/1.3.yaml", needs)
    ran = succeeded(fategen("verify", "roll", "--format", "json", cwd=directory))
    assert "roll is not started on its own: it needs a database (catalogue/1.3.yaml:5)" in ran.err
    checks = {result["check"] for result in json.loads(ran.out)}
    assert "java -version" in checks and not {check for check in checks if check.startswith(("port ", "starts"))}


@pytest.mark.full
def test_the_sample_keeps_its_contract(project: Path) -> None:
    ran = succeeded(fategen("verify", "--format", "junit", "-q", cwd=project))
    root = ElementTree.fromstring(ran.out)
    assert {suite.attrib["name"] for suite in root} == {f"{image} linux/amd64" for image in ALL}
    assert root.attrib["failures"] == "0" and int(root.attrib["tests"]) > 350
    assert nothing_is_left(project)


def left(project: Path) -> tuple[str, str, str]:
    """The containers, volumes and images of ``fategen verify`` in the engine."""
    at = place(project / ".fategen/verify")
    return (
        docker("ps", "--all", "--quiet", f"--filter=label={LABEL}={at}"),
        docker("volume", "ls", "--quiet", f"--filter=label={LABEL}={at}"),
        docker("image", "ls", "--quiet", f"--filter=reference={NAMES}-{at}/*"),
    )


def nothing_is_left(project: Path) -> bool:
    return not any(left(project))


@pytest.mark.full
def test_the_java_components_keep_it_on_another_platform_too_under_emulation(project: Path) -> None:
    succeeded(fategen("bake", *JAVA, "--load", "-q", cwd=project))
    ran = succeeded(fategen("verify", *JAVA, "--platform", "linux/arm64", "--format", "json", "-q", cwd=project))
    results = json.loads(ran.out)
    for image in JAVA:
        checks = {result["check"] for result in results if result["image"] == image}
        assert {"java -version", "starts again", "log", "ends on SIGTERM, busy"} <= checks
    assert {result["platform"] for result in results} == {"linux/arm64"}


def test_egg_reaps_its_children_and_ends_with_its_storage_service(project: Path, registry: str) -> None:
    """What no contract asks for."""
    container = docker("run", "-d", f"{registry}/{SPACE}/egg:{TAG}")
    try:
        docker("exec", container, "sh", "-c", "until pgrep storage-serv; do sleep 0.1; done", timeout=60)
        docker("exec", "-d", container, "sh", "-c", "(sleep 0.1 &) ; exit 0")
        time.sleep(0.6)
        assert "Z" not in docker("exec", container, "ps", "-eo", "stat=")
        docker("exec", container, "sh", "-c", 'kill -9 "$(pgrep storage-serv)"')
        docker("wait", container, timeout=30)
    finally:
        docker("rm", "--force", "--volumes", container)


@contextlib.contextmanager
def starting(project: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """``fategen ARGS`` once it has started a container."""
    with start(*args, cwd=project, stdout=subprocess.PIPE) as process:
        wait_for(lambda: left(project)[0], 300)
        yield process


def test_ctrl_c_leaves_no_container_and_no_volume(project: Path) -> None:
    with starting(project, "verify", "roll", "fateboard") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert nothing_is_left(project)


@pytest.fixture(scope="module")
def one_fails(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which python lacks a file that KubeFATE mounts over."""
    directory, template = tmp_path_factory.mktemp("fails"), "dockerfiles/python.Dockerfile.j2"
    packaged = (packaged_data("templates") / template).read_text(encoding="utf-8")
    put(directory, f"templates/{template}", f"{packaged}RUN rm arch/conf/server_conf.json\n")
    return make_project(directory, namespace=f"{SPACE}-fails")


def test_nothing_is_published_when_one_component_fails(one_fails: Path, registry: str) -> None:
    ran = fategen("bake", "python", "proxy", "--push", "--verify", "-q", cwd=one_fails)
    assert ran.code == 1, ran.err
    path = f"{HOME}/python/arch/conf/server_conf.json"
    assert ran.out.startswith(f"FAILED  python linux/amd64: mounted over: {path}  (packaged catalogue/1.3.yaml:")
    assert "(python); nothing was published" in ran.err
    assert not any(is_pushed(registry, f"{SPACE}-fails/{image}") for image in ("python", "proxy"))
    assert nothing_is_left(one_fails)


def test_what_passes_is_published_is_what_was_verified_and_passes_from_the_registry(
    one_fails: Path, registry: str
) -> None:
    ran = succeeded(fategen("bake", "proxy", "--push", "--verify", "--format", "json", cwd=one_fails))
    assert "verified: " in ran.err
    (built,) = json.loads(ran.out)
    index = registry_get(registry, f"{SPACE}-fails/proxy/manifests/{TAG}")
    layouts = one_fails / ".fategen/layouts"
    top = json.loads((layouts / "proxy/index.json").read_bytes())["manifests"][0]["digest"].removeprefix("sha256:")
    seen = json.loads((layouts / "shared/sha256" / top).read_bytes())
    assert {entry["digest"] for entry in seen["manifests"]} <= {entry["digest"] for entry in index["manifests"]}
    assert built["platforms"] == ["linux/amd64", "linux/arm64"]
    ran = succeeded(fategen("verify", "proxy", "--from", "registry", "--format", "json", cwd=one_fails))
    checks = {(result["platform"], result["check"]) for result in json.loads(ran.out)}
    assert {("linux/amd64", "port 9370"), ("linux/amd64", "size"), ("linux/arm64", "size")} <= checks
    assert "starting proxy; not started: linux/arm64" in ran.err
    assert nothing_is_left(one_fails)


def test_what_was_verified_is_tagged_although_a_source_changed_meanwhile(own_sample: Path) -> None:
    with starting(own_sample, "bake", "python", "--push", "--verify", "--format", "json") as process:
        with (own_sample.parent / "sources/fate/fate_flow/fate_flow_server.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    [pushed] = json.loads(out)
    layout = json.loads((own_sample / ".fategen/layouts/python/index.json").read_text(encoding="utf-8"))
    assert digest_of(pushed["references"][0]) == pushed["digest"] == layout["manifests"][0]["digest"]
    changed = fategen("bake", "python", "--push", cwd=own_sample)
    assert changed.code == 2 and "already points to another image" in changed.err


def test_the_next_run_removes_what_a_killed_one_left(one_fails: Path) -> None:
    succeeded(fategen("bake", "proxy", "--push", "--overwrite", "-q", cwd=one_fails))
    with starting(one_fails, "verify", "proxy", "--from", "registry") as process:
        process.kill()
    assert left(one_fails)[2]
    succeeded(fategen("verify", "proxy", "--from", "registry", "-q", cwd=one_fails))
    assert nothing_is_left(one_fails)
