"""Progress as buildx 0.13.1 and 0.29.1 reported it (recorded in tests/bake/data), and what is made of a failure."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generator.bake.events import Reader, StepEvent, StepName, parse_name
from generator.bake.job import Job
from generator.bake.run import FIX, NO_CACHE_EXPORT, BakeContext, base_hint, failure, run_bake
from generator.bake.run import bake_error as error_of
from generator.bake.view import View
from generator.docker.hints import GET_DAEMON
from generator.docker.process import Docker
from generator.errors import BuildError, EngineError
from generator.plan.plan import Plan
from generator.project import Project
from generator.text import timestamp
from generator.workspace import Workspace, load
from tests.fate_plan import facts_of, job_of, plan_of, put

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]


@cache
def workspace() -> Workspace:
    return load(Project(ROOT))


def bake_error(job: Job, reader: Reader, code: int) -> BuildError | EngineError:
    return error_of(job, reader, code, workspace())


TARGETS = ["packages", "federation", "egg"]
AT = "2026-11-24T14:00:0{}.123456789Z"


def fed(
    lines: Iterable[str], targets: Sequence[str] = TARGETS, redact: Callable[[str], str] = str, begun: float = 0.0
) -> tuple[Reader, list[StepEvent]]:
    """A reader that has read these lines, and their events."""
    reader = Reader(targets, redact, begun)
    return reader, [event for line in lines for event in reader.feed(line)]


def recorded(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


def read(name: str) -> tuple[Reader, list[StepEvent]]:
    return fed(recorded(name), redact=lambda text: text.replace("line 2", "***"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("[federation linux/arm64 stage-0 1/1] COPY --from=packages /a /a",
         ("federation", "linux/arm64", "stage-0 1/1", "COPY --from=packages /a /a")),
        ("[egg storage 2/2] RUN [ a ] b", ("egg", "", "storage 2/2", "RUN [ a ] b")),
        ("[packages linux/amd64->arm64 java 1/9] FROM x", ("packages", "linux/amd64", "java 1/9", "FROM x")),
        ("[egg linux/arm/v7 1/2] RUN x", ("egg", "linux/arm/v7", "1/2", "RUN x")),
        ("[packages internal] load .dockerignore", ("packages", "", "", "load .dockerignore", True)),
        ("[packages linux/amd64 internal] load metadata", ("packages", "linux/amd64", "", "load metadata", True)),
        ("[packages context src] load from client", ("packages", "", "context src", "load from client", True)),
        ("[internal] load local bake definitions", ("", "", "", "load local bake definitions", True)),
        ("[egg] exporting to image", ("egg", "", "", "exporting to image")),
        ("[egg] resolving provenance for metadata file",
         ("egg", "", "", "resolving provenance for metadata file", True)),
        ("[auth] library/redis:pull token for h", ("", "", "auth", "library/redis:pull token for h", True)),
        ("importing cache manifest from x", ("", "", "", "importing cache manifest from x", True)),
        ("[egg auth 2/3] RUN make", ("egg", "", "auth 2/3", "RUN make")),
        ("[egg linux/amd64 context 1/1] RUN x", ("egg", "linux/amd64", "context 1/1", "RUN x")),
        ("[egg storage 2/2] RUN <<EOF (a\nb)", ("egg", "", "storage 2/2", "RUN <<EOF (a\nb)")),
    ],
)  # fmt: skip
def test_names(name: str, parts: tuple[Any, ...]) -> None:
    assert parse_name(name, TARGETS) == StepName(*parts)


def test_a_run_of_one_target_leaves_its_name_out() -> None:
    assert parse_name("[egg 2/2] RUN x", ["egg"]).stage == "egg 2/2", "a stage may have its image's name"
    assert parse_name("exporting to image", ["egg"]).target == "egg"


@pytest.mark.parametrize("name", ["rawjson-0.13.1-built.txt", "rawjson-0.29.1-built.txt"])
def test_a_recorded_build(name: str) -> None:
    reader, events = read(name)
    assert reader.failed_step is None
    assert all(event.step is not None and event.kind != "note" for event in events)
    names = [event.step.name for event in events if event.kind == "finished" and event.step]
    finished = {(name.target, name.stage) for name in names}
    assert {("packages", "build 3/3"), ("federation", "stage-0 1/1"), ("egg", "storage 2/2")} <= finished
    [run] = [step for step in reader.steps.values() if step.name.stage == "build 3/3"]
    assert run.name.target == "packages", "a step that federation shares belongs to its first target"
    assert run.name.platform == "linux/amd64" and 1.0 < run.seconds < 2.0
    assert list(run.tail)[-5:] == ["1", "2", "3", "4", "5"]


def test_a_step_that_another_build_has_just_run_is_cached() -> None:
    done = vertex("[egg 1/1] RUN x", 1, 2)
    (step,) = fed([done], begun=timestamp(AT.format(3)))[0].steps.values()
    assert step.cached


def test_log_lines_are_without_what_was_overwritten_and_cached_steps_are_marked() -> None:
    reader, events = read("rawjson-0.13.1-built.txt")
    [run] = [step for step in reader.steps.values() if step.name.stage == "storage 2/2"]
    assert list(run.tail) == ["start egg", "line 1", "***", "line 3", "progress 2"]
    assert [event.text for event in events if event.kind == "log" and event.step is run] == list(run.tail)
    steps = read("rawjson-0.29.1-built.txt")[0].steps.values()
    assert {step.name.stage for step in steps if step.cached} == {"storage 2/2", "stage-1 2/2", "build 2/3"}


def test_a_recorded_push_that_failed_half_way() -> None:
    reader, events = read("rawjson-0.29.1-push-failed.txt")
    step = reader.failed_step
    assert step is not None and (step.name.target, step.name.text) == ("egg", "exporting to image")
    assert "connection refused" in step.error
    assert next(event.text for event in events if event.kind == "note").startswith("ERROR: target egg: failed to")


def vertex(name: str, started: int = 0, completed: int = 0, **more: object) -> str:
    """What BuildKit says of a step that was ``started`` and ``completed`` in these seconds (0: not yet)."""
    times = {"started": started, "completed": completed}
    known = {key: AT.format(second) for key, second in times.items() if second}
    return json.dumps({"vertexes": [{"digest": f"sha256:{name}", "name": name, **known, **more}]})


def log(name: str, text: str | bytes, stream: int = 1) -> str:
    data = b64encode(text.encode() if isinstance(text, str) else text).decode()
    return json.dumps({"logs": [{"vertex": f"sha256:{name}", "stream": stream, "data": data}]})


FIRST, SECOND = "größer\n".encode()[:3], "größer\n".encode()[3:]


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([("pass hun", 1), ("ter2 ok\nrest hunter2", 1)], ["pass *** ok", "rest ***"]),
        ([(FIRST, 1), ("warning\n", 2), (SECOND, 1), (FIRST, 1), (FIRST, 2)], ["warning", "größer", "gr�", "gr�"]),
        ([("\x1b[31mred\x1b[0m\x1b(B\tx\x1b]0;title\x07\x1b[2J\x07\u00a0!\n", 1)], ["red\tx\u00a0!"]),
    ],
    ids=["a secret in two chunks", "a letter in two chunks, and another stream between them", "what moves a terminal"],
)
def test_log_lines_are_whole_and_without_secrets_and_escape_sequences(
    chunks: list[tuple[str | bytes, int]], said: list[str]
) -> None:
    name = "[egg 1/2] RUN x"
    lines = [vertex(name, 1), *(log(name, *chunk) for chunk in chunks)]
    lines.append(vertex(name, completed=3))
    _, events = fed(lines, redact=lambda text: text.replace("hunter2", "***"))
    assert [event.text for event in events if event.kind == "log"] == said


@pytest.mark.parametrize("note", ["{odd words of buildx", "{", "{\n  odd", "{\n  odd\n}", '{"cut": '])
def test_a_note_that_looks_like_json_hides_nothing_behind_it(note: str) -> None:
    name = "[egg 1/2] RUN x"
    many = json.dumps(json.loads(vertex(name, error="exit code: 2")), indent=2)
    for broken in (vertex(name, error="exit code: 2"), many):
        reader, said = fed([*note.split("\n"), "ERROR: x", *broken.split("\n"), " y"])
        assert [c.text for c in said if c.kind == "note"][-2:] == ["ERROR: x", " y"]
        step = reader.failed_step
        assert step is not None and step.error == "exit code: 2"


def test_the_step_that_broke_the_build_is_the_first_that_ended_with_an_error_and_no_build_cache() -> None:
    ended = {"[egg 1/3] RUN x": 0, "[egg 2/3] RUN y": 3, "[egg 3/3] RUN z": 2, "[egg] importing cache manifest": 1}
    reader, _ = fed(vertex(name, 1, completed, error="no") for name, completed in ended.items())
    assert reader.failed_step is not None and reader.failed_step.name.text == "RUN z"


def test_words_between_the_lines_of_an_object_are_a_note() -> None:
    lines = json.dumps(json.loads(vertex("[egg 1/2] RUN x", 1)), indent=2).split("\n")
    assert [event.kind for event in fed([*lines[:3], "WARNING: x", *lines[3:]])[1]] == ["note", "started"]


@pytest.mark.parametrize(
    "line",
    ["{}", "{", "}", '{"vertexes": null}', '{"vertexes": [1, null]}', '{"logs": [{"vertex": "x", "data": "eAo="}]}',
     '{"logs": [{"vertex": "sha256:x", "data": "%%"}]}', '{"logs": [{"vertex": "sha256:x", "data": "a"}]}',
     '{"statuses": [{"vertex": "sha256:x", "total": 0}]}', '{"warnings": [{"short": "aGk="}]}', "null", "[1]", "Ω", ""],
)  # fmt: skip
def test_odd_lines_do_no_harm(line: str) -> None:
    events = fed([vertex("x", 1), line, "}", log("x", "after\n"), "ERROR: x"])[1]
    assert [(event.kind, event.text) for event in events][-2:] == [("log", "after"), ("note", "ERROR: x")]


def test_a_failure_names_image_platform_step_and_cause(plan: Plan) -> None:
    name = '[egg storage 3/5] RUN make "all"'
    error = 'process "/bin/sh -c make \\"all\\"" did not complete successfully: exit code: 2'
    lines = (
        vertex("[base-image 1/2] RUN y", 1, 2, error="x: context canceled"),
        vertex(name, 1),
        log(name, "".join(f"line {i}\n" for i in range(30)) + "storage.cc:1:10: fatal error: lmdb.h\n"),
        vertex(name, 1, 4, error=error),
        'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2',
    )
    reader, _ = fed(lines, ["base-image", "egg"])
    error = bake_error(job_of(plan, "egg"), reader, 1)
    assert error.message.splitlines() == [
        'egg (linux/amd64) failed in stage storage, step 3/5: RUN make "all"',
        "  | storage.cc:1:10: fatal error: lmdb.h",
        "  | exit code: 2",
        "  full log: .fategen/logs/egg.log",
    ]
    pushing = bake_error(job_of(plan, "egg", output="push"), reader, 1)
    assert pushing.message.endswith("/egg.log      nothing was published")


def shown_by_buildx(text: str, first: int, last: int) -> Iterator[str]:
    """What buildx prints of a Dockerfile's lines when a step fails."""
    yield from (f"Dockerfile:{first}", "--------------------")
    for number, line in enumerate(text.splitlines()[: last + 2], 1):
        if number >= first - 2:
            yield f" {number:3} | {'>>>' if first <= number <= last else '   '} {line}"
    yield "--------------------"


