"""The environment and the arguments of bake, the tree that is built; nothing starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from generator.bake.job import Options
from generator.bake.prepare import bake_command, make_context, make_environment, open_workspace, outside, passwords
from generator.bake.run import BakeContext
from generator.docker.engine import Answers, Facts, Store
from generator.docker.process import Completed, Docker
from generator.errors import DriftError
from generator.plan.plan import Plan
from generator.project import Project
from generator.render.tree import BAKE_FILE, compare, write
from generator.workspace import Workspace, load
from tests.fate_plan import facts_of, job_of, plan_of, put


def test_paths_outside_of_the_project(tmp_path: Path) -> None:
    sources = (("FATE_SOURCE", "../FATE"), ("EGGROLL_SOURCE", "in/eggroll"))
    far = plan_of(sources=sources, ca_bundle="/etc/ca.pem", others=(("REQUIREMENTS", "../lists/r.txt"),))
    paths = outside(tmp_path / "p", far, job_of(far).involved)
    assert paths == [str(tmp_path.resolve() / "FATE"), "/etc/ca.pem", str(tmp_path.resolve() / "lists")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TAG", "TAG in the environment is ignored: .env says TAG=1; use --set TAG=…"),
        ("CACHE_TO", "CACHE_TO in the environment is ignored: .env does not set CACHE_TO; use --set CACHE_TO=…"),
    ],
)
def test_a_stray_variable_is_ignored_and_told(plan: Plan, name: str, said: str) -> None:
    environment, told = make_environment(plan, {name: "evil", "PREFIX": "localhost:5000/t", "PATH": "/bin"})
    assert environment["TAG"] == "1" and environment["PATH"] == "/bin"
    assert told == [said]


def test_the_callers_proxy_stays_buildxs_own(plan: Plan) -> None:
    made, notes = make_environment(plan, {"HTTPS_PROXY": "http://corp:3128"})
    assert made["HTTPS_PROXY"] == "" and made["https_proxy"] == "http://corp:3128"
    assert not notes


@pytest.mark.parametrize("provenance", [True, False])
def test_what_would_change_the_build_is_taken_out(provenance: bool) -> None:
    stray = {"SOURCE_DATE_EPOCH": "0", "BUILDX_BAKE_ENTITLEMENTS_FS": "0", "BUILDX_GIT_LABELS": "1"}
    made, notes = make_environment(plan_of(provenance=provenance), {**stray, "DOCKER_HOST": "h"})
    left = {name: value for name, value in made.items() if name.startswith(("BUILDX", "SOURCE_DATE", "DOCKER"))}
    git = {} if provenance else {"BUILDX_GIT_INFO": "false"}
    assert left == {"DOCKER_HOST": "h", "BUILDX_METADATA_PROVENANCE": "disabled", **git}
    assert len(notes) == 3


def test_the_command_names_the_file_and_never_a_value(plan: Plan) -> None:
    job = job_of(plan, "egg", platforms=("linux/amd64",), builder="farm")
    command = bake_command(job, BAKE_FILE, (0, 19, 0), overrides=["egg.tags="], readable=["/src"])
    assert command == ("buildx", "--builder", "farm", "bake", "-f", "out/docker-bake.hcl", "--set", "egg.tags=")
    newer = bake_command(job_of(plan, "egg"), BAKE_FILE, (0, 20, 0), readable=["/src"])
    assert newer == ("buildx", "bake", "-f", "out/docker-bake.hcl", "--allow=fs.read=/src")


def test_a_tree_elsewhere_keeps_paths_from_the_root(plan: Plan) -> None:
    _, _, _, file, *sets = bake_command(job_of(plan, "egg", "mysql"), f".fategen/tree/{BAKE_FILE}", (0, 19, 0))
    assert file == ".fategen/tree/out/docker-bake.hcl"
    contexts = {"packages-linux-amd64": "packages", "base-image": "base-image", "egg": "egg"}
    moved = [f"{target}.context=.fategen/tree/dockerfiles/{name}" for target, name in contexts.items()]
    assert sets == [word for override in moved for word in ("--set", override)], "mysql has no Dockerfile"


def test_passwords_are_known_as_written_and_decoded() -> None:
    assert sorted(passwords(plan_of(http_proxy="http://me:p%40ss@proxy:1"))) == ["p%40ss", "p@ss"]
    assert passwords(plan_of(http_proxy="http://proxy:1")) == []


def made(root: Path, plan: Plan, facts: Facts, **options: Any) -> BakeContext:
    """A bake of roll, for one platform."""
    answers = Answers(facts.engine, facts.buildx, facts.builder, Completed(("docker",), 0, "", ""))
    workspace, asked = Workspace(Project(root), plan, {}, ()), Options(platforms=("linux/amd64",), **options)
    return make_context(Docker("docker"), workspace, ("roll",), asked, lambda: answers)


@pytest.mark.parametrize(
    ("settings", "options", "smaller"),
    [
        ({"provenance": True, "http_proxy": "http://me:secret@proxy:3128"}, {}, True),
        ({"provenance": True, "http_proxy": "http://me:secret@proxy:3128"}, {"attestations": False}, False),
        ({"provenance": True, "http_proxy": "http://proxy:3128"}, {}, False),
        ({"http_proxy": "http://me:secret@proxy:3128"}, {}, False),
    ],
)
def test_a_provenance_has_no_build_arguments_where_a_proxy_has_a_password(
    tmp_path: Path, settings: dict[str, object], options: dict[str, object], smaller: bool
) -> None:
    context = made(tmp_path, plan_of(**settings), facts_of(), **options)
    attests = [word for word in context.command if word.startswith("*.attest")]
    assert attests == (["*.attest=type=provenance,mode=min"] if smaller else [])


@pytest.mark.parametrize(
    ("driver", "store", "cache", "left_out"),
    [("docker", "graphdriver", "r/cache", True), ("docker", "containerd", "r/cache", False),
     ("docker-container", "graphdriver", "r/cache", False), ("remote", "graphdriver", "r/cache", False),
     ("docker", "graphdriver", "", False)],
)  # fmt: skip
def test_where_buildx_would_refuse_the_build_the_cache_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], driver: str, store: Store, cache: str, left_out: bool
) -> None:
    context = made(tmp_path, plan_of(cache_to=cache), facts_of(driver=driver, store=store))
    assert ("*.cache-to=" in context.command) is left_out
    said = capsys.readouterr().err
    assert ("CACHE_TO is ignored" in said, "docker buildx create" in said) == (left_out, left_out)


def test_a_manual_edit_is_told_where_it_belongs_and_a_changed_env_is_none(project_dir: Path) -> None:
    def refusal(path: str, more: str) -> DriftError:
        with (project_dir / path).open("a", encoding="utf-8") as file:
            file.write(more)
        with pytest.raises(DriftError) as raised:
            load(project).require_current()
        return raised.value

    project = Project(project_dir)
    write(load(project).drift(), project_dir)
    keep = "to keep an edit of dockerfiles/roll/Dockerfile, make it in its template: "
    assert refusal("dockerfiles/roll/Dockerfile", "ENV X=1\n").hint.endswith(f"{keep}fategen override roll")
    own, text = "templates/dockerfiles/java.Dockerfile.j2", '{% extends "packaged/dockerfiles/java.Dockerfile.j2" %}\n'
    put(project_dir, own)
    assert refusal(own, text).hint.endswith(f"{keep}{own}")
    write(load(project).drift(), project_dir)
    changed = refusal(".env", "BASE_REGISTRY=mirror.example.com\n")
    assert "dockerfiles/roll/Dockerfile" in changed.message and "keep an edit" not in changed.hint


def test_a_value_that_changes_no_rendered_file_builds_the_committed_ones(project_dir: Path) -> None:
    project = Project(project_dir)
    with pytest.raises(DriftError, match=r"files are out of date with \.env"):
        open_workspace(project, (), ())
    write(load(project).drift(), project_dir)
    workspace = open_workspace(project, (), ())
    same = open_workspace(project, (f"TAG={workspace.plan.settings.tag}",), ())
    assert (same.tree, same.bake_file, workspace.bake_file) == (workspace.tree, BAKE_FILE, BAKE_FILE)
    changed = open_workspace(project, ("TAG=other",), ())
    assert changed.bake_file == f".fategen/tree/{BAKE_FILE}"
    assert not compare(changed.tree, project_dir / ".fategen/tree")
