"""The checks before a build, as bake raises them and as the doctor prints them; nothing here starts a process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator.bake.checks import (
    Build,
    Check,
    build_problems,
    create_command,
    dirty_problems,
    engine_checks,
    examine,
    file_checks,
    flag_problems,
    platform_checks,
    proxy_check,
    raise_problems,
)
from generator.config.settings import key_of
from generator.docker.engine import BUILDX_UNKNOWN, Answers, Facts
from generator.docker.git import Checkout
from generator.docker.process import Completed
from generator.errors import EngineError, FategenError, Problem
from generator.plan.plan import Plan
from generator.project import Project, packaged_data
from generator.render.render import render
from generator.render.tree import write
from generator.workspace import Workspace, load
from tests.conftest import Run
from tests.fate_plan import facts_of, job_of, plan_of, put
from tests.sample_project import SAMPLE

COMMIT = "1a2b3c4d5e6f" + "0" * 28


def build_of(plan: Plan, *names: str, root: Path = Path(), **options: object) -> Build:
    """What bake is asked for these images, in a project at ``root``."""
    project = Project(root)
    return Build(
        Workspace(project, plan, render(plan, project.search_path("templates")), ()), job_of(plan, *names, **options)
    )


GONE = facts_of(driver="remote", version="", problem=EngineError("no Docker daemon answers", hint="start it"))
NO_BUILDER = Completed(("docker",), 1, "", 'ERROR: no builder "farm" found\n')


def rows(known: Facts, build: Build | None = None, **others: Any) -> dict[str, Check]:
    """What the doctor prints; ``others`` are other answers of docker and buildx."""
    answers = replace(Answers(known.engine, known.buildx, known.builder, NO_BUILDER), **others)
    return {check.name: check for check in engine_checks(answers, build)}


def states(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in checks.items() if check.state != "ok"}


# flags and files


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("packages", {"output": "push"}, "packages: it is a build-only image without a tag, so it cannot be pushed"),
        ("mysql", {"output": "push"}, "mysql: a third-party image keeps its own name"),
        ("base-image", {"published_base": True}, "--published-base: base-image is not built"),
    ],
)
def test_a_flag_that_does_not_go_with_an_image(plan: Plan, name: str, options: dict[str, object], problem: str) -> None:
    [found] = flag_problems(build_of(plan, name, **options))
    assert str(found).startswith(problem)


def file_problems(root: Path, source: Path | str = "", **settings: object) -> list[str]:
    overrides = (("FATE_SOURCE", str(source)),) if source else ()
    origins = (("FATE_SOURCE", ".env:4"),)
    build = build_of(plan_of(sources=overrides, origins=origins, **settings), "all", root=root)
    return [str(problem) for check in file_checks(build) for problem in check.problems]


def test_a_source_or_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert file_problems(tmp_path, "../FATE", ca_bundle="ca.pem", others=(("REQUIREMENTS", "gone.txt"),)) == [
        ".env:4: FATE_SOURCE: ../FATE is not a directory",
        ".env: CA_BUNDLE: ca.pem is not a file",
        ".env: REQUIREMENTS: gone.txt is not a file",
    ]
    (tmp_path / "FATE").mkdir()
    assert file_problems(tmp_path, "FATE") == [".env:4: FATE_SOURCE: FATE is empty: a checkout is expected"]
    (tmp_path / "hosts").touch()
    assert file_problems(tmp_path, ca_bundle="hosts") == [".env: CA_BUNDLE: hosts has no certificate in PEM form"]


def test_sources_and_files_that_are_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert file_problems(tmp_path, SAMPLE / "fate", ca_bundle="ca.pem") == []
    assert file_checks(build_of(plan_of(), "all", root=tmp_path)) == [], "a source in git is not looked at"


def test_a_wrong_checkout_and_one_without_a_file_name_what_is_missing(tmp_path: Path) -> None:
    [problem] = file_problems(tmp_path, SAMPLE / "eggroll")
    assert "eggroll has no arch/pom.xml, arch/proto, arch/core and " in problem
    assert "dockerfiles/packages/Dockerfile" in problem
    shutil.copytree(SAMPLE / "fate", tmp_path / "FATE")
    (tmp_path / "FATE/requirements.txt").unlink()
    [problem] = file_problems(tmp_path, "FATE")
    assert "FATE has no requirements.txt, for dockerfiles/base-image/Dockerfile: check out the right" in problem


def test_a_typo_in_the_projects_own_template_is_not_the_checkouts_fault(tmp_path: Path) -> None:
    template = "templates/dockerfiles/python.Dockerfile.j2"
    text = (packaged_data("templates") / "dockerfiles/python.Dockerfile.j2").read_text()
    put(tmp_path, template, text.replace("COPY --from=fate fate_flow", "COPY --from=fate fate_flw"))
    build = build_of(plan_of(sources=(("FATE_SOURCE", str(SAMPLE / "fate")),)), "all", root=tmp_path)
    [check] = file_checks(build)
    lines = build.workspace.tree["dockerfiles/python/Dockerfile"].splitlines()
    assert [str(problem) for problem in check.problems] == [
        f"dockerfiles/python/Dockerfile:{lines.index('COPY --from=fate fate_flw ./fate_flow') + 1}: COPY --from=fate: "
        f"{SAMPLE / 'fate'} has no fate_flw; did you mean fate_flow? (rendered from {template})"
    ]


# uncommitted sources


def dirty(names: tuple[str, ...], source: str = "fate", **options: object) -> list[str]:
    key = key_of(source, "_SOURCE")
    origins = ((key, ".env:5"), *([("TAG", "--set")] if options.pop("own_tag", False) else []))
    plan = plan_of(sources=((key, f"../{source}"),), origins=origins)
    if tags := options.pop("tags", ()):
        plan = replace(plan, targets=tuple(replace(t, tag_patterns=tags) for t in plan.targets))  # type: ignore[arg-type]
    local = next(s for t in plan.targets for s in t.sources if s.name == source)
    state = {source: Checkout(local, COMMIT, ("a.py",))}
    return [str(p) for p in dirty_problems(build_of(plan, *names, **{"output": "push", **options}), state)]


def test_uncommitted_changes_are_not_pushed_to_the_tags_of_a_release() -> None:
    [problem] = dirty(("components",))
    assert problem.startswith(".env:5: fate: ../fate at commit 1a2b3c4d5e6f")
    assert "--set TAG=…" in problem and "--allow-dirty" in problem
    assert len(dirty(("all",))) == 2, "BASE_TAG too"
    # every push writes this one
    latest = ("${tag}", "latest")
    [problem] = dirty(("components",), tags=latest)
    assert "latest, the release's tags: commit the changes, or add --allow-dirty" in problem
    [problem] = dirty(("components",), own_tag=True, tags=latest)
    assert "not pushed as latest, which --set TAG does not change: commit the changes, or add --allow-dirty" in problem


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("components",), {"own_tag": True}),
        (("components",), {"allow_dirty": True}),
        (("components",), {"output": "load"}),
        (("python",), {"source": "lmdb-safe"}),
    ],
    ids=["a tag of its own", "allowed", "no push", "an image that is not built from it"],
)
def test_uncommitted_changes_that_are_no_problem(names: tuple[str, ...], asked: dict[str, object]) -> None:
    assert dirty(names, **asked) == []  # type: ignore[arg-type]


# the builder and the engine


def test_the_engines_builder_on_a_graphdriver_builds_one_platform(plan: Plan) -> None:
    old, other = facts_of(store="graphdriver"), facts_of(store="graphdriver", driver="docker-container")
    [problem] = build_problems(build_of(plan, "roll"), old)
    assert "docker buildx create --name fategen --driver docker-container --driver-opt network=host" in problem.message
    assert "--platform linux/amd64" in problem.message
    assert not build_problems(build_of(plan, "roll", platforms=("linux/amd64",), output="load"), old)
    assert not build_problems(build_of(plan, "roll"), other)
    everything = build_of(plan, "all")
    checks = rows(old, everything)
    assert states(checks) == {"image store": "note", "builder": "missing"}
    assert "bundle save" in checks["image store"].without
    assert "docker buildx create --name fategen" in checks["builder"].get
    assert states(rows(other, everything)) == {"image store": "note"}


@pytest.mark.parametrize(("key", "asked"), [("PROVENANCE", {"provenance": True}), ("SBOM", {"sbom": True})])
def test_a_graphdriver_makes_no_attestations(key: str, asked: dict[str, bool]) -> None:
    def problems(known: Facts, **options: object) -> list[Problem]:
        return build_problems(build_of(plan_of(**asked), "roll", platforms=("linux/amd64",), **options), known)

    old = facts_of(store="graphdriver")
    [problem] = problems(old)
    assert problem.message.startswith(f"{key}: ") and "buildx create --name fategen" in problem.message
    assert f"--set {key}=false" in problem.message
    [problem] = problems(old, output="load")
    assert "buildx create" not in problem.message and f"--set {key}=false" in problem.message
    assert not problems(old, attestations=False), "a bundle has none"
    assert not problems(facts_of())
    assert not problems(facts_of(store="graphdriver", driver="remote"))


def test_an_old_buildkit_is_told_before_it_fails(plan: Plan) -> None:
    old = facts_of(store="graphdriver", version="20.10.24+dfsg1")
    [problem] = build_problems(build_of(plan, "roll"), old)
    assert "Docker 20.10.24+dfsg1 is too old" in problem.message and "buildx create" in problem.message
    row = rows(old)["builder"]
    assert row.state == "missing" and "Docker 20.10.24" in row.found
    for buildkit, too_old in (("v0.9.3", "BuildKit v0.9.3"), ("v0.0.0+unknown", ""), ("v0.10.6", ""), ("", "")):
        assert facts_of(driver="remote", buildkits=(buildkit,)).too_old == too_old


def test_load_needs_an_engine_that_keeps_what_is_built(plan: Plan) -> None:
    build = build_of(plan, "roll", output="load")
    for driver in ("docker", "remote"):
        [problem] = build_problems(build, facts_of(store="graphdriver", driver=driver))
        assert problem.where == "--load" and "containerd-snapshotter" in problem.message
        assert "--platform linux/amd64" in problem.message and "buildx create" not in problem.message
    [problem] = build_problems(build, GONE)
    assert problem.message == "no Docker daemon answers: start it"
    assert not build_problems(build, facts_of())
    pushed = build_of(plan, "roll", output="push")
    assert not build_problems(pushed, facts_of(store="graphdriver", driver="remote"))
    assert not build_problems(build_of(plan, "egg", output="load"), facts_of(store="graphdriver")), (
        "it has one platform"
    )


def test_the_doctor_has_a_build_of_all_images_in_mind(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(load(Project(project_dir)).drift(), project_dir)
    old = facts_of("linux/amd64", store="graphdriver")
    answers = Answers(old.engine, old.buildx, old.builder, NO_BUILDER)
    monkeypatch.setattr("generator.bake.checks.find_docker", lambda: None)
    monkeypatch.setattr("generator.bake.checks.asking", lambda _: contextlib.nullcontext(lambda: answers))
    monkeypatch.setattr("generator.bake.publish.registry_checks", lambda *_: [])
    found = {check.name: check.state for check in examine(project_dir, {})}
    assert (found["builder"], found["linux/arm64"]) == ("missing", "note")


def test_the_command_for_a_builder_knows_the_site() -> None:
    assert create_command(plan_of(prefix="harbor.example.com/fate")).endswith("docker-container --bootstrap")
    mirrored = create_command(plan_of(prefix="10.0.0.5:8443/fate", base_registry="10.0.0.5:8443/hub"))
    assert "--driver-opt image=10.0.0.5:8443/hub/moby/buildkit:buildx-stable-1" in mirrored
    assert "network=host" not in mirrored


def test_an_emulator_is_asked_for_only_where_a_step_runs(plan: Plan) -> None:
    native, python = (
        facts_of("linux/amd64"),
        build_of(plan_of(others=(("REQUIREMENTS", "requirements.txt"),)), "python"),
    )
    assert not build_problems(build_of(plan, "roll"), native), "Java images only copy on the target's platform"
    assert states(rows(native, build_of(plan, "all"))) == {"linux/arm64": "note"}
    [problem] = build_problems(python, native)
    assert "cannot run linux/arm64 programs, which base-image" in problem.message
    assert "qemu-user-static" in problem.message
    needed = {check.name: check for check in platform_checks(native, python)}["linux/arm64"]
    assert (needed.state, needed.needed) == ("missing", "for RUN steps of base-image")
    two = replace(native.builder, running=False, buildkits=("", ""))
    assert build_problems(python, replace(native, builder=two)) == [problem]


@pytest.mark.parametrize(("inputs", "code"), [([Problem("egg", "a")], 2), ([], 3)])
def test_problems_become_one_error_with_the_right_exit_code(inputs: list[Problem], code: int) -> None:
    raise_problems([], [])
    with pytest.raises(FategenError) as caught:
        raise_problems(inputs, [Problem("builder x", "b")])
    assert caught.value.exit_code == code and "builder x: b" in str(caught.value)
    assert "nothing was started" in caught.value.hint


# the doctor


def test_a_machine_with_everything(plan: Plan) -> None:
    checks = rows(facts_of(buildkits=("v0.13.2",)), build_of(plan, "all"))
    assert {check.state for check in checks.values()} == {"ok"}
    assert list(checks) == ["docker", "engine", "image store", "buildx", "builder", "linux/amd64", "linux/arm64"]
    assert checks["builder"].found == "default, driver docker, 1 node, BuildKit v0.13.2"


def test_no_daemon_and_no_buildx() -> None:
    checks = rows(GONE, buildx=None, builder=None)
    assert states(checks) == {"engine": "missing", "buildx": "missing"}
    assert checks["engine"].get == "start it" and "bundle inspect" in checks["engine"].without
    assert "docker-buildx-plugin" in checks["buildx"].get
    old = rows(facts_of(), buildx=(0, 12, 1))
    assert states(old) == {"buildx": "missing"} and old["buildx"].found == "0.12.1" and "builder" not in old
    assert rows(facts_of(), buildx=BUILDX_UNKNOWN)["buildx"].found == "built without a version"


def test_a_remote_builder_needs_no_daemon_and_one_of_several_nodes_cannot_do_all(plan: Plan) -> None:
    checks = rows(GONE)
    assert states(checks) == {"engine": "note"} and "bundle save" in checks["engine"].without
    farm = replace(GONE.builder, buildkits=("", ""))
    row = rows(GONE, build_of(plan, "all"), builder=farm)["builder"]
    assert (row.state, row.without) == ("note", "--verify and bundle save of several platforms")


def test_a_builder_that_is_unknown_or_does_not_answer_or_does_not_run_yet() -> None:
    assert rows(facts_of(), builder=None)["builder"].found.endswith('no builder "farm" found')
    assert states(rows(facts_of(driver="remote", error="timed out"))) == {"builder": "missing"}
    waiting = rows(facts_of(driver="docker-container", running=False))
    assert not states(waiting) and "not running" in waiting["builder"].found and "platforms" not in waiting


def test_proxies_are_named_without_their_values() -> None:
    check = proxy_check({"proxies": {"default": {}}}, {"https_proxy": "http://me:hunter2@proxy", "NO_PROXY": ""})
    assert check.found.startswith("HTTPS_PROXY in the environment") and "config.json" in check.found
    assert "hunter2" not in check.found


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.usefixtures("no_docker")
def test_projects_of_every_kind(project_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    none = {check.name: check for check in examine(tmp_path_factory.mktemp("none"), {})}
    assert none["docker"].state == "missing" and none["project"].state == "note" and "login" not in none

    def check(name: str) -> Check:
        return next(check for check in examine(project_dir, {}) if check.name == name)

    assert check("project").state == "missing" and "not up to date" in check("project").found
    write(load(Project(project_dir)).drift(), project_dir)
    assert check("project").state == "ok" and "federatedai" in check("project").found
    env = project_dir / ".env"
    env.write_text(f"{env.read_text()}FATE_SOURCE={SAMPLE / 'eggroll'}\nCA_BUNDLE=gone.pem\n")
    assert check("sources").state == "missing" and ".env:4: FATE_SOURCE: " in check("sources").found
    assert check("files").state == "missing" and "CA_BUNDLE: gone.pem is not a file" in check("files").found
    env.write_text("PREFIX=\n")
    assert check("project").state == "missing" and ".env" in check("project").found


@pytest.mark.usefixtures("no_docker")
def test_the_command(project_dir: Path, fategen: Run) -> None:
    code, out, _ = fategen("doctor", "-C", project_dir)
    assert code == 1 and "✗  docker" in out and "get it: install Docker Engine" in out
    code, out, _ = fategen("doctor", "-C", project_dir, "--format", "json")
    rows = json.loads(out)
    assert code == 1 and {row["name"] for row in rows} >= {"fategen", "project", "docker", "disk", "git", "proxies"}
    assert set(rows[0]) == {"name", "state", "found", "needed", "get", "without"}


def test_the_command_shows_no_login(fategen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Check("engine", "missing", "nobody answers at tcp://me:hunter2@h:1", "a daemon")
    monkeypatch.setattr("generator.cli.doctor.examine", lambda *_: [engine])
    for output_format in ("table", "json"):
        code, out, _ = fategen("doctor", "--format", output_format)
        assert (code, "hunter2" in out, "tcp://***@h:1" in out) == (1, False, True)