def line_of(text: str, part: str) -> int:
    """The number of the line that ``part`` begins in."""
    return text.partition(part)[0].count("\n") + 1


@pytest.mark.parametrize(
    ("image", "part", "template", "there"),
    [
        # the line that the script follows
        ("egg", "\n# compile storage-service", "egg", "\n# compile storage-service"),
        ("roll", "COPY --from=packages /roll/root/ /", "java", "COPY --from=packages /{{ image.name }}/root/ /"),
        # of what comes from a macro the line is not known
        ("base-image", "\n# apt-get install", "base-image", ""),
    ],
)
def test_a_failure_has_a_place_in_the_dockerfile_and_in_its_template(
    plan: Plan, image: str, part: str, template: str, there: str
) -> None:
    text = workspace().tree[f"dockerfiles/{image}/Dockerfile"]
    number = line_of(text, part)
    failed = vertex("[final 4/5] X", 1, 2, error="exit code: 2")
    reader, _ = fed([failed, *shown_by_buildx(text, number, number + 3), *shown_by_buildx(text, 1, 1)], [image])
    file = f"templates/dockerfiles/{template}.Dockerfile.j2"
    at = f":{line_of((ROOT / file).read_text(), there)}" if there else ""
    message = bake_error(job_of(plan, image), reader, 1).message
    assert f"\n  at: dockerfiles/{image}/Dockerfile:{number}, from packaged {file}{at}\n" in message


