"""``fategen verify --stack`` on the sample's images: two whole parties, as they should be and with something wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.project import find_project, packaged_data
from generator.verify.origins import place
from tests.e2e.conftest import docker, fategen, make_project, start, succeeded

SPACE = f"stack-{os.getpid()}"


@pytest.fixture(scope="module")
def project(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(
        tmp_path_factory.mktemp("stack"),
        ("bake", "--load", "-q", "--platform", "linux/amd64"),
        namespace=SPACE,
    )


@pytest.fixture
def broken(project: Path) -> Iterator[Path]:
    """The project with a compose template of its own, which the test writes and which is gone afterwards."""
    template = project / "templates" / "compose.yaml.j2"
    template.parent.mkdir(exist_ok=True)
    yield template
    template.unlink()
    succeeded(fategen("render", cwd=project))


def left(project: Path) -> list[str]:
    """What compose made for the project and that is still there."""
    ours = f"--filter=label=com.docker.compose.project=fategen-{place(find_project(project).root)}"
    containers = docker("ps", "--all", ours, "--format", "{{.Names}}").split()
    networks = docker("network", "ls", ours, "--format", "{{.Name}}").split()
    volumes = docker("volume", "ls", ours, "--format", "{{.Name}}").split()
    return [*containers, *networks, *volumes]


def test_two_parties_of_the_sample_work_together_and_leave_nothing(project: Path) -> None:
    ran = fategen("verify", "--stack", "--format", "json", cwd=project)
    results = {(result["image"], result["check"]): result for result in json.loads(ran.out)}
    assert ran.code == 0, ran.out
    assert {image for image, _ in results} == {"party 10000", "party 9999"}
    assert results["party 10000", "redis is healthy"]["found"] == "healthy"
    toy = results["party 9999", "toy job with the other party"]
    assert (toy["ok"], toy["found"]) == (True, "python-9999 prints success to calculate secure_sum")
    assert ran.err.splitlines() == [
        "starting the containers of two parties",
        "running the smoke commands of 10000 and 9999",
        "taking the parties down",
    ]
    assert left(project) == []


META = 'service.port={{ port("roll") }}\n      meta.service.ip='
WRONG = {  # what is replaced in the template, by what, the first failure, what it found
    "roll": (
        f"{META}meta-service", f"{META}metaservice",
        "roll reaches meta-service", "exit code 1: bash: .*metaservice: ",
    ),
    "federation": (
        'service.port={{ port("federation") }}', "service.port=none", "federation is healthy", "exited with code 1$"
    ),
    "proxy": (
        '"ip": "proxy-{{ other }}"', '"ip": "proxy-{{ other }}0"',
        "proxy reaches python, federation and the other proxy", "exit code 0: .*proxy-99990: ",
    ),
    "python": (
        "jdbc.password=fate_dev", "jdbc.password=wrong",
        "eggroll counts a table", "exit code 1: .*roll: error: Access denied for user 'fate'@",
    ),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("component", WRONG)
def test_what_is_configured_wrong_is_named_first(broken: Path, project: Path, component: str) -> None:
    right, wrong, first, found = WRONG[component]
    text = (packaged_data("templates") / "compose.yaml.j2").read_text(encoding="utf-8")
    assert right in text
    broken.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    ran = fategen("verify", "--stack", "-q", cwd=project)
    assert ran.code == 1, ran.out + ran.err
    head, _, reason, next_step, log = ran.out.splitlines()[:5]
    assert head.startswith(f"FAILED  party 10000: {first}"), ran.out
    assert re.match(f"  found     {found}", reason), ran.out
    assert next_step.startswith("  next      ") and log.startswith("  | ")
    kept = (project / ".fategen" / "logs" / f"{component}-10000.log").read_text(encoding="utf-8")
    assert log.removeprefix("  | ")[-40:] in kept
    assert left(project) == []


@pytest.mark.full
def test_ctrl_c_takes_everything_down(project: Path) -> None:
    with start("verify", "--stack", cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("running"):
                process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 130
    assert left(project) == []


def test_an_image_that_is_nowhere_is_told_with_the_next_step(project: Path) -> None:
    ran = fategen("verify", "--stack", "--tag", "none", "-q", cwd=project)
    assert (ran.code, ran.out) == (3, "")
    assert "none" in ran.err and "next: build the images with fategen bake --load" in ran.err
    assert left(project) == []
