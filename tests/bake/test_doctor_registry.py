"""The doctor's rows of PREFIX's registry: docker's own login for it, and what it says to a push."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from generator.bake.doctor_registry import login_row, registry_row, registry_rows
from generator.docker import credentials
from generator.docker.engine import Builder, Engine, Facts, Node
from generator.errors import EngineError
from generator.project import Project
from generator.workspace import Workspace, load
from tests.fate_plan import BOTH
from tests.harbor import Harbor

pytestmark = pytest.mark.usefixtures("one_authority")

FACTS = Facts(
    Engine("26", "26", "containerd", "linux/amd64"),
    (0, 29, 1),
    Builder("default", "docker", (Node("n", "default", "running", "", BOTH),)),
)


def docker_knows(directory: Path, config: object) -> dict[str, str]:
    """An environment whose docker has this configuration."""
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {"DOCKER_CONFIG": str(directory), "HOME": str(directory)}


def auth(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


@pytest.mark.parametrize(
    ("auths", "prefix", "state", "found"),
    [
        ({}, "10.0.0.5:8443/fate", "note", "none"),
        ({"10.0.0.5:8443": auth("robot$fate:secret")}, "10.0.0.5:8443/fate", "ok", "robot$fate"),
        ({"https://10.0.0.5:8443/v2/": auth("me:secret")}, "10.0.0.5:8443/fate", "ok", "me"),
        ({"10.0.0.5": auth("me:secret")}, "10.0.0.5:8443/fate", "note", "none"),
        ({"https://index.docker.io/v1/": auth("me:secret")}, "federatedai", "ok", "me"),
        ({"docker.io": auth("me:secret")}, "federatedai", "note", "none"),
        ({"10.0.0.5:8443": {"identitytoken": "secret"}}, "10.0.0.5:8443/fate", "ok", "a token"),
    ],
)
def test_a_login_is_looked_for_as_docker_does(
    auths: dict[str, object], prefix: str, state: str, found: str, tmp_path: Path
) -> None:
    row = login_row(prefix, docker_knows(tmp_path, {"auths": auths}))
    assert (row.state, row.found) == (state, found)
    assert "secret" not in json.dumps(row.as_json())


def test_a_credential_helper_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str, *_: object) -> None:
        raise EngineError(f"docker-credential-{name} cannot be started", hint="fategen doctor")

    monkeypatch.setattr(credentials, "_ask_helper", gone)
    row = login_row("h.io/fate", docker_knows(tmp_path, {"credsStore": "pass"}))
    assert (row.state, row.found) == ("note", "docker-credential-pass cannot be started")


@pytest.fixture
def workspace(project_dir: Path) -> Workspace:
    return load(Project(project_dir))


def at(workspace: Workspace, prefix: str) -> Workspace:
    """The same project with another PREFIX."""
    (workspace.project.root / ".env").write_text(f"PREFIX={prefix}\nBASE_TAG=1\nTAG=1\n", encoding="utf-8")
    return load(workspace.project)


@pytest.mark.parametrize(
    ("login", "path", "state", "says", "get"),
    [
        ("writer:right-horse", "fate", "ok", "takes a push of every image", ""),
        ("", "fate", "note", "needs a login", "docker login {host}"),
        ("writer:wrong-horse", "fate", "note", "refuses the login of writer", "docker login {host}"),
        ("reader:right-mule", "fate", "note", "reader may not push fate/", "ask for the right to push"),
        ("writer:right-horse", "gone", "note", "no project gone", "create project gone"),
    ],
)
def test_the_registry_says_what_it_would_say_to_a_push(
    login: str, path: str, state: str, says: str, get: str, workspace: Workspace, tmp_path: Path
) -> None:
    with Harbor() as harbor:
        environment = docker_knows(tmp_path, {"auths": {harbor.host: auth(login)} if login else {}})
        row = registry_row(FACTS, at(workspace, f"{harbor.host}/{path}"), environment)
        assert (row.state, says in row.found, get.format(host=harbor.host) in row.get) == (state, True, True), row
        assert "right-" not in json.dumps(row.as_json())


def test_a_registry_that_nobody_reaches(workspace: Workspace, tmp_path: Path) -> None:
    row = registry_row(FACTS, at(workspace, "127.0.0.1:1/fate"), docker_knows(tmp_path, {}))
    assert row.state == "note" and "cannot be reached: Connection refused" in row.found
    assert "see its name, the network" in row.get and row.without == "everything but bake --push"


def test_what_is_not_certain_is_no_more_than_a_note(workspace: Workspace, tmp_path: Path) -> None:
    with Harbor(auth="none") as plain:
        plain.hooks["POST", "uploads"] = (503, "UNAVAILABLE", "later")
        row = registry_row(FACTS, at(workspace, f"{plain.host}/fate"), docker_knows(tmp_path, {}))
    assert row.state == "note" and "503 UNAVAILABLE: later" in row.found and row.get.startswith("try it")


def test_a_registry_that_takes_pushes_from_all_needs_no_login(workspace: Workspace, tmp_path: Path) -> None:
    with Harbor(auth="none") as plain:
        login, registry = registry_rows(FACTS, at(workspace, f"{plain.host}/fate"), docker_knows(tmp_path, {}))
    assert (login.state, login.found, registry.state) == ("ok", "none; it takes pushes from all", "ok")


def test_without_a_builder_nobody_is_asked(workspace: Workspace, tmp_path: Path) -> None:
    [login] = registry_rows(None, workspace, docker_knows(tmp_path, {}))
    assert login.name == "login"