def test_a_parse_error_names_the_one_file(plan: Plan) -> None:
    text = workspace().tree["dockerfiles/python/Dockerfile"]
    number = text.splitlines().index("WORKDIR /data/projects/fate/python") + 1
    error = f"failed to solve: dockerfile parse error on line {number}: unknown instruction"
    for words in (f"ERROR: {error}", f"ERROR: target python: {error}"):
        reader, _ = fed([*shown_by_buildx(text, number, number), words], ["base-image", "egg", "python"])
        failed = bake_error(job_of(plan, "all"), reader, 1)
        assert isinstance(failed, BuildError)
        assert f"\n  at: dockerfiles/python/Dockerfile:{number}, from packaged" in failed.message


MIRROR, OWN = {"base_registry": "mirror:5000"}, {"images": (("JRE_IMAGE", "jre:8-typo"),)}
JRE, PYTHON = "mirror:5000/library/eclipse-temurin:8-jre", "mirror:5000/library/python:3.6-slim-bullseye"
FROM_MIRROR = (
    "{} is the base {} (1.3.yaml:N, .env): set BASE_REGISTRY in .env to a registry that has it, "
    "or {} to another image; fategen images --external lists all"
)
NOPE = "localhost:5000/t/base-image:nope"


@pytest.mark.parametrize(
    ("settings", "step", "error", "hint"),
    [
        (MIRROR, JRE, "not found", FROM_MIRROR.format(JRE, "jre", "JRE_IMAGE")),
        (MIRROR, PYTHON, "not found", FROM_MIRROR.format(PYTHON, "python-base", "PYTHON_BASE_IMAGE")),
        (MIRROR, "elsewhere/x:1", "not found", ""),
        (MIRROR, JRE, "401 Unauthorized", f"{JRE} is the base jre: docker login mirror:5000"),
        ({**OWN, "origins": (("JRE_IMAGE", ".env:9"),)}, "docker.io/library/jre:8-typo", "",
         "jre:8-typo is the base jre, as JRE_IMAGE says: correct it (.env:9)"),
        ({}, NOPE, f"{NOPE}: not found", f"{NOPE} is not published: fategen bake base --push, or leave out "
         "--published-base"),
        ({}, NOPE, "dial tcp: i/o timeout", ""),
    ],
)  # fmt: skip
def test_a_base_that_cannot_be_had_names_the_next_step(
    settings: dict[str, object], step: str, error: str, hint: str
) -> None:
    plan = plan_of(**settings)
    job = job_of(plan, "egg", published_base=step == NOPE)
    said = base_hint(job, plan.settings, f"load metadata for {step}", error)
    assert re.sub(r"yaml:\d+", "yaml:N", said) == hint
    assert base_hint(job, plan.settings, "RUN make", error) == ""


