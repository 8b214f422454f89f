"""Rows of the doctor from made-up answers; what a real machine says is looked at in tests/e2e."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from generator.bake import doctor
from generator.bake.doctor import (
    DISK_NEEDED,
    disk_row,
    docker_config,
    engine_rows,
    examine,
    input_rows,
    lacks_for_bake,
    platform_row,
    proxy_row,
)
from generator.bake.requirement import Row
from generator.cli import cli
from generator.docker.engine import Answers, Builder, Engine, Node
from generator.docker.process import Completed, Docker
from generator.errors import EngineError
from generator.project import Project
from generator.render.tree import write
from generator.workspace import Workspace, load
from tests.sample_project import SAMPLE

ENGINE = Engine("26.1.5", "26.1.5", "containerd", "linux/amd64")
DOWN = Engine("28.2.2", "", "graphdriver", "linux/", EngineError("no Docker daemon answers", hint="start it"))
SAID = Completed(("docker",), 1, "", 'ERROR: no builder "farm" found\n')


def builder(driver: str = "docker", *platforms: str) -> Builder:
    return Builder(
        "default", driver, (Node("n", "", "running", "v0.13.2", platforms or ("linux/amd64", "linux/arm64")),)
    )


def rows_of(answers: Answers | EngineError, workspace: Workspace | None = None) -> dict[str, Row]:
    return {row.name: row for row in engine_rows(answers, workspace)}


@pytest.fixture
def workspace(project_dir: Path) -> Workspace:
    write(load(Project(project_dir)).drift(), project_dir)
    return load(Project(project_dir))


def test_local_sources_and_secret_files_are_looked_at(project_dir: Path) -> None:
    env = project_dir / ".env"
    before = env.read_text()
    workspace = load(Project(project_dir))
    assert input_rows(project_dir, workspace) == []
    env.write_text(f"{before}FATE_SOURCE={SAMPLE / 'fate'}\nCA_BUNDLE=.env\n")
    rows = input_rows(project_dir, load(Project(project_dir)))
    assert [(row.name, row.state) for row in rows] == [("sources", "ok"), ("files", "ok")]
    env.write_text(f"{before}FATE_SOURCE={SAMPLE / 'eggroll'}\nCA_BUNDLE=gone.pem\nREQUIREMENTS=gone.txt\n")
    sources, files = input_rows(project_dir, load(Project(project_dir)))
    assert sources.state == "missing" and ".env:4: FATE_SOURCE: " in sources.found and "arch/pom.xml" in sources.found
    assert files.state == "missing" and "CA_BUNDLE: gone.pem is not a file" in files.found
    assert "REQUIREMENTS: gone.txt is not a file" in files.found


def test_a_machine_with_everything(workspace: Workspace) -> None:
    rows = rows_of(Answers(ENGINE, (0, 13, 1), builder(), SAID), workspace)
    assert {row.state for row in rows.values()} == {"ok"}
    assert list(rows) == ["docker", "engine", "image store", "buildx", "builder", "linux/amd64", "linux/arm64"]
    assert rows["builder"].found == "default, driver docker, 1 node, BuildKit v0.13.2"


def test_no_daemon() -> None:
    rows = rows_of(Answers(DOWN, None, None, SAID))
    assert (rows["engine"].state, rows["engine"].get) == ("missing", "start it")
    assert rows["buildx"].state == "missing" and "docker-buildx-plugin" in rows["buildx"].get
    assert "bundle inspect" in rows["engine"].without


def test_a_remote_builder_needs_no_daemon() -> None:
    rows = rows_of(Answers(DOWN, (0, 29, 1), builder("remote"), SAID))
    assert rows["engine"].state == "note" and "bundle save" in rows["engine"].without
    assert not lacks_for_bake(list(rows.values()))


def test_old_buildx() -> None:
    rows = rows_of(Answers(ENGINE, (0, 12, 1), builder(), SAID))
    assert (rows["buildx"].state, rows["buildx"].found) == ("missing", "0.12.1")
    assert "builder" not in rows


def test_an_unknown_builder() -> None:
    rows = rows_of(Answers(ENGINE, (0, 13, 1), None, SAID))
    assert rows["builder"].found == 'no builder "farm" found'
    assert lacks_for_bake(list(rows.values()))


def test_builders_that_do_not_answer_or_do_not_run_yet() -> None:
    broken = replace(builder("remote"), error="timed out")
    assert rows_of(Answers(ENGINE, (0, 13, 1), broken, SAID))["builder"].found == "timed out"
    waiting = replace(builder("docker-container"), nodes=(Node("n", "", "inactive", "", ()),))
    rows = rows_of(Answers(ENGINE, (0, 13, 1), waiting, SAID))
    assert rows["builder"].state == "ok" and "not running" in rows["builder"].found and "platforms" not in rows


def test_a_docker_that_cannot_be_started() -> None:
    assert rows_of(EngineError("docker cannot be started: Permission denied"))["docker"].state == "missing"


def test_a_graphdriver(workspace: Workspace) -> None:
    old = replace(ENGINE, store="graphdriver")
    rows = rows_of(Answers(old, (0, 13, 1), builder(), SAID), workspace)
    assert rows["image store"].state == "note"
    assert "bundle save" in rows["image store"].without and "not bundle save" not in rows["builder"].without
    assert rows["builder"].state == "missing" and "docker buildx create --name fategen" in rows["builder"].get
    assert rows_of(Answers(old, (0, 13, 1), builder("docker-container"), SAID), workspace)["builder"].state == "ok"


def test_an_engine_too_old_to_build() -> None:
    rows = rows_of(Answers(replace(ENGINE, version="20.10.24", store="graphdriver"), (0, 13, 1), builder(), SAID))
    assert rows["builder"].state == "missing" and "Docker 20.10.24" in rows["builder"].found


def test_a_platform_that_no_image_runs_on_is_no_obstacle(workspace: Workspace) -> None:
    rows = rows_of(Answers(ENGINE, (0, 13, 1), builder("docker", "linux/amd64"), SAID), workspace)
    assert rows["linux/arm64"].state == "note"
    assert platform_row("linux/arm64", False, ["python"]).state == "missing"
    assert "python" in platform_row("linux/arm64", False, ["python"]).needed


def test_disk() -> None:
    assert disk_row(DISK_NEEDED).state == "ok"
    assert disk_row(DISK_NEEDED - 1).state == "note"


def test_proxies_are_named_without_their_values() -> None:
    row = proxy_row({"proxies": {"default": {}}}, {"https_proxy": "http://me:hunter2@proxy", "NO_PROXY": ""})
    assert row.found.startswith("HTTPS_PROXY in the environment") and "config.json" in row.found
    assert "hunter2" not in row.found


def test_dockers_config(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {}}')
    assert docker_config({"HOME": str(tmp_path)}) == {"auths": {}}
    (tmp_path / "config.json").write_text("[1]")
    assert docker_config({"DOCKER_CONFIG": str(tmp_path)}) == {}
    (tmp_path / "config.json").write_text("{")
    assert docker_config({"DOCKER_CONFIG": str(tmp_path)}) == {}
    assert docker_config({}) in ({}, docker_config({"HOME": "/"}))


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Docker:
        raise EngineError("docker is not installed")

    monkeypatch.setattr(doctor, "find_docker", none)


@pytest.mark.usefixtures("no_docker")
def test_no_docker_no_project(tmp_path: Path) -> None:
    rows = {row.name: row for row in examine(tmp_path, {})}
    assert rows["docker"].state == "missing" and rows["project"].state == "note"
    assert "login" not in rows


@pytest.mark.usefixtures("no_docker")
def test_projects_of_every_kind(project_dir: Path) -> None:
    def project() -> Row:
        return next(row for row in examine(project_dir, {}) if row.name == "project")

    assert project().state == "missing" and "not up to date" in project().found
    write(load(Project(project_dir)).drift(), project_dir)
    assert project().state == "ok" and "federatedai" in project().found
    (project_dir / ".env").write_text("PREFIX=\n")
    assert project().state == "missing" and ".env" in project().found


@pytest.mark.usefixtures("no_docker")
def test_the_command(project_dir: Path) -> None:
    run = CliRunner().invoke(cli, ["doctor", "-C", str(project_dir)])
    assert run.exit_code == 1, run.output
    assert "✗  docker" in run.output and "get it: install Docker Engine" in run.output
    run = CliRunner().invoke(cli, ["doctor", "-C", str(project_dir), "--format", "json"])
    assert run.exit_code == 1
    assert {row["name"] for row in json.loads(run.output)} >= {"fategen", "project", "docker", "disk", "git", "proxies"}
