"""fategen bake and doctor on a real engine: what is pushed and refused, what a failure and a signal leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from generator.bake import lock_project
from generator.project import Project
from tests.e2e.conftest import Fategen, docker, succeeded

JAVA = ("federation", "proxy", "roll", "meta-service", "fateboard")
INDEXES = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def prefix_of(project: Path) -> tuple[str, str]:
    """The registry and the namespace in it."""
    line = (project / ".env").read_text(encoding="utf-8").splitlines()[0]
    host, _, namespace = line.removeprefix("PREFIX=").partition("/")
    return host, namespace


def tags(project: Path, image: str) -> list[str]:
    host, namespace = prefix_of(project)
    try:
        with urllib.request.urlopen(f"http://{host}/v2/{namespace}/{image}/tags/list", timeout=10) as answer:
            return json.load(answer)["tags"] or []
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return []


def digest_of(project: Path, image: str, tag: str) -> str:
    """What the registry has, hashed here."""
    host, namespace = prefix_of(project)
    url = f"http://{host}/v2/{namespace}/{image}/manifests/{tag}"
    request = urllib.request.Request(url, headers={"Accept": f"{INDEXES}, {MANIFESTS}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return "sha256:" + hashlib.sha256(answer.read()).hexdigest()


def clients() -> list[object]:
    names = {"old": "FATEGEN_SANDBOX_BUILDX_OLD", "new": "FATEGEN_SANDBOX_BUILDX_NEW"}
    missing = pytest.mark.skip(reason="the machine's own engine: only its own buildx is there")
    return [
        pytest.param(os.environ.get(variable, ""), id=name, marks=[] if os.environ.get(variable) else [missing])
        for name, variable in names.items()
    ]


def test_all_is_pushed_and_what_is_reported_is_what_the_registry_has(pushed: Path, fategen: Fategen) -> None:
    ran = succeeded(fategen("bake", "all", "--push", "--format", "json", cwd=pushed))
    result = {one["image"]: one for one in json.loads(ran.out)}
    assert set(result) == {"base-image", *JAVA, "egg", "python"}
    for image, one in result.items():
        assert one["state"] == "pushed"
        assert one["digest"] == digest_of(pushed, image, one["references"][0].rpartition(":")[2])
        both = ["linux/amd64", "linux/arm64"]
        assert one["platforms"] == (both if image in JAVA else ["linux/amd64"])
        assert sum(one["sizes"].values()) > 10_000_000
    assert tags(pushed, "packages") == [], "a builder is never pushed"
    assert "cached" in ran.err and "publishing" in ran.err


@pytest.mark.parametrize("client", clients())
def test_both_buildx_build_local_sources_outside_of_the_project(pushed: Path, fategen: Fategen, client: str) -> None:
    env = {"DOCKER_CONFIG": client}
    ran = succeeded(fategen("bake", "roll", "python", cwd=pushed, env=env))
    assert ran.out.splitlines()[0].split() == ["IMAGE", "BUILT", "IN", "PLATFORMS"]
    shown = succeeded(fategen("bake", "roll", "--print", cwd=pushed, env=env))
    [tag] = json.loads(shown.out)["target"]["roll"]["tags"]
    assert tag.endswith("/roll:1.3.0-release")


def test_a_name_that_stands_for_something_else_now_is_told(own_sample: Path, fategen: Fategen) -> None:
    push = ("bake", "python", "--push", "--allow-dirty", "--format", "json")
    [first] = json.loads(fategen(*push, cwd=own_sample).out)
    [same] = json.loads(fategen(*push, cwd=own_sample).out)
    with (own_sample.parent / "sources/fate/fate_flow/settings.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    [other] = json.loads(fategen(*push, cwd=own_sample).out)
    assert [one["replaced"] for one in (first, same, other)] == [None, None, first["digest"]]


def test_platforms_that_are_lost_with_what_a_push_replaced_are_told(own_sample: Path, fategen: Fategen) -> None:
    push = ("bake", "roll", "--push", "--allow-dirty")
    [both] = json.loads(fategen(*push, "--format", "json", cwd=own_sample).out)
    ran = fategen(*push, "--platform", "linux/arm64", cwd=own_sample)
    was = f"roll (was {both['digest'][:15]}…, also for linux/amd64)"
    assert ran.out.splitlines()[-1] == f"replaced in the registry: {was}"
    [again] = json.loads(fategen(*push, "--format", "json", cwd=own_sample).out)
    assert (again["digest"], again["lost_platforms"]) == (both["digest"], [])


def test_images_that_the_projects_platforms_leave_out_are_told_before_the_build(
    own_sample: Path, fategen: Fategen
) -> None:
    with (own_sample / ".env").open("a", encoding="utf-8") as file:
        file.write("PLATFORMS=linux/arm64\n")
    succeeded(fategen("render", cwd=own_sample))
    ran = fategen("bake", "all", "--format", "json", cwd=own_sample)
    assert {one["image"] for one in json.loads(ran.out)} == set(JAVA)
    assert "not built: base-image, egg, python: no linux/arm64 (" in ran.err.partition("building: ")[0]


def test_one_broken_component_publishes_nothing(own_sample: Path, fategen: Fategen) -> None:
    source = own_sample.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc"
    source.write_text(source.read_text(encoding="utf-8") + "\nthis is not C++\n", encoding="utf-8")
    ran = fategen("bake", "all", "--push", cwd=own_sample)
    assert ran.code == 1
    error = ran.err[ran.err.index("error: ") :]
    assert error.startswith('error: egg (linux/amd64) failed in stage "')
    assert "this is not C++" in error and "nothing was published" in error and "  next: " in error
    assert "this is not C++" in (own_sample / ".fategen/logs/egg.log").read_text(encoding="utf-8")
    assert not [image for image in ("base-image", *JAVA, "egg", "python") if tags(own_sample, image)]


def test_load_puts_an_image_into_the_engine(pushed: Path, fategen: Fategen) -> None:
    ran = succeeded(fategen("bake", "roll", "--load", "--set", "TAG=loaded", "--format", "json", "-q", cwd=pushed))
    [one] = json.loads(ran.out)
    try:
        assert docker("image", "inspect", "--format", "{{.Os}}", one["references"][0]) == "linux"
        assert one["state"] == "loaded" and one["sizes"]["engine"] > 10_000_000
    finally:
        docker("rmi", one["references"][0])


def test_set_builds_something_else_and_leaves_the_committed_files(pushed: Path, fategen: Fategen) -> None:
    before = (pushed / "out/docker-bake.hcl").read_bytes()
    ran = fategen("bake", "roll", "--print", "--set", "TAG=other", cwd=pushed)
    assert json.loads(ran.out)["target"]["roll"]["tags"][0].endswith("/roll:other")
    assert "building from .fategen/tree" in ran.err
    assert (pushed / "out/docker-bake.hcl").read_bytes() == before


def test_a_component_builds_on_the_published_base(pushed: Path, fategen: Fategen) -> None:
    ran = succeeded(fategen("bake", "python", "--base", "published", cwd=pushed))
    assert "building: python" in ran.err and "base-image" not in ran.err.partition("building")[2]


def test_one_platform(pushed: Path, fategen: Fategen) -> None:
    ran = succeeded(fategen("bake", "--platform", "linux/arm64", "--format", "json", cwd=pushed))
    assert [(one["image"], one["platforms"]) for one in json.loads(ran.out)] == [(n, ["linux/arm64"]) for n in JAVA]
    assert "egg is not built for linux/arm64: " in ran.err


def test_stale_files_are_refused(own_sample: Path, fategen: Fategen) -> None:
    file = own_sample / "dockerfiles/egg/Dockerfile"
    file.write_text(file.read_text(encoding="utf-8") + "RUN true\n", encoding="utf-8")
    ran = fategen("bake", "egg", cwd=own_sample)
    assert ran.code == 1
    assert "~ dockerfiles/egg/Dockerfile" in ran.err and "fategen render" in ran.err


def test_everything_that_is_wrong_is_listed_before_anything_starts(pushed: Path, fategen: Fategen) -> None:
    ran = fategen("bake", "all", "mysql", "--push", "--base", "published", "--set", "CA_BUNDLE=gone.pem", cwd=pushed)
    assert ran.code == 2
    for text in ("mysql: a third-party image keeps", "base-image is not built", "gone.pem is not a file"):
        assert text in ran.err
    assert "nothing was started" in ran.err


def test_an_unknown_builder(pushed: Path, fategen: Fategen) -> None:
    ran = fategen("bake", "roll", "--builder", "nowhere", cwd=pushed)
    assert ran.code == 3
    assert 'no builder "nowhere" found' in ran.err and "docker buildx ls" in ran.err


def test_no_docker_no_daemon_no_buildx(pushed: Path, fategen: Fategen, tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path)}
    down = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "DOCKER_CONTEXT": None}
    plain = {"DOCKER_CONFIG": str(tmp_path)}
    cases = [(nothing, "docker is not installed"), (down, "no Docker daemon answers at unix://")]
    if not docker("--config", str(tmp_path), "buildx", "version", check=False):
        cases.append((plain, "docker has no buildx plugin"))
    for env, message in cases:
        ran = fategen("bake", "roll", cwd=pushed, env=env)
        assert (ran.code, message in ran.err, "  next: " in ran.err) == (3, True, True), ran.err
        ran = fategen("doctor", cwd=pushed, env=env)
        assert ran.code == 1 and "Traceback" not in ran.err, ran.err
        assert "✗" in ran.out and "get it: " in ran.out


def test_docker_20_is_too_old_and_told_so(pushed: Path, fategen: Fategen) -> None:
    if "FATEGEN_SANDBOX_DOCKER20" not in os.environ:
        pytest.skip("no Docker 20.10 here")
    env = {"DOCKER_HOST": os.environ["FATEGEN_SANDBOX_DOCKER20"]}
    ran = fategen("bake", "roll", cwd=pushed, env=env)
    assert ran.code == 3
    assert "Docker 20.10" in ran.err and "docker buildx create --name fategen" in ran.err
    assert fategen("doctor", cwd=pushed, env=env).code == 1


def test_doctor_finds_what_bake_needs(pushed: Path, fategen: Fategen) -> None:
    ran = succeeded(fategen("doctor", "--format", "json", cwd=pushed))
    rows = {row["name"]: row["state"] for row in json.loads(ran.out)}
    assert {rows[name] for name in ("project", "docker", "engine", "buildx", "builder", "linux/amd64", "registry")} == {
        "ok"
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_process(own_sample: Path, number: signal.Signals) -> None:
    """A source that takes long to compile gives the time to interrupt it."""
    source = own_sample.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc"
    source.write_text(f"// {time.time_ns()}\n{source.read_text(encoding='utf-8')}", encoding="utf-8")
    command = [sys.executable, "-m", "generator", "bake", "egg", "-v"]
    with (own_sample / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=own_sample, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    wait_for(lambda: b"g++" in (own_sample / "said").read_bytes(), 300)
    children = started_by(own_sample)
    assert children
    process.send_signal(number)
    code = process.wait(30)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    wait_for(lambda: not started_by(own_sample), 15)
    assert b"Traceback" not in (own_sample / "said").read_bytes()


def test_a_second_run_in_a_project_waits_for_the_first(pushed: Path) -> None:
    """They share the bake file of --set, the logs and the file that digests are read from."""
    command = [sys.executable, "-m", "generator", "bake", "roll"]
    with lock_project(Project(pushed)):
        process = subprocess.Popen(command, cwd=pushed, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for another fategen in this project\n"
        assert process.poll() is None
    said = process.communicate(timeout=300)[1]
    assert (process.returncode, "roll" in said) == (0, True)


def started_by(project: Path) -> list[int]:
    """Processes whose command line names the project's metadata file: docker and its buildx plugin."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(project / ".fategen/metadata.json").encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_for(condition: object, seconds: float) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.1)