def test_a_base_of_docker_hub_is_known_by_its_long_name(plan: Plan) -> None:
    name = "[internal] load metadata for docker.io/library/eclipse-temurin:8-jre"
    reader, _ = fed([vertex(name, 1, 2, error="not found")], ["roll"])
    said = bake_error(job_of(plan, "roll"), reader, 1).render()
    assert "next: eclipse-temurin:8-jre is the base jre" in said and "JRE_IMAGE" in said


def test_a_failure_of_buildx_itself_gives_its_own_words(plan: Plan) -> None:
    job = job_of(plan, "egg")
    reader, _ = fed(["ERROR: no such builder", "and more"])
    assert bake_error(job, reader, 1).message.splitlines() == [
        "docker buildx bake failed: no such builder", "  full log: .fategen/logs/bake.log",
    ]  # fmt: skip
    list(reader.feed("ERROR: failed to solve: dockerfile parse error on line 9: unknown instruction: LABLE"))
    assert isinstance(bake_error(job, reader, 1), BuildError)
    assert "exit code 7, no message\n" in bake_error(job, Reader([], str), 7).message


WAIT = "the engine {} (5 attempts): {}, then run the same command again"
DOWNLOAD = (
    "a download failed: fategen images --external lists everything that a build downloads; docs/proxy.md has mirrors, "
    f"proxies and CAs, and --source NAME=DIR takes a local checkout; {FIX}"
)


