"""What verify --stack concludes from what compose and the smoke commands answer; no engine: its answers are made up."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from generator.catalogue.line import Smoke
from generator.docker.process import Completed, Docker
from generator.errors import EngineError, InputError
from generator.project import Project
from generator.render.tree import COMPOSE_FILE
from generator.verify.origins import place
from generator.verify.results import Result, failures
from generator.verify.stack import verify_stack
from generator.workspace import Workspace
from tests.fate_plan import plan_of

ENDED = {"State": "exited", "ExitCode": 1, "Health": ""}
SERVICES = [f"{name}-{party}" for name in ("migrate", "meta-service", "roll", "python") for party in (10000, 9999)]
SMOKE = (
    Smoke("roll reaches egg", "roll", ("ask", "egg"), "", 5.0, "1.3.yaml:1"),
    Smoke("roll counts", "roll", ("ask", "rows"), "^2 rows", 5.0, "1.3.yaml:2"),
    Smoke("toy job", "python", ("toy", "$PARTY", "$OTHER"), "success of $OTHER", 5.0, "1.3.yaml:3"),
)


@dataclass(frozen=True)
class Engine(Docker):
    """A docker that answers as it is told: the states of services, and what a command prints in one of them."""

    binary: str = "docker"
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    version: str = "2.26.1-4"
    up: int = 0
    slow: str = ""
    calls: list[str] = field(default_factory=list)

    def run(self, args: Sequence[str], **options: Any) -> Completed:
        if args[1] == "version":
            return Completed(tuple(args), 0 if self.version else 1, self.version, "")
        command, rest = args[7], args[8:]  # compose --ansi never --project-name NAME --file FILE COMMAND
        if command not in ("ps", "logs"):
            self.calls.append(" ".join([command, *rest[:2]] if command == "exec" else [command]))
        code, text = 0, ""
        if command == "up":
            assert rest[0] == "--wait"
            code, text = self.up, "no such image" if self.up else ""
        elif command == "ps":
            rows = [{**self._row(name), "Service": name} for name in SERVICES]
            text = "\n".join(map(json.dumps, rows))
        elif command == "exec":
            line = " ".join(rest[1:])
            if line == self.slow:
                raise EngineError(f"no answer within {options['timeout']:g} s")
            code, text = self.answers.get(line, (0, "2 rows\nsuccess of 9999\nsuccess of 10000"))
        elif command == "logs":
            text = "".join(f"{rest[-1]} {number}\n" for number in range(20))
        return Completed(tuple(args), code, "" if code else text, text if code else "")

    def _row(self, name: str) -> Mapping[str, Any]:
        ended = {"State": "exited", "Health": ""} if name.startswith("migrate") else {}
        return {"ID": "1", "State": "running", "ExitCode": 0, "Health": "healthy", **ended, **self.states.get(name, {})}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    plan = plan_of(platforms=("linux/amd64",))
    assert plan.party is not None
    plan = replace(plan, party=replace(plan.party, smoke=SMOKE))
    ends = {name: {"condition": "service_completed_successfully"} for name in SERVICES if name.startswith("migrate")}
    services = {
        **dict.fromkeys(SERVICES),
        "roll-10000": {"depends_on": ends},
        "roll-9999": {"depends_on": ["python-9999"]},
    }
    return Workspace(Project(tmp_path), plan, {COMPOSE_FILE: f"services: {json.dumps(services)}\n"}, ())


def run(docker: Engine, workspace: Workspace) -> tuple[Result, ...]:
    return verify_stack(docker, workspace, lambda _: None)


@pytest.mark.parametrize(
    ("answers", "within", "found"),
    [
        ({"answers": {"roll-9999 ask rows": (1, "a\nb\nc\nd")}}, 0, "exit code 1: b / c / d"),
        ({"answers": {"roll-9999 ask rows": (0, "12 rows")}}, 0, "exit code 0: 12 rows"),
        ({"answers": {"roll-9999 ask rows": (0, "")}}, 0, "exit code 0: nothing printed"),
        ({"slow": "roll-9999 ask rows"}, 0, "no answer within 5 s; --within gives it more time"),
        ({"slow": "roll-9999 ask rows"}, 600, "no answer within 600 s; --within gives it more time"),
    ],
)
def test_a_command_that_fails_is_named_with_its_service_its_output_and_how_to_repeat_it(
    workspace: Workspace, answers: dict[str, Any], within: float, found: str
) -> None:
    (result,) = failures(verify_stack(Engine(**answers), workspace, lambda _: None, within=within))
    assert (result.image, result.check, result.where) == ("party 9999", "roll counts", "1.3.yaml:2")
    assert (result.expected, result.found) == ("roll-9999 prints ^2 rows", found)
    project = workspace.project.root
    compose = f"docker compose -p fategen-{place(project)} -f {project}/.fategen/stack/compose.yaml"
    assert result.next == f"{compose} up --wait && {compose} exec -T roll-9999 ask rows"
    assert result.log == tuple(f"roll-9999 {number}" for number in range(12, 20))


def test_a_log_is_shown_once_and_every_services_log_is_kept(workspace: Workspace) -> None:
    refused = (1, "refused")
    docker = Engine(answers={"roll-10000 ask egg": refused, "roll-10000 ask rows": refused})
    assert [bool(result.log) for result in failures(run(docker, workspace))] == [True, False]
    assert docker.calls == ["down", "up", *["exec -T roll-10000"] * 2, "exec -T python-10000",
                            *["exec -T roll-9999"] * 2, "exec -T python-9999", "down"]  # fmt: skip
    logs = {path.stem: path.read_text(encoding="utf-8") for path in (workspace.project.state / "logs").iterdir()}
    assert set(logs) == set(SERVICES)
    assert logs["meta-service-9999"].startswith("meta-service-9999 0\n")


WAITING = {"Health": "starting"}
OTHERS_WAIT = {name: WAITING for name in SERVICES if name.startswith(("roll", "python"))}


@pytest.mark.parametrize(
    ("states", "named"),
    [
        ({**OTHERS_WAIT, "meta-service-9999": ENDED}, {"meta-service": "exited with code 1"}),
        ({**OTHERS_WAIT, "meta-service-9999": {"Health": "unhealthy"}}, {"meta-service": "running, unhealthy"}),
        ({**OTHERS_WAIT, "meta-service-9999": {"State": "restarting", **WAITING}},
         {"meta-service": "restarting, starting"}),
        ({"python-9999": WAITING, "meta-service-9999": WAITING},
         {"meta-service": "running, starting", "python": "running, starting"}),
        ({"migrate-9999": ENDED}, {"migrate": "exited with code 1"}),
    ],
    ids=["ended", "unhealthy", "restarting", "not in time, in the order of the file", "may end but not fail"],
)  # fmt: skip
def test_a_service_that_fails_or_is_not_healthy_in_time_is_named_and_nothing_is_run(
    workspace: Workspace, states: dict[str, Any], named: dict[str, str]
) -> None:
    docker = Engine(up=1, states=states)
    failed = failures(run(docker, workspace))
    assert [(result.image, result.check, result.found) for result in failed] == [
        ("party 9999", f"{name} is healthy", found) for name, found in named.items()
    ]
    for result, name in zip(failed, named, strict=True):
        assert result.next.endswith(f"{name}-9999.log") and len(result.log) == 8
    assert docker.calls == ["down", "up", "down"]


def test_everything_is_taken_down_where_nobody_listens_any_more(workspace: Workspace) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError

    docker = Engine()
    with pytest.raises(BrokenPipeError):
        verify_stack(docker, workspace, closed)
    assert docker.calls == ["down", "down"], "what a killed run left, and what this one may have started"


def test_a_second_run_in_a_project_waits_for_the_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()

    class Listening(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another fategen verify --stack in this project" in text:
                waits.set()
            return len(text)

    monkeypatch.setattr(sys, "stderr", Listening())
    second = Engine()
    with ThreadPoolExecutor(1) as pool:

        def start_second(text: str) -> None:
            if text.startswith("running"):
                later.append(pool.submit(run, second, workspace))
                assert waits.wait(30) and not second.calls

        later: list[Future[tuple[Result, ...]]] = []
        verify_stack(Engine(), workspace, start_second)
        assert not failures(later[0].result())
    assert second.calls[:2] == ["down", "up"]


@pytest.mark.parametrize(("version", "said"), [("", "no compose plugin"), ("2.20.3", "2.20.3 is too old")])
def test_compose_that_is_missing_or_old_is_an_error_with_how_to_get_it(
    workspace: Workspace, version: str, said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        run(Engine(version=version), workspace)
    assert "docker-compose-plugin" in caught.value.hint


def test_platforms_that_no_party_has_are_the_users_to_change(tmp_path: Path) -> None:
    plan = plan_of(platforms=("linux/arm64",))
    with pytest.raises(InputError, match="no party whose images are all built for linux/arm64"):
        run(Engine(), Workspace(Project(tmp_path), plan, {}, ()))
