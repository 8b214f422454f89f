"""Build caches: what they cannot do never fails a build, and is said once."""

from __future__ import annotations

import pytest

from generator.bake.events import Reader, StepEvent
from generator.bake.run import cache_notes
from generator.bake.view import View
from tests.bake.test_live import Terminal
from tests.bake.test_run import AT, fed, vertex
from tests.fate_plan import job_of, plan_of

CACHE = "localhost:5000/t/cache"
IMPORT = f"[roll] importing cache manifest from {CACHE}:roll"
EXPORT = "[roll] exporting cache to registry"


def read(*lines: str) -> tuple[Reader, list[StepEvent]]:
    return fed(lines, ["packages", "packages-linux-amd64", "roll"])


def over(name: str, error: str = "") -> str:
    return vertex(name, started=AT.format(1), completed=AT.format(2), error=error)


def test_a_cache_that_nobody_wrote_yet_and_one_that_is_out_of_reach_are_told_apart() -> None:
    other = IMPORT.replace("roll", "packages")
    reader, _ = read(
        over(IMPORT, f"{CACHE}:roll: not found"),
        over(other, f"{CACHE}:packages: not found"),
        over(other.replace("[packages", "[packages-linux-amd64"), f"{CACHE}:packages: not found"),
        over(EXPORT, "connection refused"),
    )
    assert list(cache_notes(job_of(plan_of(), "roll", "egg"), reader.steps.values())) == [
        "note: no build cache was read for packages, roll: there is none yet",
        "note: no build cache was written for roll: connection refused",
    ]


@pytest.mark.parametrize(("importing", "error"), [(IMPORT.removeprefix("[roll] "), "connection refused"), (IMPORT, "")])
def test_a_cache_of_no_image_and_one_that_works_are_not_worth_a_word(importing: str, error: str) -> None:
    reader, _ = read(over(importing, error), over(EXPORT))
    assert not list(cache_notes(job_of(plan_of(), "roll"), reader.steps.values()))


def test_a_cache_that_fails_is_no_failed_image() -> None:
    plan, terminal, said = plan_of(), Terminal(plan_of(), "roll"), list[str]()
    reader, events = read(over("[roll 1/2] RUN x"), over(IMPORT, "connection refused"))
    plain = View(job_of(plan, "roll"), said.append)
    for view in (terminal.view, plain):
        view.begin("building", reader.steps)
        for event in events:
            view.show(event)
        view.end(failed=True)
    assert "✓" in terminal.lines[2] and "✗" not in terminal.written.getvalue()
    assert not [line for line in said if line.endswith("failed")]