@pytest.mark.parametrize(
    ("said", "in_step", "hint"),
    [
        ("failed to solve: DeadlineExceeded: context deadline exceeded", False,
         WAIT.format("stopped answering during the build", "wait")),
        ("unexpected status from PUT request to http://r/v2/fate/roll/blobs/uploads/1?digest=sha256%3A1: 404 Not Found",
         False, WAIT.format("could not send everything to the registry", "wait")),
        ("failed to copy: error reading from server: read unix /x.sock->@: read: connection reset by peer",
         False, WAIT.format("stopped answering during the build", "wait")),
        ("failed to get status: error getting writer status: EOF: unknown", False,
         WAIT.format("stopped answering during the build", "wait")),
        ("failed to solve: failed to get edge: inconsistent graph state", False,
         WAIT.format("lost track of the build's steps", "restart it")),
        ("failed to solve: DeadlineExceeded: context deadline exceeded", True, FIX),
        ("failed to push r/roll:1: dial tcp 10.0.0.5:8443: connection timed out", False, FIX),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", False, GET_DAEMON),
        *((output, True, DOWNLOAD) for output in (
            "fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com",
            "npm ERR! code EAI_AGAIN\nnpm ERR! request failed, reason: getaddrinfo EAI_AGAIN npm.example.com",
            "WARNING: Retrying: Failed to establish a new connection: [Errno 111] Connection refused",
            "W: Failed to fetch http://deb.example.com/x  Temporary failure resolving 'deb.example.com'",
            "[ERROR] Could not transfer artifact junit:junit:pom:4.12 from/to central",
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1108)')",
            "Certificate verification failed: The certificate is NOT trusted.",
            "npm error code SELF_SIGNED_CERT_IN_CHAIN",
            "curl: (60) SSL certificate problem: self signed certificate in certificate chain",
        )),
        ("storage-service.cc:41: fatal error: lmdb.h: No such file or directory", True, FIX),
    ],
)  # fmt: skip
def test_a_failure_names_what_there_is_to_do_if_anything(plan: Plan, said: str, in_step: bool, hint: str) -> None:
    error = failure(job_of(plan, "egg"), f"docker buildx bake failed: {said}", in_step=in_step)
    assert (error.hint, error.exit_code) == (hint, 1 if in_step else 3)


BUSY = "failed to solve: DeadlineExceeded: context deadline exceeded"
Sets, Run = dict[str, str], tuple[list[str], int, dict[str, str]]


def buildx(run: Callable[[Sets], Run]) -> Docker:
    """A docker whose bake does what ``run`` says for its --set flags: progress, exit code and digest of each target."""

    class Buildx(Docker):
        @contextlib.contextmanager
        def start(self, args: Sequence[str], **_: object) -> Iterator[Any]:
            sets = dict(word.split("=", 1) for before, word in itertools.pairwise(args) if before == "--set")
            lines, code, digests = run(sets)
            metadata = {name: {"containerimage.digest": digest} for name, digest in digests.items()}
            file = next(word for word in args if word.startswith("--metadata-file="))
            Path(file.partition("=")[2]).write_text(json.dumps(metadata), encoding="utf-8")
            yield SimpleNamespace(lines=lambda tick: lines, finish=lambda: SimpleNamespace(code=code))

    return Buildx("docker")


def baking(root: Path, job: Job, run: Callable[[Sets], Run], write: Callable[[str], None] = print) -> BakeContext:
    """What ``job`` is built with, in a project at ``root``."""
    here = replace(workspace(), project=Project(root))
    here.project.make_state()
    return BakeContext(buildx(run), here, job, ("buildx", "bake"), facts_of(), {}, View(job, write))


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("time.time", lambda: 0.0)


@pytest.mark.usefixtures("no_time")
def test_an_engine_that_is_too_busy_exports_fewer_images_at_once(plan: Plan, tmp_path: Path) -> None:
    runs: list[tuple[list[str], bool]] = []

    def run(sets: Sets) -> Run:
        part = {name.removesuffix(".output"): to for name, to in sets.items() if to.startswith("type=oci")}
        runs.append(([*part], NO_CACHE_EXPORT[:-1] in sets))
        return ([], 0, part) if len(part) < 3 else ([f"ERROR: {BUSY}"], 1, {})

    notes: list[str] = []
    names = ["federation", "proxy", "roll", "egg", "python"]
    context = baking(tmp_path, job_of(plan, *names), run, notes.append)
    result = run_bake(context, "building", {name: f"type=oci,{name}" for name in names})
    tries = [(names, False), (names[:3], False), (names[:2], False), (names[2:4], True), (names[4:], True)]
    assert (runs, result.digests) == (tries, {name: f"type=oci,{name}" for name in names})
    fewer = "with half as many images at a time"
    assert [note for note in notes if note.startswith("the engine")] == [
        f"the engine stopped answering during the build; try {number} of 5, {fewer}" for number in (2, 3)
    ]


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize(("message", "runs"), [(BUSY, 5), ("no such builder", 1)])
def test_only_a_failure_that_passes_is_tried_again_five_times_in_all(
    plan: Plan, tmp_path: Path, message: str, runs: int
) -> None:
    seen: list[Sets] = []

    def run(sets: Sets) -> Run:
        seen.append(sets)
        return [f"ERROR: {message}"], 1, {}

    with pytest.raises(EngineError):
        run_bake(baking(tmp_path, job_of(plan, "egg"), run), "building", {})
    assert len(seen) == runs and {*seen[0].values()} == {"type=cacheonly"} and seen == seen[:1] * runs


