"""fategen bake on a real engine: what is pushed and refused, what a failure, a signal and Ctrl-C leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from generator.bake.prepare import lock_project
from generator.project import Project
from tests.e2e.conftest import FATEGEN, digest_of, fategen, is_pushed, registry_get, start, succeeded, wait_for
from tests.picture import on_terminal

JAVA = ("federation", "proxy", "roll", "meta-service", "fateboard")
EACH_BUILDX = pytest.mark.parametrize("buildx", [pytest.param("OLD", marks=pytest.mark.full), "NEW"])


def namespace(project: Path) -> str:
    """Where in the registry its images are."""
    return (project / ".env").read_text(encoding="utf-8").splitlines()[0].partition("/")[2]


def add_to_storage(project: Path, line: str) -> None:
    """To a source of egg that takes long to compile."""
    with (project.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc").open("a") as source:
        source.write(f"\n{line}\n")


def test_a_release_that_is_pushed_again_was_there_and_is_reported_as_the_registry_has_it(
    pushed: Path, registry: str
) -> None:
    ran = succeeded(fategen("bake", "all", "--push", "--format", "json", cwd=pushed))
    result = {one["image"]: one for one in json.loads(ran.out)}
    assert set(result) == {"base-image", *JAVA, "egg", "python"}
    for image, one in result.items():
        assert one["state"] == "was there"
        (name,) = one["references"]
        assert digest_of(name) == one["digest"]
        both = ["linux/amd64", "linux/arm64"]
        assert one["platforms"] == (both if image in JAVA else ["linux/amd64"])
        assert sum(one["sizes"].values()) > 10_000_000
        assert [*one["needed"]] == (["packages"] if image in (*JAVA, "egg") else [])
    assert not is_pushed(registry, f"{namespace(pushed)}/packages"), "a builder"
    assert "not built again" in ran.err


@EACH_BUILDX
def test_both_buildx_build_local_sources_outside_of_the_project(pushed: Path, buildx: str) -> None:
    env = {"DOCKER_CONFIG": os.environ[f"FATEGEN_SANDBOX_BUILDX_{buildx}"]}
    ran = succeeded(fategen("bake", "roll", "python", cwd=pushed, env=env))
    assert ran.out.splitlines()[0].split() == ["IMAGE", "BUILT", "IN", "PLATFORMS"]
    shown = succeeded(fategen("bake", "roll", "--print", cwd=pushed, env=env))
    [tag] = json.loads(shown.out)["target"]["roll"]["tags"]
    assert tag.endswith("/roll:1.3.0-release")


def test_a_base_that_the_engine_lacks_is_loaded_before_the_images_that_share_it(pushed: Path, registry: str) -> None:
    prefix = f"PREFIX={registry}/unpacked-{os.getpid()}"
    bake = ("bake", "proxy", "roll", "--load", "--platform", "linux/amd64", "--set", prefix)
    assert "loading one image of each base: proxy" in succeeded(fategen(*bake, cwd=pushed)).err
    assert "building and loading: proxy, roll" in succeeded(fategen(*bake, cwd=pushed)).err


def test_one_broken_component_publishes_nothing(own_sample: Path, registry: str) -> None:
    add_to_storage(own_sample, "this is not C++")
    ran = fategen("bake", "all", "--push", cwd=own_sample)
    assert ran.code == 1
    error = ran.err[ran.err.index("error: ") :]
    assert error.startswith("error: egg (linux/amd64) failed in stage storage, step ")
    assert ": compile storage-service\n  | " in error
    assert re.search(
        r"\n  at: dockerfiles/egg/Dockerfile:\d+, from packaged templates/\S+egg.Dockerfile.j2:\d+\n", error
    )
    assert "this is not C++" in error and "nothing was published" in error and "  next: " in error
    assert "this is not C++" in (own_sample / ".fategen/logs/egg.log").read_text(encoding="utf-8")
    for image in ("base-image", *JAVA, "egg", "python"):
        assert not is_pushed(registry, f"{namespace(own_sample)}/{image}")


def test_a_component_builds_on_the_published_base(pushed: Path) -> None:
    ran = succeeded(fategen("bake", "python", "--published-base", cwd=pushed))
    assert "building: python" in ran.err and "base-image" not in ran.err.partition("building")[2]


def test_an_unknown_builder(pushed: Path) -> None:
    ran = fategen("bake", "roll", "--builder", "nowhere", cwd=pushed)
    assert ran.code == 3
    assert 'no builder "nowhere" found' in ran.err and "docker buildx ls" in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process(own_sample: Path, number: signal.Signals) -> None:
    add_to_storage(own_sample, f"// {time.time_ns()}")
    with (own_sample / "said").open("wb") as said:
        process = start("bake", "egg", "-v", cwd=own_sample, stdout=said, stderr=said)
    wait_for(lambda: b"g++" in (own_sample / "said").read_bytes(), 300)
    children = started_by(own_sample)
    assert children
    process.send_signal(number)
    code = process.wait(30)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_for(lambda: not started_by(own_sample), 15)
    assert b"Traceback" not in (own_sample / "said").read_bytes()


def test_ctrl_c_leaves_a_clean_terminal(own_sample: Path) -> None:
    add_to_storage(own_sample, f"// {time.time_ns()}")
    code, written = on_terminal(
        [*FATEGEN, "bake", "egg"],
        own_sample,
        columns=80,
        typed=("egg .*storage .*compile", "\x03"),
        TERM="xterm",
        LANG="C.UTF-8",
        NO_COLOR="1",
    )
    drawn = written.decode().replace("\r\n", "\n")
    assert code == 130, drawn
    assert "Traceback" not in drawn
    last = drawn[drawn.rindex("stopping") :]
    assert re.search(r"egg +· not finished\n", last)
    assert last.splitlines()[-1] == "stopped", "on a line of its own, below the picture"


def test_a_second_run_in_a_project_waits_for_the_first(pushed: Path) -> None:
    """They share the bake file of --set, the logs and the file that digests are read from."""
    with lock_project(Project(pushed)):
        process = start("bake", "roll", cwd=pushed, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for another fategen in this project\n"
        assert process.poll() is None
    said = process.communicate(timeout=300)[1]
    assert (process.returncode, "roll" in said) == (0, True)


def started_by(project: Path) -> list[int]:
    """Processes whose command line names the project's metadata file: docker and its buildx plugin."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(project / ".fategen/metadata.json").encode() in command.read_bytes():
                found.append(int(command.parent.name))
    return found