def test_each_image_writes_a_build_cache_of_its_own(pushed: Path, fategen: Fategen, registry: str) -> None:
    name = f"cache-{os.getpid()}"
    cache = f"{registry}/{name}/of"
    ran = succeeded(fategen("bake", "roll", "--set", f"CACHE_TO={cache}", "--set", f"CACHE_FROM={cache}", cwd=pushed))
    assert "no build cache was read for packages, roll: there is none yet" in ran.err
    with urllib.request.urlopen(f"http://{registry}/v2/{name}/of/tags/list", timeout=10) as answer:
        assert sorted(json.load(answer)["tags"]) == ["packages", "roll"]
    again = succeeded(fategen("bake", "roll", "--set", f"CACHE_FROM={cache}", cwd=pushed))
    assert "no build cache" not in again.err


@pytest.mark.parametrize("client", clients())
def test_a_cache_out_of_reach_does_not_keep_a_release_back(pushed: Path, fategen: Fategen, client: str) -> None:
    gone = ("--set", "CACHE_TO=localhost:1/gone", "--set", "CACHE_FROM=localhost:1/gone")
    ran = succeeded(
        fategen("bake", "roll", "--push", *gone, cwd=pushed, env={"DOCKER_CONFIG": client} if client else None)
    )
    assert "no build cache was read" in ran.err and "no build cache was written" in ran.err
    assert "connection refused" in ran.err
    assert "roll" in ran.out and "sha256:" in ran.out
