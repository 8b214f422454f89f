"""What is asked of bake and what is made of its answers; nothing here starts it."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from generator.bake.environment import Recipe, arguments, bake_environment
from generator.bake.events import Change, Reader, parse_name
from generator.bake.job import Job, Options, make_job, variables
from generator.bake.logs import Logs, clear_logs
from generator.bake.phases import published
from generator.bake.preflight import (
    create_command,
    emulated,
    engine_problems,
    input_problems,
    outside,
    raise_problems,
    runs_on_target,
)
from generator.bake.prepare import open_workspace, passwords, refuse_drift, temporary_recipe
from generator.bake.progress import LiveView, PlainView, duration, shorten
from generator.bake.results import Built, index_platforms, layers_size, megabytes, result_table
from generator.bake.run import busy, phase_error, union_length
from generator.builder import Builder, Engine, Facts, Node, Store
from generator.catalogue import parse_line
from generator.errors import DriftError, EngineError, InputError, Problem
from generator.plan import Plan
from generator.planner import make_plan
from generator.project import Project, packaged_data
from generator.render import render
from generator.settings import Override, Settings
from generator.tree import Change as FileChange
from generator.tree import compare, write

DATA = Path(__file__).parent / "data"
SETTINGS = Settings("localhost:5000/t", "base-1", "1")
BOTH = ("linux/amd64", "linux/arm64")


def plan_of(**changes: object) -> Plan:
    text = (packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8")
    return make_plan(replace(SETTINGS, **changes), parse_line(text, name="1.3.yaml"))  # type: ignore[arg-type]


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


def job_of(plan: Plan, *names: str, **options: object) -> Job:
    return make_job(plan, names, Options(**options))  # type: ignore[arg-type]


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
    said = [str(problem) for problem in input_problems(job, options, wrong, tmp_path)]
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
    (tmp_path / "ca.pem").write_text("")
    right = plan_of(sources=(Override("fate", "FATE", ".env:4"),), ca_bundle="ca.pem")
    assert not list(input_problems(job_of(right), Options(output="push"), right, tmp_path))


def test_the_engines_builder_on_a_graphdriver_builds_one_platform(plan: Plan, dockerfiles: dict[str, str]) -> None:
    old = facts(store="graphdriver")
    [problem] = engine_problems(job_of(plan, "roll"), Options(), old, plan, dockerfiles)
    assert "docker buildx create --name fategen --driver docker-container --driver-opt network=host" in problem.message
    assert "--platform linux/amd64" in problem.message
    one = job_of(plan, "roll", platforms=("linux/amd64",))
    assert not list(engine_problems(one, Options(output="load"), old, plan, dockerfiles))
    other = facts(store="graphdriver", driver="docker-container")
    assert not list(engine_problems(job_of(plan, "roll"), Options(), other, plan, dockerfiles))


def test_load_of_several_platforms_needs_the_containerd_store(plan: Plan, dockerfiles: dict[str, str]) -> None:
    other = facts(store="graphdriver", driver="remote")
    [problem] = engine_problems(job_of(plan, "roll"), Options(output="load"), other, plan, dockerfiles)
    assert problem.where == "--load" and "containerd-snapshotter" in problem.message
    gone = facts(driver="remote", problem=EngineError("no Docker daemon answers", hint="start it"))
    [problem] = engine_problems(job_of(plan, "roll"), Options(output="load"), gone, plan, dockerfiles)
    assert problem.message == "no Docker daemon answers: start it"


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


def test_run_steps_of_the_build_platform_need_no_emulation() -> None:
    assert not runs_on_target("FROM --platform=$BUILDPLATFORM maven AS m\nRUN mvn\nFROM jre\nCOPY --from=m /a /a\n")
    assert not runs_on_target('FROM --platform="${BUILDPLATFORM}" maven\nrun mvn\n')
    assert not runs_on_target("FROM --platform=$BUILDPLATFORM maven AS m\nFROM m AS java\nRUN mvn\nFROM java\nRUN id\n")
    assert runs_on_target("FROM --platform=$BUILDPLATFORM maven AS m\nRUN mvn\nFROM jre\nRUN id\n")
    assert not runs_on_target("")


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
    assert made.values == {"DOCKER_HOST": "h", "BUILDX_METADATA_PROVENANCE": "disabled"}
    assert len(made.notes) == 3


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


# events

TARGETS = ["packages", "federation", "egg"]


def read(name: str, targets: list[str] | None = None) -> tuple[Reader, list[Change]]:
    reader = Reader(TARGETS if targets is None else targets, lambda text: text.replace("line 2", "***"))
    changes = [
        change for line in (DATA / name).read_text(encoding="utf-8").splitlines() for change in reader.feed(line)
    ]
    return reader, changes


@pytest.mark.parametrize(
    ("name", "target", "platform", "stage", "text", "internal"),
    [
        ("[federation linux/arm64 stage-0 1/1] COPY --from=packages /a /a",
         "federation", "linux/arm64", "stage-0 1/1", "COPY --from=packages /a /a", False),
        ("[egg storage 2/2] RUN [ a ] b", "egg", "", "storage 2/2", "RUN [ a ] b", False),
        ("[packages linux/amd64->arm64 java 1/9] FROM x", "packages", "linux/amd64", "java 1/9", "FROM x", False),
        ("[egg linux/arm/v7 1/2] RUN x", "egg", "linux/arm/v7", "1/2", "RUN x", False),
        ("[packages internal] load .dockerignore", "packages", "", "", "load .dockerignore", True),
        ("[packages linux/amd64 internal] load metadata", "packages", "linux/amd64", "", "load metadata", True),
        ("[packages context src] load from client", "packages", "", "context src", "load from client", True),
        ("[internal] load local bake definitions", "", "", "", "load local bake definitions", True),
        ("[egg] exporting to image", "egg", "", "", "exporting to image", False),
        ("[egg] resolving provenance for metadata file", "egg", "", "", "resolving provenance for metadata file", True),
        ("[auth] library/redis:pull token for registry", "", "", "auth", "library/redis:pull token for registry", True),
        ("importing cache manifest from x", "", "", "", "importing cache manifest from x", True),
        ("[egg storage 2/2] RUN <<EOF (a\nb)", "egg", "", "storage 2/2", "RUN <<EOF (a\nb)", False),
    ],
)  # fmt: skip
def test_names(name: str, target: str, platform: str, stage: str, text: str, internal: bool) -> None:
    found = parse_name(name, TARGETS)
    assert (found.target, found.platform, found.stage, found.text, found.internal) == (
        target, platform, stage, text, internal,
    )  # fmt: skip


def test_a_run_of_one_target_leaves_its_name_out() -> None:
    assert parse_name("[egg 2/2] RUN x", ["egg"]).stage == "egg 2/2", "a stage may have its image's name"
    assert parse_name("exporting to image", ["egg"]).target == "egg"


@pytest.mark.parametrize("name", ["rawjson-0.13.1-built.txt", "rawjson-0.29.1-built.txt"])
def test_a_recorded_build(name: str) -> None:
    reader, changes = read(name)
    assert not [change for change in changes if change.kind == "note"]
    assert reader.failed_step() is None
    finished = {
        (change.step.name.target, change.step.name.stage)
        for change in changes
        if change.kind == "finished" and change.step
    }
    assert {("packages", "build 3/3"), ("federation", "stage-0 1/1"), ("egg", "storage 2/2")} <= finished
    [run] = [step for step in reader.steps.values() if step.name.stage == "build 3/3"]
    assert run.name.target == "packages", "a step that federation shares belongs to its first target"
    assert run.name.platform == "linux/amd64"
    assert 1.0 < run.seconds < 2.0
    assert list(run.tail)[-5:] == ["1", "2", "3", "4", "5"]
    assert all(change.step is not None for change in changes)


def test_log_lines_are_whole_redacted_and_without_what_was_overwritten() -> None:
    reader, changes = read("rawjson-0.13.1-built.txt")
    [run] = [step for step in reader.steps.values() if step.name.stage == "storage 2/2"]
    assert list(run.tail) == ["start egg", "line 1", "***", "line 3", "progress 2"]
    assert [change.text for change in changes if change.kind == "log" and change.step is run] == list(run.tail)


def test_cached_steps() -> None:
    reader, _ = read("rawjson-0.29.1-built.txt")
    assert {s.name.stage for s in reader.steps.values() if s.cached} == {"storage 2/2", "stage-1 2/2", "build 2/3"}


def test_a_recorded_push_that_failed_half_way(plan: Plan) -> None:
    reader, changes = read("rawjson-0.29.1-push-failed.txt")
    step = reader.failed_step()
    assert step is not None and (step.name.target, step.name.text) == ("egg", "exporting to image")
    assert "connection refused" in step.error
    assert reader.pushed == {"localhost:5000/t/federation:1": True}
    assert next(change.text for change in changes if change.kind == "note").startswith("ERROR: target egg: failed to")
    said = published(job_of(plan, "federation", "egg").targets, reader.pushed)
    assert said == "  published: localhost:5000/t/federation:1\n  not published: the other 1"


def test_what_was_published_is_said_plainly(plan: Plan) -> None:
    targets = job_of(plan, "federation", "egg").targets
    assert published(targets, {}) == "  nothing was published"
    assert published(targets, {"localhost:5000/t/egg:1": False}).splitlines()[0].strip() == (
        "perhaps published: localhost:5000/t/egg:1"
    )
    everything = dict.fromkeys(("localhost:5000/t/egg:1", "localhost:5000/t/federation:1"), True)
    assert "not published" not in published(targets, everything)


def vertex(name: str, **more: object) -> str:
    return json.dumps({"vertexes": [{"digest": f"sha256:{name}", "name": name, **more}]})


def log(name: str, text: str) -> str:
    return json.dumps({"logs": [{"vertex": f"sha256:{name}", "data": b64encode(text.encode()).decode()}]})


AT = "2026-11-24T14:00:0{}.123456789Z"


def test_a_secret_that_two_chunks_share_is_redacted() -> None:
    reader = Reader(TARGETS, lambda text: text.replace("hunter2", "***"))
    name = "[egg 1/2] RUN x"
    lines = [vertex(name, started=AT.format(1)), log(name, "pass hun"), log(name, "ter2 ok\nrest hunter2")]
    changes = [change for line in [*lines, vertex(name, completed=AT.format(3))] for change in reader.feed(line)]
    assert [change.text for change in changes if change.kind == "log"] == ["pass *** ok", "rest ***"]


@pytest.mark.parametrize(
    "line",
    ["{}", "{", "}", '{"vertexes": null}', '{"vertexes": [1, null]}', '{"logs": [{"vertex": "x", "data": "%%"}]}',
     '{"statuses": [{"vertex": "x", "total": 0}]}', '{"warnings": [{"short": "aGk="}]}', "null", "[1]", "Ω", ""],
)  # fmt: skip
def test_odd_lines_do_no_harm(line: str) -> None:
    reader = Reader(TARGETS, str)
    list(reader.feed(line))
    list(reader.feed("}"))
    assert next(reader.feed("ERROR: x")).kind == "note"


def failing_reader() -> Reader:
    reader = Reader(["base-image", "egg"], str)
    name = '[egg storage 3/5] RUN make "all"'
    for line in (
        vertex("[base-image 1/2] RUN y", started=AT.format(1), completed=AT.format(2), error="x: context canceled"),
        vertex(name, started=AT.format(1)),
        log(name, "".join(f"line {i}\n" for i in range(30)) + "fatal error: lmdb.h\n"),
        vertex(
            name,
            started=AT.format(1),
            completed=AT.format(4),
            error='process "/bin/sh -c make \\"all\\"" did not complete successfully: exit code: 2',
        ),
        'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2',
    ):
        list(reader.feed(line))
    return reader


def test_a_failure_names_image_platform_step_and_last_lines(plan: Plan, tmp_path: Path) -> None:
    job = job_of(plan, "egg")
    logs = Logs(tmp_path / ".fategen/logs", job, "building")
    lines = phase_error(job, failing_reader(), 1, logs).message.splitlines()
    assert lines[0] == 'egg (linux/amd64) failed in stage "storage", step 3/5: RUN make "all"'
    assert len(lines) == 22
    assert lines[-2:] == ["  | fatal error: lmdb.h", "  | exit code: 2"]
    assert phase_error(job, failing_reader(), 1, logs).log == ".fategen/logs/egg.log"


def test_a_failure_of_buildx_itself_gives_its_own_words(plan: Plan, tmp_path: Path) -> None:
    reader = Reader(["egg"], str)
    list(reader.feed("ERROR: no such builder"))
    list(reader.feed("and more"))
    job = job_of(plan, "egg")
    logs = Logs(tmp_path / ".fategen/logs", job, "building")
    assert phase_error(job, reader, 1, logs).message == "docker buildx bake failed: no such builder"
    assert phase_error(job, Reader([], str), 7, logs).message.endswith("exit code 7, no message")


def test_busy_seconds_count_overlaps_once_and_cached_steps_not_at_all(plan: Plan) -> None:
    assert union_length([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert union_length([]) == 0
    reader = Reader(["packages", "packages-linux-amd64", "egg"], str)
    for line in (
        vertex("[packages a 1/1] RUN x", started=AT.format(1), completed=AT.format(3)),
        vertex("[packages-linux-amd64 b 1/1] RUN y", started=AT.format(2), completed=AT.format(4)),
        vertex("[egg 1/1] RUN z", started=AT.format(2), completed=AT.format(9), cached=True),
        vertex("[egg internal] load metadata", started=AT.format(2), completed=AT.format(9)),
    ):
        list(reader.feed(line))
    assert busy(reader, job_of(plan, "egg")) == {"packages": pytest.approx(3.0)}


# logs and views


def test_logs_are_one_file_for_each_image(plan: Plan, tmp_path: Path) -> None:
    directory = tmp_path / ".fategen/logs"
    directory.mkdir(parents=True)
    for name in ("egg", "roll"):
        (directory / f"{name}.log").write_text("old")
    job = job_of(plan, "egg")
    clear_logs(directory, job)
    with Logs(directory, job, "building") as logs:
        for line in (DATA / "rawjson-0.13.1-built.txt").read_text().splitlines():
            for change in Reader(TARGETS, str).feed(line):
                logs.change(change)
        reader = failing_reader()
        [step] = [step for step in reader.steps.values() if step.name.target == "egg"]
        logs.change(Change("failed", step, "exit code: 2"))
        logs.change(Change("note", None, "WARN x"))
    assert (directory / "roll.log").read_text() == "old"
    assert (directory / "egg.log").read_text() == '== building\n[storage 3/5] RUN make "all"  failed: exit code: 2\n'
    assert (directory / "bake.log").read_text().endswith("WARN x\n")


def show(view: PlainView | LiveView, name: str) -> None:
    reader = Reader(["packages", "federation", "egg"], str)
    view.begin("building")
    for line in (DATA / name).read_text().splitlines():
        for change in reader.feed(line):
            view.change(change)
        view.tick()
    view.end()


def test_plain_lines(plan: Plan) -> None:
    said: list[str] = []
    show(PlainView(job_of(plan, "federation", "egg"), said.append, clock=lambda: 0.0), "rawjson-0.29.1-built.txt")
    assert said[0] == "building: federation, egg"
    assert next(line for line in said if line.startswith("packages    linux/amd64  RUN echo building2")).endswith(" s")
    assert "egg         2 steps cached" in said
    assert not [line for line in said if "load from client" in line or "FROM localhost" in line or line.endswith("…")]


def test_plain_lines_announce_a_long_step_once(plan: Plan) -> None:
    said: list[str] = []
    now = 1e12
    show(PlainView(job_of(plan, "federation"), said.append, clock=lambda: now), "rawjson-0.13.1-built.txt")
    assert len([line for line in said if line.endswith("…") and "RUN echo building" in line]) == 1


def test_verbose_lines_have_the_output_of_steps(plan: Plan) -> None:
    said: list[str] = []
    show(PlainView(job_of(plan, "egg"), said.append, verbose=True), "rawjson-0.13.1-built.txt")
    assert [line for line in said if line.endswith("| progress 2")]


def test_live_lines_are_drawn_in_place(plan: Plan) -> None:
    job, said = job_of(plan, "federation", "egg"), []
    now = iter(range(10_000))
    show(LiveView(job, said.append, width=60, clock=lambda: float(next(now))), "rawjson-0.13.1-built.txt")
    assert said[0].startswith("\r\x1b[Kbuilding\n")
    assert said[1].startswith("\x1b[5A"), "one line for the title and for each of four images"
    last = said[-1].replace("\x1b[K", "").replace("\r", "").splitlines()
    assert [line.split()[:2] for line in last[1:]] == [
        ["packages", "✓"], ["base-image", "·"], ["federation", "✓"], ["egg", "✓"],
    ]  # fmt: skip
    assert all(len(line) < 60 for line in "".join(said).replace("\x1b[K", "").replace("\r", "").splitlines())


def test_small_things() -> None:
    assert shorten("RUN --mount=type=cache,id=a \\\n   --mount=type=secret,id=b   make  all", 40) == "RUN \\ make all"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
    assert (duration(4.26), duration(62)) == ("4.3 s", "1m02s")
    assert (megabytes(84_499_999), megabytes(1_250_000)) == ("84 MB", "1.2 MB")


# results


def test_sizes_are_of_layers_and_attestations_are_no_platform() -> None:
    index = {
        "manifests": [
            {"digest": "sha256:a", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:b", "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": "sha256:c", "platform": {"os": "unknown", "architecture": "unknown"}},
        ]
    }
    assert index_platforms(index) == {"linux/amd64": "sha256:a", "linux/arm64": "sha256:b"}
    assert layers_size({"config": {"size": 5}, "layers": [{"size": 10}, {"size": 20}]}) == 30


def test_the_result_as_table_and_as_json() -> None:
    digest = "sha256:" + "1a" * 32
    pushed = Built(
        "roll", ("r/roll:1",), digest, BOTH, (("linux/amd64", 84_000_000), ("linux/arm64", 81_000_000)), 3.1, "pushed"
    )
    built = Built("egg", ("r/egg:1",), "", ("linux/amd64",), (), 0.0, "built")
    lines = result_table([pushed, built]).splitlines()
    assert lines[1].split() == [
        "roll", "sha256:1a1a1a1a…", "linux/amd64", "linux/arm64", "84", "MB", "+", "81", "MB", "3.1",
    ]  # fmt: skip
    assert lines[2].split() == ["egg", "-", "linux/amd64", "-", "0.0"]
    assert pushed.as_json()["digest"] == digest and built.as_json()["digest"] is None
    assert pushed.as_json()["sizes"] == {"linux/amd64": 84_000_000, "linux/arm64": 81_000_000}
