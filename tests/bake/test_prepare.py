"""The environment and the arguments of bake, the tree that is built, what is exported first; nothing starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bake.prepare import (
    attestation,
    bake_environment,
    no_cache_export,
    open_workspace,
    outside,
    passwords,
    temporary_bake_file,
)
from generator.bake.publish import sent_first
from generator.bake.run import BakeFile, arguments
from generator.config.settings import Override
from generator.docker.engine import Builder, Engine, Facts, Store
from generator.errors import DriftError
from generator.plan.plan import Plan
from generator.project import Project
from generator.render.tree import compare, write
from generator.text import Version
from generator.workspace import load
from tests.fate_plan import job_of, plan_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of()


@pytest.mark.parametrize(
    ("buildx", "names", "leaders"),
    [
        ((0, 29, 1), ("components", "third-party"), ("federation", "python", "mysql", "redis")),
        ((0, 29, 1), ("egg", "python"), ("egg",)),
        ((0, 29, 1), ("federation", "python"), ()),
        ((0, 13, 1), ("components", "third-party"), ()),
    ],
)
def test_one_image_of_each_base_goes_first_where_buildx_would_send_the_base_with_every_image(
    plan: Plan, buildx: Version, names: tuple[str, ...], leaders: tuple[str, ...]
) -> None:
    assert sent_first(job_of(plan, *names, platforms=("linux/amd64",)), buildx) == leaders


def test_paths_outside_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    far = plan_of(
        sources=(Override("fate", "../FATE", ""), Override("eggroll", "in/eggroll", "")), ca_bundle="/etc/ca.pem"
    )
    paths = outside(tmp_path / "p", far, job_of(far).involved)
    assert paths == [str((tmp_path / "FATE").resolve()), "/etc/ca.pem"]


@pytest.mark.parametrize(
    ("process", "values", "secret", "notes"),
    [
        (
            {"TAG": "evil", "PREFIX": "p"},
            {"TAG": "1.3.0", "PREFIX": "p"},
            "",
            ["TAG=evil in the environment is ignored: .env says TAG=1.3.0; use --set TAG=…"],
        ),
        (
            {"CACHE_TO": "x"},
            {"CACHE_TO": ""},
            "",
            ["CACHE_TO=x in the environment is ignored: .env does not set CACHE_TO; use --set CACHE_TO=…"],
        ),
        (
            {"TOKEN": "hunter2"},
            {"TOKEN": "other"},
            "TOKEN",
            ["TOKEN=*** in the environment is ignored: .env sets TOKEN; use --set TOKEN=…"],
        ),
    ],
    ids=["another value", "none in .env", "secret"],
)
def test_a_stray_variable_is_ignored_and_told(
    process: dict[str, str], values: dict[str, str], secret: str, notes: list[str]
) -> None:
    environment, told = bake_environment({**process, "PATH": "/bin"}, values, frozenset({secret}))
    assert environment.items() >= {**values, "PATH": "/bin"}.items()
    assert told == notes


def test_the_callers_proxy_stays_buildxs_own() -> None:
    made, notes = bake_environment({"HTTPS_PROXY": "http://corp:3128"}, {"HTTPS_PROXY": ""}, frozenset({"HTTPS_PROXY"}))
    assert made["HTTPS_PROXY"] == "" and made["https_proxy"] == "http://corp:3128"
    assert not notes


def test_what_would_change_the_build_is_taken_out() -> None:
    stray = {"SOURCE_DATE_EPOCH": "0", "BUILDX_BAKE_ENTITLEMENTS_FS": "0", "BUILDX_GIT_LABELS": "1"}
    made, notes = bake_environment({**stray, "DOCKER_HOST": "h"}, {}, frozenset())
    kept = {"DOCKER_HOST": "h", "BUILDX_METADATA_PROVENANCE": "disabled"}
    assert made == {**kept, "BUILDX_GIT_INFO": "false"}
    assert len(notes) == 3
    assert bake_environment({"DOCKER_HOST": "h"}, {}, frozenset(), provenance=True)[0] == kept, "it records git"


def test_arguments_name_the_file_and_never_a_value(plan: Plan) -> None:
    job = job_of(plan, "egg", platforms=("linux/amd64",), builder="farm")
    bake_file = BakeFile(overrides=("egg.context=x",))
    args = arguments(job, bake_file, (0, 19, 0), ["egg"], flags=["--print"], readable=["/src"])
    assert args[:6] == ["buildx", "--builder", "farm", "bake", "-f", "out/docker-bake.hcl"]
    assert args[-1] == "egg"
    assert "egg.platform=linux/amd64" in args and "egg.context=x" in args
    assert not [arg for arg in args if arg.startswith("--allow") or "TAG" in arg]


def test_newer_buildx_is_given_leave_for_paths_outside(plan: Plan) -> None:
    args = arguments(job_of(plan, "egg"), BakeFile(), (0, 20, 0), ["egg"], readable=["/src"])
    assert "--allow=fs.read=/src" in args
    assert not [arg for arg in args if arg.endswith("linux/amd64")], "platforms are the file's without --platform"


def test_a_temporary_tree_keeps_paths_from_the_root(plan: Plan) -> None:
    bake_file = temporary_bake_file(plan, ".fategen/tree")
    assert bake_file.path == ".fategen/tree/out/docker-bake.hcl"
    assert "egg.context=.fategen/tree/dockerfiles/egg" in bake_file.overrides
    assert not [path for path in bake_file.overrides if path.startswith("mysql")], (
        "third-party images have no Dockerfile"
    )


def test_passwords_are_known_as_written_and_decoded() -> None:
    assert sorted(passwords(plan_of(http_proxy="http://me:p%40ss@proxy:1"))) == ["p%40ss", "p@ss"]
    assert passwords(plan_of(http_proxy="http://proxy:1")) == []


def test_a_provenance_has_no_build_arguments_where_a_proxy_has_a_password() -> None:
    behind = plan_of(provenance=True, http_proxy="http://me:secret@proxy:3128")
    assert attestation(behind) == ["*.attest=type=provenance,mode=min"]
    assert attestation(plan_of(provenance=True, http_proxy="http://proxy:3128")) == []
    assert attestation(plan_of(http_proxy="http://me:secret@proxy:3128")) == []


@pytest.mark.parametrize(
    ("driver", "store", "left_out"),
    [("docker", "graphdriver", True), ("docker", "containerd", False), ("docker-container", "graphdriver", False),
     ("remote", "graphdriver", False)],
)  # fmt: skip
def test_where_buildx_would_refuse_the_build_the_cache_is_left_out(driver: str, store: Store, left_out: bool) -> None:
    facts = Facts(Engine("26", "26", store, "linux/amd64"), (0, 13, 1), Builder("default", driver, ()))
    note = no_cache_export(facts, plan_of(cache_to="r/cache"))
    assert bool(note) is left_out
    assert not left_out or ("CACHE_TO is ignored" in note and "docker buildx create" in note)
    assert no_cache_export(facts, plan_of()) == ""


def test_set_builds_from_a_temporary_tree_and_leaves_the_committed_files(
    project_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(project_dir)
    with pytest.raises(DriftError) as caught:
        open_workspace(project, (), ())
    assert "files are out of date with .env" in caught.value.message and "+ out/" in caught.value.message
    assert "fategen render" in caught.value.hint
    write(load(project).drift(), project_dir)
    workspace, bake_file = open_workspace(project, (), ())
    assert bake_file == BakeFile() and not capsys.readouterr().err
    before = (project_dir / "out/docker-bake.hcl").read_text()
    changed, bake_file = open_workspace(project, ("TAG=other",), ())
    assert changed.plan.settings.tag == "other"
    assert bake_file.path == ".fategen/tree/out/docker-bake.hcl"
    assert "without changing the committed files" in capsys.readouterr().err
    assert (project_dir / "out/docker-bake.hcl").read_text() == before
    assert not compare(changed.tree, project_dir / ".fategen/tree")
    same, bake_file = open_workspace(project, (f"TAG={workspace.plan.settings.tag}",), ())
    assert bake_file == BakeFile() and same.tree == workspace.tree
