"""What a person sees of a run: logs, plain lines, the live picture, the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from generator.bake.build import Built, result_table
from generator.bake.events import Reader, StepEvent
from generator.bake.job import Job
from generator.bake.run import clear_logs, writing_logs
from generator.bake.view import View
from generator.plan.plan import Plan
from tests.bake.test_run import failing_reader, fed, recorded
from tests.fate_plan import BOTH, job_of, put


def test_logs_are_one_file_for_each_image(plan: Plan, tmp_path: Path) -> None:
    directory, state = tmp_path / ".fategen/logs", tmp_path / ".fategen"
    for name in ("egg", "roll"):
        put(directory, f"{name}.log", "old")
    job = job_of(plan, "egg")
    clear_logs(state, job)
    with writing_logs(state, job, "building") as log:
        for event in fed(recorded("rawjson-0.13.1-built.txt"), ["packages", "federation"])[1]:
            log(event)
        reader = failing_reader()
        [step] = [step for step in reader.steps.values() if step.name.target == "egg"]
        log(StepEvent("failed", step, "exit code: 2"))
        log(StepEvent("note", None, "WARN x"))
    assert (directory / "roll.log").read_text() == "old"
    assert (directory / "egg.log").read_text() == '== building\n[storage 3/5] RUN make "all"  failed: exit code: 2\n'
    assert (directory / "bake.log").read_text().endswith("WARN x\n")


def shown(job: Job, name: str, **options: Any) -> list[str]:
    """The plain lines of a recorded run."""
    said: list[str] = []
    view, reader = View(job, said.append, **options), Reader(["packages", "federation", "egg"], str)
    view.begin("building", reader.steps)
    for line in recorded(name):
        for event in reader.feed(line):
            view.show(event)
        view.tick()
    view.end(failed=False)
    return said


def test_plain_lines(plan: Plan) -> None:
    said = shown(job_of(plan, "federation", "egg"), "rawjson-0.29.1-built.txt", clock=lambda: 0.0)
    assert said[0] == "building: federation, egg"
    built = next(line for line in said if line.startswith("packages    linux/amd64  build 3/3: RUN echo building2"))
    assert built.endswith(" s")
    assert "egg         2 steps cached" in said
    assert not [line for line in said if "load from client" in line or "FROM localhost" in line or line.endswith("…")]


def test_plain_lines_announce_a_long_step_once_and_have_the_output_of_steps_if_asked(plan: Plan) -> None:
    said = shown(job_of(plan, "egg"), "rawjson-0.13.1-built.txt", clock=lambda: 1e12, verbose=True)
    assert len([line for line in said if line.endswith("…") and "RUN echo building" in line]) == 1
    assert [line for line in said if line.endswith("| progress 2")]


def test_the_result_as_table_and_as_json() -> None:
    digest, amd, arm = (f"sha256:{byte * 32}" for byte in ("1a", "3c", "4d"))
    sizes, manifests = {"linux/amd64": 84_000_000, "linux/arm64": 81_000_000}, {"linux/amd64": amd, "linux/arm64": arm}
    pushed = Built("roll", ("r/roll:1",), digest, BOTH, sizes, 3.1, "pushed", manifests=manifests)
    one = {"linux/amd64": amd}
    alone = Built("egg", ("r/egg:1",), amd, BOTH[:1], {"linux/amd64": 84_000_000}, 41.2, "pushed", manifests=one)
    built = Built("python", ("r/python:1",), "", BOTH, {}, 0.0, "built", cached=True)
    again = replace(pushed, replaced="sha256:" + "2b" * 32)
    assert result_table([again], 0.0).splitlines()[-1] == "replaced in the registry: roll (was sha256:2b2b2b2b…)"
    assert (again.as_json()["replaced"], pushed.as_json()["replaced"]) == ("sha256:" + "2b" * 32, None)
    assert [line.split() for line in result_table([pushed, alone, built], 64.0).splitlines()] == [
        ["IMAGE", "BUILT", "IN", "PLATFORMS", "SIZE", "DIGEST"],
        ["roll", "3.1", "s", "index", "sha256:1a1a1a1a…"],
        ["linux/amd64", "84", "MB", "sha256:3c3c3c3c…"],
        ["linux/arm64", "81", "MB", "sha256:4d4d4d4d…"],
        ["egg", "41.2", "s", "linux/amd64", "84", "MB", "sha256:3c3c3c3c…"],
        ["python", "cached", "linux/amd64", "linux/arm64"],
        ["total", "1m04s"],
    ]
    assert result_table([built], 0.0).splitlines()[0].split() == ["IMAGE", "BUILT", "IN", "PLATFORMS"], (
        "nothing was exported"
    )
    assert pushed.as_json()["digest"] == digest and built.as_json()["digest"] is None
    assert pushed.as_json()["sizes"] == {"linux/amd64": 84_000_000, "linux/arm64": 81_000_000}
    assert pushed.as_json()["manifests"] == {"linux/amd64": amd, "linux/arm64": arm}


def test_the_result_has_what_nobody_asked_for_and_its_time() -> None:
    needed = {"packages": 207.2, "base-image": 0.0}
    images = [Built(name, (), "", BOTH, {}, 2.7, "built", needed=needed) for name in ("roll", "proxy")]
    lines = result_table(images, 210.0).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["packages", "3m27s"], ["base-image", "cached"], ["roll", "2.7"], ["proxy", "2.7"], ["total", "3m30s"],
    ]  # fmt: skip
    assert images[0].as_json()["needed"] == {"packages": 207.2, "base-image": 0.0}