@pytest.mark.usefixtures("no_time")
def test_seconds_of_all_tries_count_overlaps_once_and_cached_steps_exports_and_caches_not_at_all(
    plan: Plan, tmp_path: Path
) -> None:
    of_egg = ("internal] load metadata", "] exporting to image", "] importing cache manifest", "] exporting cache to r")
    lines = [
        vertex("[packages a 1/1] RUN x", 1, 3),
        vertex("[packages-linux-amd64 b 1/1] RUN y", 2, 4),
        vertex("[egg 1/1] RUN z", 2, 9, cached=True),
        vertex("[egg 2/2] RUN z"),
        *(vertex(f"[egg {name}", 2, 9) for name in of_egg),
        f"ERROR: {BUSY}",
    ]
    tries: list[Run] = [(lines, 1, {}), ([vertex("[packages c 1/1] RUN x", 5, 6)], 0, {})]
    context = baking(tmp_path, job_of(plan, "federation", "egg"), lambda sets: tries.pop(0))
    assert run_bake(context, "building", {}).seconds == {"packages": pytest.approx(4.0)}
    assert not tries


@pytest.mark.usefixtures("no_time")
def test_logs_are_one_file_for_each_image(plan: Plan, tmp_path: Path) -> None:
    for name in ("egg", "roll"):
        put(tmp_path, f".fategen/logs/{name}.log", "old")
    name, failed = "[egg storage 2/5] RUN x", '[egg storage 3/5] RUN make "all"'
    lines = [vertex(name, 1), log(name, "out\n"), vertex(name, 1, 3), vertex("[egg storage 1/5] X", 1, 1, cached=True)]
    lines += [vertex(failed, 3, error="exit code: 2"), "WARN x"]
    run_bake(baking(tmp_path, job_of(plan, "egg"), lambda sets: (lines, 0, {})), "building", {})
    assert {file.name: file.read_text() for file in (tmp_path / ".fategen/logs").iterdir()} == {
        "roll.log": "old",
        "egg.log": "== building\n[storage 2/5] RUN x  started\n[storage 2/5] | out\n[storage 2/5] RUN x  2.0 s\n"
        "[storage 1/5] X  cached\n"
        '[storage 3/5] RUN make "all"  started\n[storage 3/5] RUN make "all"  failed: exit code: 2\n',
        "bake.log": "== building\nWARN x\n",
    }


IMPORT = "[roll] importing cache manifest from r/cache:roll"
EXPORT = "[roll] exporting cache to registry"
OF_PACKAGES, LINUX = IMPORT.replace("roll", "packages"), IMPORT.replace("[roll", "[packages-linux-amd64")


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({IMPORT: "r/cache:roll: not found", OF_PACKAGES: "r/cache:packages: not found", LINUX: "x: not found",
          EXPORT: "connection refused"},
         ["note: no build cache was read for packages, roll: there is none yet",
          "note: no build cache was written for roll: connection refused"]),
        ({IMPORT.removeprefix("[roll] "): "connection refused", EXPORT: ""}, []),
        ({IMPORT: "", EXPORT: ""}, []),
    ],
    ids=["none yet, and out of reach", "of no image", "one that works"],
)  # fmt: skip
def test_what_a_cache_did_not_do_is_said_once_with_its_images(
    plan: Plan, tmp_path: Path, errors: dict[str, str], said: list[str]
) -> None:
    lines, notes = [vertex(name, 1, 2, error=error) for name, error in errors.items()], list[str]()
    run_bake(baking(tmp_path, job_of(plan, "roll", "egg"), lambda sets: (lines, 0, {}), notes.append), "building", {})
    assert [note for note in notes if note.startswith("note: ")] == said
