"""What is asked of bake and what is made of its answers; nothing here starts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generator.bake.environment import Recipe, arguments, bake_environment
from generator.bake.job import Options, variables
from generator.bake.layouts import empty_layout, sent_first
from generator.bake.phases import FIX, failed
from generator.bake.preflight import (
    create_command,
    emulated,
    engine_problems,
    input_problems,
    outside,
    raise_problems,
    the_engines_own,
)
from generator.bake.prepare import attestation, open_workspace, passwords, refuse_drift, temporary_recipe
from generator.bake.run import PhaseError
from generator.config.settings import Override
from generator.docker.engine import Builder, Engine, Facts, Node, Store
from generator.errors import DriftError, EngineError, InputError, Problem
from generator.plan.plan import Plan
from generator.project import Project, packaged_data
from generator.render.render import render
from generator.render.tree import Change as FileChange
from generator.render.tree import compare, write
from generator.text import Version
from tests.fate_plan import BOTH, job_of, plan_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of()


@pytest.fixture(scope="module")
def dockerfiles(plan: Plan) -> dict[str, str]:
    return render(plan, [packaged_data("templates")])


def facts(
    *platforms: str, driver: str = "docker", store: Store = "containerd", problem: EngineError | None = None
) -> Facts:
    node = Node("n", "", "running", "", platforms or BOTH)
    return Facts(Engine("26", "26", store, "linux/amd64", problem), (0, 13, 1), Builder("default", driver, (node,)))


# what is exported


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


def test_a_directory_in_the_place_of_a_layouts_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "egg/blobs/sha256").mkdir(parents=True)
    layout = empty_layout(tmp_path, "egg")
    assert (layout / "blobs").resolve() == tmp_path / "shared"
    assert empty_layout(tmp_path, "egg") == layout


# what is built


def test_components_are_the_default_and_bring_what_they_are_linked_to(plan: Plan) -> None:
    job = job_of(plan)
    assert [target.name for target in job.targets] == [
        "federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python",
    ]  # fmt: skip
    assert {target.name for target in job.involved} - {target.name for target in job.targets} == {
        "packages",
        "packages-linux-amd64",
        "base-image",
    }
    assert job.shown("packages-linux-amd64") == "packages"
    assert not job.narrowed


def test_a_published_base_is_not_built(plan: Plan) -> None:
    job = job_of(plan, "python", published_base=True)
    assert [target.name for target in job.involved] == ["python"]
    assert variables(plan, published_base=True)["BASE_IMAGE"] == "docker-image://localhost:5000/t/base-image:base-1"
    assert variables(plan)["BASE_IMAGE"] == "target:base-image"


def test_platform_narrows_everything_and_a_group_says_what_it_leaves_out(plan: Plan) -> None:
    job = job_of(plan, platforms=("linux/arm64",))
    assert {target.platforms for target in job.involved} == {("linux/arm64",)}
    assert [(left.image, left.platform) for left in job.left_out] == [("egg", "linux/arm64"), ("python", "linux/arm64")]
    assert "wheel" in job.left_out[0].reason
    assert job.narrowed


def test_a_named_image_without_the_platform_is_an_error_with_the_reason(plan: Plan) -> None:
    with pytest.raises(InputError) as caught:
        job_of(plan, "egg", platforms=("linux/arm64", "linux/riscv64"))
    assert [problem.where for problem in caught.value.problems] == ["--platform", "egg"]
    assert "linux/riscv64 is not among PLATFORMS (linux/amd64 linux/arm64)" in str(caught.value)
    assert "has no linux/arm64: tensorflow" in str(caught.value)
    with pytest.raises(InputError, match=r"did you mean linux/arm64\?"):
        job_of(plan, "roll", platforms=("arm64",))


def test_a_group_that_has_nothing_on_the_platform(plan: Plan) -> None:
    with pytest.raises(InputError, match="no image of base has linux/arm64"):
        job_of(plan, "base", platforms=("linux/arm64",))


def test_unknown_names_are_listed_with_suggestions(plan: Plan) -> None:
    with pytest.raises(InputError, match="did you mean federation"):
        job_of(plan, "fedration", "eggs")


# preflight


def test_everything_wrong_with_the_input_is_listed_at_once(tmp_path: Path) -> None:
    wrong = plan_of(sources=(Override("fate", "../FATE", ".env:4"),), ca_bundle="ca.pem")
    job = job_of(wrong, "base-image", "packages", "mysql", "egg")
    options = Options(output="push", published_base=True)
    said = [str(problem) for problem in input_problems(job, options, wrong, tmp_path, {})]
    assert len(said) == 5
    for text in (
        "packages: only the build uses it: it has no tag to push",
        "mysql: a third-party image keeps its own name",
        "--base published: base-image itself is to be built",
        ".env:4: FATE_SOURCE: ../FATE is not a directory",
        "CA_BUNDLE: ca.pem is not a file",
    ):
        assert any(text in line for line in said), (text, said)


def test_nothing_is_wrong_with_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "FATE").mkdir()
    (tmp_path / "FATE/pom.xml").write_text("")
    (tmp_path / "ca.pem").write_text("")
    right = plan_of(sources=(Override("fate", "FATE", ".env:4"),), ca_bundle="ca.pem")
    assert not list(input_problems(job_of(right), Options(output="push"), right, tmp_path, {}))


def test_the_engines_builder_on_a_graphdriver_builds_one_platform(plan: Plan, dockerfiles: dict[str, str]) -> None:
    old = facts(store="graphdriver")
    [problem] = engine_problems(job_of(plan, "roll"), Options(), old, plan, dockerfiles)
    assert "docker buildx create --name fategen --driver docker-container --driver-opt network=host" in problem.message
    assert "--platform linux/amd64" in problem.message
    one = job_of(plan, "roll", platforms=("linux/amd64",))
    assert not list(engine_problems(one, Options(output="load"), old, plan, dockerfiles))
    other = facts(store="graphdriver", driver="docker-container")
    assert not list(engine_problems(job_of(plan, "roll"), Options(), other, plan, dockerfiles))


@pytest.mark.parametrize(("key", "asked"), [("PROVENANCE", {"provenance": True}), ("SBOM", {"sbom": True})])
def test_a_graphdriver_makes_no_attestations(key: str, asked: dict[str, bool]) -> None:
    wanted, old = plan_of(**asked), facts(store="graphdriver")
    job, texts = job_of(wanted, "roll", platforms=("linux/amd64",)), render(wanted, [packaged_data("templates")])
    [problem] = engine_problems(job, Options(), old, wanted, texts)
    assert problem.message.startswith(f"{key}: ") and "buildx create --name fategen" in problem.message
    assert f"--set {key}=false" in problem.message
    [problem] = engine_problems(job, Options("load"), old, wanted, texts)
    assert "buildx create" not in problem.message and f"--set {key}=false" in problem.message
    assert not list(engine_problems(job, Options(attestations=False), old, wanted, texts)), "a bundle has none"
    assert not list(engine_problems(job, Options(), facts(), wanted, texts))
    far = facts(store="graphdriver", driver="remote")
    assert not list(engine_problems(job, Options(), far, wanted, texts))


def test_no_builder_is_offered_for_what_the_engine_cannot_keep(plan: Plan, dockerfiles: dict[str, str]) -> None:
    old = facts(store="graphdriver")
    [problem] = engine_problems(job_of(plan, "roll"), Options(output="load"), old, plan, dockerfiles)
    assert problem.where == "--load" and "--platform linux/amd64" in problem.message
    assert "buildx create" not in problem.message


def test_an_old_buildkit_is_told_before_it_fails(plan: Plan, dockerfiles: dict[str, str]) -> None:
    old = facts(store="graphdriver")
    old = replace(old, engine=replace(old.engine, version="20.10.24+dfsg1"))
    [problem] = engine_problems(job_of(plan, "roll"), Options(), old, plan, dockerfiles)
    assert "Docker 20.10.24+dfsg1 is too old" in problem.message and "buildx create" in problem.message
    for buildkit, too_old in (("v0.9.3", "BuildKit v0.9.3"), ("v0.0.0+unknown", ""), ("v0.10.6", ""), ("", "")):
        node = Node("n", "", "running", buildkit, BOTH)
        assert replace(old, builder=Builder("farm", "remote", (node,))).too_old == too_old


def test_load_of_several_platforms_needs_the_containerd_store(plan: Plan, dockerfiles: dict[str, str]) -> None:
    other = facts(store="graphdriver", driver="remote")
    [problem] = engine_problems(job_of(plan, "roll"), Options(output="load"), other, plan, dockerfiles)
    assert problem.where == "--load" and "containerd-snapshotter" in problem.message
    gone = facts(driver="remote", problem=EngineError("no Docker daemon answers", hint="start it"))
    [problem] = engine_problems(job_of(plan, "roll"), Options(output="load"), gone, plan, dockerfiles)
    assert problem.message == "no Docker daemon answers: start it"


@pytest.mark.parametrize(
    ("image", "options", "store", "narrowed"),
    [
        ("roll", Options(output="load"), "graphdriver", "linux/amd64"),
        ("roll", Options(output="load"), "containerd", None),
        ("roll", Options(output="load", platforms=("linux/arm64",)), "graphdriver", None),
        ("roll", Options(output="push"), "graphdriver", None),
        ("egg", Options(output="load"), "graphdriver", None),
    ],
    ids=["several", "a store that keeps them", "one was named", "nothing is loaded", "one is all there is"],
)
def test_of_several_platforms_the_engines_own_is_loaded(
    image: str, options: Options, store: str, narrowed: str | None, plan: Plan
) -> None:
    assert the_engines_own(job_of(plan, image), options, facts(store=store)) == narrowed


def test_the_command_for_a_builder_knows_the_site() -> None:
    assert create_command(plan_of(prefix="harbor.example.com/fate")).endswith("docker-container --bootstrap")
    mirrored = create_command(plan_of(prefix="10.0.0.5:8443/fate", base_registry="10.0.0.5:8443/hub"))
    assert "--driver-opt image=10.0.0.5:8443/hub/moby/buildkit:buildx-stable-1" in mirrored
    assert "network=host" not in mirrored


def test_an_emulator_is_asked_for_only_where_a_step_runs(plan: Plan, dockerfiles: dict[str, str]) -> None:
    native = facts("linux/amd64")
    assert not emulated(job_of(plan, "roll"), native, dockerfiles), "Java images only copy on the target's platform"
    lifted = plan_of(requirements="requirements.txt")
    texts = render(lifted, [packaged_data("templates")])
    assert emulated(job_of(lifted, "python"), native, texts)["linux/arm64"][0] == "base-image"
    [problem] = engine_problems(job_of(lifted, "python"), Options(), native, lifted, texts)
    assert "runs no linux/arm64 program" in problem.message and "qemu-user-static" in problem.message


def test_problems_become_one_error_with_the_right_exit_code() -> None:
    raise_problems([], [])
    with pytest.raises(InputError) as input_error:
        raise_problems([Problem("egg", "a")], [Problem("builder x", "b")])
    assert input_error.value.exit_code == 2 and "builder x: b" in str(input_error.value)
    with pytest.raises(EngineError) as engine_error:
        raise_problems([], [Problem("builder x", "b")])
    assert engine_error.value.exit_code == 3


def test_paths_outside_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    far = plan_of(
        sources=(Override("fate", "../FATE", ""), Override("eggroll", "in/eggroll", "")), ca_bundle="/etc/ca.pem"
    )
    found = outside(tmp_path / "p", far, job_of(far).involved)
    assert found == [str((tmp_path / "FATE").resolve()), "/etc/ca.pem"]


# environment and arguments


def test_a_stray_variable_is_ignored_and_said() -> None:
    made = bake_environment(
        {"TAG": "evil", "PATH": "/bin", "PREFIX": "p"}, {"TAG": "1.3.0", "PREFIX": "p"}, frozenset()
    )
    assert made.values["TAG"] == "1.3.0" and made.values["PATH"] == "/bin"
    assert made.notes == ("TAG=evil in the environment is ignored: .env says TAG=1.3.0; use --set TAG=…",)


def test_a_stray_variable_that_env_does_not_set_is_ignored_too() -> None:
    made = bake_environment({"CACHE_TO": "x"}, {"CACHE_TO": ""}, frozenset())
    assert made.values["CACHE_TO"] == ""
    assert ".env does not set CACHE_TO" in made.notes[0]


def test_values_of_secret_variables_are_not_said() -> None:
    made = bake_environment({"TOKEN": "hunter2"}, {"TOKEN": "other"}, frozenset({"TOKEN"}))
    assert "hunter2" not in made.notes[0] and "other" not in made.notes[0]


def test_the_callers_proxy_stays_buildxs_own() -> None:
    made = bake_environment({"HTTPS_PROXY": "http://corp:3128"}, {"HTTPS_PROXY": ""}, frozenset({"HTTPS_PROXY"}))
    assert made.values["HTTPS_PROXY"] == "" and made.values["https_proxy"] == "http://corp:3128"
    assert not made.notes


def test_what_would_change_the_build_is_taken_out() -> None:
    process = {
        "SOURCE_DATE_EPOCH": "0",
        "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
        "BUILDX_GIT_LABELS": "1",
        "DOCKER_HOST": "h",
    }
    made = bake_environment(process, {}, frozenset())
    assert made.values == {
        "DOCKER_HOST": "h",
        "BUILDX_METADATA_PROVENANCE": "disabled",
        "BUILDX_GIT_INFO": "false",
    }
    assert len(made.notes) == 3


def test_buildx_looks_at_git_only_for_a_provenance_attestation() -> None:
    assert "BUILDX_GIT_INFO" not in bake_environment({}, {}, frozenset(), provenance=True).values


def test_arguments_name_the_file_and_never_a_value(plan: Plan) -> None:
    job = job_of(plan, "egg", platforms=("linux/amd64",))
    recipe = Recipe(overrides=("egg.context=x",))
    args = arguments(job, Options(builder="farm"), recipe, (0, 19, 0), ["egg"], flags=["--print"], readable=["/src"])
    assert args[:6] == ["buildx", "--builder", "farm", "bake", "-f", "out/docker-bake.hcl"]
    assert args[-1] == "egg"
    assert "egg.platform=linux/amd64" in args and "egg.context=x" in args
    assert not [arg for arg in args if arg.startswith("--allow") or "TAG" in arg]


def test_newer_buildx_is_given_leave_for_paths_outside(plan: Plan) -> None:
    args = arguments(job_of(plan, "egg"), Options(), Recipe(), (0, 20, 0), ["egg"], readable=["/src"])
    assert "--allow=fs.read=/src" in args
    assert not [arg for arg in args if arg.endswith("linux/amd64")], (
        "platforms are the file's unless --platform is given"
    )


def test_a_temporary_tree_keeps_paths_from_the_root(plan: Plan) -> None:
    recipe = temporary_recipe(plan, ".fategen/tree")
    assert recipe.file == ".fategen/tree/out/docker-bake.hcl"
    assert "egg.context=.fategen/tree/dockerfiles/egg" in recipe.overrides
    assert not [one for one in recipe.overrides if one.startswith("mysql")], "third-party images have no Dockerfile"


def test_passwords_are_known_as_written_and_decoded() -> None:
    assert passwords(plan_of(http_proxy="http://me:p%40ss@proxy:1")) in (["p%40ss", "p@ss"], ["p@ss", "p%40ss"])
    assert passwords(plan_of(http_proxy="http://proxy:1")) == []


# drift and temporary trees


def test_stale_files_are_refused_by_name() -> None:
    refuse_drift(())
    with pytest.raises(DriftError) as caught:
        refuse_drift((FileChange("out/docker-bake.hcl", "changed", "a", "b"), FileChange("x", "stale", "a", "")))
    assert "2 generated files are not" in str(caught.value) and "~ out/docker-bake.hcl" in str(caught.value)
    assert "fategen render" in caught.value.hint


def test_set_builds_from_a_temporary_tree_and_leaves_the_committed_files(project_dir: Path) -> None:
    said: list[str] = []
    project = Project(project_dir)
    with pytest.raises(DriftError):
        open_workspace(project, (), (), said.append)
    from generator.workspace import load

    write(load(project).drift(), project_dir)
    workspace, recipe = open_workspace(project, (), (), said.append)
    assert recipe == Recipe() and not said
    before = (project_dir / "out/docker-bake.hcl").read_text()
    changed, recipe = open_workspace(project, ("TAG=other",), (), said.append)
    assert changed.plan.settings.tag == "other"
    assert recipe.file == ".fategen/tree/out/docker-bake.hcl"
    assert "committed files stay" in said[0]
    assert (project_dir / "out/docker-bake.hcl").read_text() == before
    assert not compare(changed.tree, project_dir / ".fategen/tree")
    same, recipe = open_workspace(project, (f"TAG={workspace.plan.settings.tag}",), (), said.append)
    assert recipe == Recipe() and same.tree == workspace.tree


def test_a_variant_that_narrowing_makes_equal_to_its_original_is_built_once(plan: Plan) -> None:
    job = job_of(plan, "federation", "egg", platforms=("linux/amd64",))
    assert [t.name for t in job.involved] == ["packages", "base-image", "federation", "egg"]
    assert job.relinked == ("egg.contexts.packages=target:packages",)


def test_a_variant_whose_original_is_not_asked_for_stays(plan: Plan) -> None:
    job = job_of(plan, "egg", platforms=("linux/amd64",))
    assert [t.name for t in job.involved] == ["packages-linux-amd64", "base-image", "egg"]
    assert job.relinked == ()


def test_a_provenance_has_no_build_arguments_where_a_proxy_has_a_password() -> None:
    behind = plan_of(provenance=True, http_proxy="http://me:secret@proxy:3128")
    assert attestation(behind) == ["*.attest=type=provenance,mode=min"]
    assert attestation(plan_of(provenance=True, http_proxy="http://proxy:3128")) == []
    assert attestation(plan_of(http_proxy="http://me:secret@proxy:3128")) == []


@pytest.mark.parametrize(
    ("said", "reached"),
    [
        ("fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com", False),
        ("npm ERR! code EAI_AGAIN\nnpm ERR! request failed, reason: getaddrinfo EAI_AGAIN npm.example.com", False),
        ("WARNING: Retrying: Failed to establish a new connection: [Errno 111] Connection refused", False),
        ("W: Failed to fetch http://deb.example.com/x  Temporary failure resolving 'deb.example.com'", False),
        ("[ERROR] Could not transfer artifact junit:junit:pom:4.12 from/to central", False),
        ("storage-service.cc:41: fatal error: lmdb.h: No such file or directory", True),
    ],
)
def test_a_step_that_reached_nobody_is_told_what_lists_them(said: str, reached: bool) -> None:
    error = failed(PhaseError(said, "egg.log", {}, "step"))
    assert ("fategen images --external lists what a build asks" in (error.hint or "")) is not reached
    assert (error.hint or "").endswith(FIX)
