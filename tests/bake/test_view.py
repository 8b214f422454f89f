"""What a person sees of a run: a picture on a terminal, or plain lines."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from rich.console import Console

from generator.bake.events import Reader, Step, StepName
from generator.bake.job import Job
from generator.bake.view import LiveView, View, image_rows, make_view
from generator.plan.plan import Plan
from tests.bake.test_run import IMPORT, fed, recorded, vertex
from tests.fate_plan import job_of
from tests.picture import screen_of
from tests.test_progress import on_terminal

NOW = 100.0


class Terminal:
    """A terminal with bake's picture on it."""

    def __init__(self, plan: Plan, *names: str, columns: int = 80, lines: int = 24, keep: bool = False) -> None:
        self.written = io.StringIO()
        console = Console(file=self.written, force_terminal=True, width=columns, height=lines, no_color=True,
                          color_system="standard", _environ={"TERM": "xterm"})  # fmt: skip
        self.view = LiveView(job_of(plan, *names), console, keep=keep, clock=lambda: NOW)

    @property
    def lines(self) -> list[str]:
        written = self.written.getvalue().replace("\n", "\r\n")  # as a terminal does it
        lines = [line.rstrip() for line in screen_of(written).display]
        return [line for line in lines if line]

    def show(self, *steps: Step) -> list[str]:
        """The lines of the picture while a run with these steps is being stopped."""
        self.view.begin("building", {str(number): step for number, step in enumerate(steps)})
        self.view.stop()
        lines = self.lines
        self.view.end(failed=False)
        return lines


def step(target: str, text: str = "RUN make", **more: object) -> Step:
    return Step(StepName(target, "", "stage-1 2/5", text), **more)  # type: ignore[arg-type]


def test_a_terminal_with_few_lines_shows_what_runs(plan: Plan) -> None:
    last = job_of(plan, "all").involved[-1].name
    assert "RUN make" in "\n".join(Terminal(plan, "all", lines=5).show(step(last, started=1.0)))


def test_a_recorded_run_ends_with_a_mark_for_each_image(plan: Plan) -> None:
    reader, _ = fed(recorded("rawjson-0.13.1-built.txt"))
    rows = image_rows(job_of(plan, "federation", "egg"), reader.steps.values(), NOW, final=True)
    assert [(row.image, row.mark) for row in rows] == [
        ("packages", "✓"), ("base-image", "·"), ("federation", "✓"), ("egg", "✓"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "line"),
    [
        (step("roll"), "roll      ·"),
        (step("roll", started=38.0), "roll      ⠋   1m02s  stage-1 2/5: RUN make"),
        (step("roll", started=90.0, completed=94.2), "roll      ✓   4.2 s  amd64 arm64"),
        (step("roll", started=90.0, completed=90.0, cached=True), "roll      ✓  cached  amd64 arm64"),
        (step("roll", started=90.0, completed=94.2, error="exit code 2"), "roll      ✗   4.2 s  stage-1 2/5: RUN make"),
        (step("roll", started=90.0, progress="extracting 40 %"),
         "roll      ⠋  10.0 s  stage-1 2/5: RUN make  extracting 40 %"),
    ],
    ids=["waiting", "running", "done", "cached", "failed", "transfer"],
)  # fmt: skip
def test_an_image_is_one_line_that_is_redrawn_in_place(plan: Plan, image: Step, line: str) -> None:
    lines = Terminal(plan, "roll").show(image)
    assert [shown.split()[0] for shown in lines] == ["stopping", "packages", "roll"]
    assert lines[2].strip() == line


def test_what_was_not_finished_when_the_run_broke_off_is_no_success(plan: Plan) -> None:
    steps = [step("proxy", started=90.0), step("roll", started=90.0, completed=91.0, error="context canceled")]
    rows = image_rows(job_of(plan, "roll", "proxy"), steps, NOW, final=True)
    assert {row.image for row in rows if row.text == "not finished"} == {"packages", "proxy", "roll"}


def test_a_shared_step_counts_for_the_image_that_it_turns_out_to_belong_to(plan: Plan) -> None:
    shared = step("python", started=90.0, completed=95.0)
    shared.name = StepName("base-image", "", "stage-1 2/5", "RUN pip")
    base, python = image_rows(job_of(plan, "python"), [shared], NOW, final=True)
    assert (base.mark, base.text.split()[:2], python.mark) == ("✓", ["5.0", "s"], "·")


@pytest.mark.parametrize(("failed", "keep", "left"), [(False, False, 0), (True, False, 3), (False, True, 3)])
def test_the_picture_makes_way_for_what_says_the_same(plan: Plan, failed: bool, keep: bool, left: int) -> None:
    terminal = Terminal(plan, "roll", keep=keep)
    terminal.view.begin("building", {})
    terminal.view.end(failed=failed)
    assert len(terminal.lines) == left
    assert terminal.written.getvalue().rpartition("\x1b[?25")[2].startswith("h"), "the cursor is shown again"


def test_the_picture_of_a_second_try_leaves_that_of_the_first(plan: Plan) -> None:
    terminal = Terminal(plan, "roll", "egg")
    terminal.show(step("roll"))
    terminal.view.end(failed=True)
    before = terminal.lines
    terminal.show(step("roll"))
    assert terminal.lines == before


@pytest.mark.parametrize("columns", [2, 10, 20, 40])
def test_a_narrow_terminal_breaks_no_line(plan: Plan, columns: int) -> None:
    terminal = Terminal(plan, "roll", columns=columns, keep=True)
    failed = step("roll", "COPY 日本語 日本語 日本語", started=90.0, completed=91.0, error="x")
    assert len(terminal.show(failed)) == 3
    assert len(terminal.lines) == 3


def test_the_view_that_fits(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(plan, "roll")
    for no_color, mark in (("", "\x1b[31m✗"), ("1", " ✗")):
        screen = on_terminal(monkeypatch)
        monkeypatch.setenv("NO_COLOR", no_color)
        live = make_view(job)
        assert isinstance(live, LiveView)
        live.begin("building", {"": step("roll", started=90.0, completed=91.0, error="x")})
        live.end(failed=True)
        assert mark in screen.text
    assert type(make_view(job, verbose=True)) is View
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_view(job)) is View
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(make_view(job)) is View


def test_nothing_is_written_with_quiet(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    view = make_view(job_of(plan, "roll"), quiet=True)
    view.begin("building", {})
    view.note("note")
    view.end(failed=False)
    assert screen.text == ""


def test_a_cache_that_fails_is_no_failed_image(plan: Plan) -> None:
    terminal, said = Terminal(plan, "roll"), list[str]()
    lines = [vertex("[roll 1/2] RUN x", 1, 2), vertex(IMPORT, 1, 2, error="connection refused")]
    reader, events = fed(lines, ["packages", "roll"])
    plain = View(job_of(plan, "roll"), said.append)
    for view in (terminal.view, plain):
        view.begin("building", reader.steps)
        for event in events:
            view.show(event)
        view.end(failed=True)
    assert "✓" in terminal.lines[2] and "✗" not in terminal.written.getvalue()
    assert not [line for line in said if line.endswith("failed")]


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
