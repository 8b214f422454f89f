"""What verify --stack concludes from what compose and the components say; no engine: its answers are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generator.docker.completed import Completed
from generator.docker.process import Docker
from generator.errors import EngineError, InputError
from generator.plan.plan import Plan
from generator.project import Project
from generator.render.render import COMPOSE_FILE
from generator.verify import stack
from generator.verify.results import Result, failures
from generator.verify.stack import SETTLE, verify_stack
from generator.workspace import Workspace
from tests.fate_plan import plan_of

ENDED = {"State": "exited", "ExitCode": 1}
SERVICES = [
    f"{name}-{party}" for name in ("schema", "meta-service", "roll", "egg", "python") for party in (10000, 9999)
]


@dataclass(frozen=True)
class Engine(Docker):
    """A docker that answers as it is told: the states of services, what is said at ``FROM → TO`` of both parties."""

    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[str, tuple[bool, bool, str]] = field(default_factory=dict)
    compose: str = "2.26.1-4"
    up: int = 0
    calls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)

    def run(self, args: Sequence[str], **_: Any) -> Completed:
        words = [word for word in args if not word.startswith("--")]
        if "version" in words:
            return Completed(tuple(args), 0 if self.compose else 1, self.compose, "")
        command = words[4]  # compose never NAME FILE COMMAND
        self.calls.append(command)
        return {"up": self._up, "ps": self._ps, "exec": self._exec, "down": self._down}[command](args)

    def _up(self, args: Sequence[str]) -> Completed:
        return Completed(tuple(args), self.up, "", "no such image" if self.up else "")

    def _down(self, args: Sequence[str]) -> Completed:
        return Completed(tuple(args), 0, "", "")

    def _ps(self, args: Sequence[str]) -> Completed:
        services = () if self.up else SERVICES
        running = {"ID": "1", "State": "running", "ExitCode": 0}
        rows = [{**running, **self.states.get(name, {}), "Service": name} for name in services]
        return Completed(tuple(args), 0, "\n".join(json.dumps(row) for row in rows), "")

    def _exec(self, args: Sequence[str]) -> Completed:
        service = args[args.index("-T") + 1]
        self.asked.append(service)
        if service in self.states:
            return Completed(tuple(args), 1, "", f'service "{service}" is not running')
        asked = json.loads(args[-1])
        self.questions.extend(asked)
        well = (True, True, "well")
        said = [self.answers.get(f"{one['from']} → {one['to']}", well) for one in asked]
        return Completed(tuple(args), 0, json.dumps(said), "")

    @contextmanager
    def stream_lines(self, args: Sequence[str], **_: Any) -> Iterator[Any]:  # type: ignore[override]
        class Lines:
            @staticmethod
            def lines() -> list[str]:
                return [f"line {number}" for number in range(20)]

        yield Lines


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept; threads that other tests have left behind know nothing of it."""
    slept: list[float] = []
    monkeypatch.setattr(stack, "time", SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append))
    return slept


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(platforms=("linux/amd64",))


@pytest.fixture
def workspace(tmp_path: Path, plan: Plan) -> Workspace:
    return Workspace(Project(tmp_path), plan, {COMPOSE_FILE: f"services: {json.dumps(dict.fromkeys(SERVICES))}\n"}, ())


def engine(**answers: Any) -> Engine:
    return Engine("docker", **answers)


def run(docker: Engine, workspace: Workspace) -> tuple[Result, ...]:
    return verify_stack(docker, workspace, lambda _: None)


def test_all_is_well_where_all_run_and_all_answer(workspace: Workspace) -> None:
    docker = engine()
    results = run(docker, workspace)
    assert not failures(results)
    assert ("party 9999", "roll → egg") in {(result.image, result.check) for result in results}
    assert docker.calls == ["down", "up", "exec", "exec", "ps", "down"]


def test_a_path_that_fails_is_told_with_its_line_and_the_log_of_who_was_asked(workspace: Workspace) -> None:
    results = failures(run(engine(answers={"roll → egg": (True, False, "refused")}), workspace))
    first = results[0]
    assert (first.image, first.check, first.found, first.expected) == (
        "party 10000",
        "roll → egg",
        "refused",
        "an answer",
    )
    assert first.where.startswith("1.3.yaml:")
    assert first.log == tuple(f"line {number}" for number in range(12, 20))
    log = workspace.project.state / "logs" / "roll-10000.log"
    assert log.read_text(encoding="utf-8").startswith("line 0\n")