def test_each_image_writes_a_build_cache_of_its_own(pushed: Path, registry: str) -> None:
    name = f"cache-{os.getpid()}/of"
    cache = f"{registry}/{name}"
    ran = succeeded(fategen("bake", "roll", "--set", f"CACHE_TO={cache}", "--set", f"CACHE_FROM={cache}", cwd=pushed))
    assert "no build cache was read for packages, roll: there is none yet" in ran.err
    assert sorted(registry_get(registry, f"{name}/tags/list")["tags"]) == ["packages", "roll"]
    again = succeeded(fategen("bake", "roll", "--set", f"CACHE_FROM={cache}", cwd=pushed))
    assert "no build cache" not in again.err


@EACH_BUILDX
def test_a_cache_out_of_reach_does_not_keep_a_release_back(pushed: Path, buildx: str) -> None:
    gone = ("--set", "CACHE_TO=localhost:1/gone", "--set", "CACHE_FROM=localhost:1/gone")
    env = {"DOCKER_CONFIG": os.environ[f"FATEGEN_SANDBOX_BUILDX_{buildx}"]}
    ran = succeeded(fategen("bake", "roll", "--push", *gone, cwd=pushed, env=env))
    assert "no build cache was read" in ran.err and "no build cache was written" in ran.err
    assert "connection refused" in ran.err
    assert "roll" in ran.out and "sha256:" in ran.out