def test_a_log_is_shown_once(workspace: Workspace) -> None:
    refused = (True, False, "refused")
    results = failures(run(engine(answers={"roll → egg": refused, "roll → meta-service": refused}), workspace))
    assert [(result.image, bool(result.log)) for result in results] == [
        ("party 10000", True), ("party 10000", False), ("party 9999", True), ("party 9999", False)
    ]  # fmt: skip


def test_components_that_answer_have_some_seconds_to_find_each_other(workspace: Workspace, clock: list[float]) -> None:
    run(engine(answers={"roll → egg": (True, False, "refused")}), workspace)
    assert SETTLE <= sum(clock) <= SETTLE + 1


def test_components_that_do_not_answer_yet_have_longer(workspace: Workspace, clock: list[float]) -> None:
    run(engine(answers={"roll → egg": (False, False, "Connection refused")}), workspace)
    assert sum(clock) >= stack.PATIENCE


def test_nobody_waits_for_what_has_ended(workspace: Workspace, clock: list[float]) -> None:
    silent = (False, False, "no such name")
    docker = engine(
        states={f"roll-{party}": ENDED for party in ("10000", "9999")},
        answers={"roll → egg": silent, "roll → meta-service": silent, "python → roll": silent},
    )
    results = failures(run(docker, workspace))
    assert (results[0].check, results[0].found) == ("roll runs", "exited with code 1")
    assert clock == []


def test_without_python_egg_asks_but_not_in_the_name_of_python(workspace: Workspace) -> None:
    results = failures(run(engine(states={"python-9999": ENDED}), workspace))
    assert {result.check: result.found for result in results} == {
        "python runs": "exited with code 1",
        "python → roll": "python does not run",
        "python → federation": "python does not run",
        "python → redis": "python does not run",
    }


def test_the_catalogue_says_who_asks(tmp_path: Path) -> None:
    other = plan_of(platforms=("linux/amd64",), fate_version="1.11.4")
    services = {f"{name}-{party}": None for name in ("nodemanager", "fateflow") for party in (10000, 9999)}
    workspace = Workspace(Project(tmp_path), other, {COMPOSE_FILE: f"services: {json.dumps(services)}\n"}, ())
    docker = engine(states={"fateflow-9999": ENDED})
    run(docker, workspace)
    assert docker.asked[:3] == ["fateflow-10000", "fateflow-9999", "nodemanager-9999"]
    assert {question["says"] for question in docker.questions} == {"", "NODE_MANAGER", "egg_pair", "success"}


def test_the_schemas_container_has_ended(workspace: Workspace) -> None:
    ended = {"schema-10000": {"State": "exited", "ExitCode": 0}, "schema-9999": ENDED}
    assert [result.image for result in failures(run(engine(states=ended), workspace))] == ["party 9999"]


def test_a_service_that_is_not_healthy_does_not_run(workspace: Workspace) -> None:
    results = failures(run(engine(states={"meta-service-9999": {"Health": "unhealthy"}}), workspace))
    assert [(result.check, result.found) for result in results] == [("meta-service runs", "running, unhealthy")]


def test_services_are_told_in_the_order_of_the_file(workspace: Workspace) -> None:
    states = {"python-9999": ENDED, "meta-service-9999": ENDED}
    checks = [result.check for result in failures(run(engine(states=states), workspace))]
    assert checks[:2] == ["meta-service runs", "python runs"]


def test_nothing_that_starts_is_an_error_of_the_engine(workspace: Workspace) -> None:
    docker = engine(up=1)
    with pytest.raises(EngineError, match="no such image"):
        run(docker, workspace)
    assert docker.calls[-1] == "down"


def test_what_was_started_is_taken_down_on_ctrl_c(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "_ask", interrupted)
    docker = engine()
    with pytest.raises(KeyboardInterrupt):
        run(docker, workspace)
    assert docker.calls == ["down", "up", "down"]


def test_what_was_started_is_taken_down_where_nobody_listens_any_more(workspace: Workspace) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError

    docker = engine()
    with pytest.raises(BrokenPipeError):
        verify_stack(docker, workspace, closed)
    assert docker.calls[-1] == "down"


@pytest.mark.parametrize(("version", "said"), [("", "no compose plugin"), ("2.20.3", "2.20.3 is too old")])
def test_compose_that_is_missing_or_old_is_told_with_how_to_get_it(
    workspace: Workspace, version: str, said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        run(engine(compose=version), workspace)
    assert "docker-compose-plugin" in caught.value.hint


def test_platforms_that_no_party_has_are_the_users_to_change(tmp_path: Path) -> None:
    plan = plan_of(platforms=("linux/arm64",))
    with pytest.raises(InputError, match="no party whose images are all built for linux/arm64"):
        run(engine(), Workspace(Project(tmp_path), plan, {}, ()))
