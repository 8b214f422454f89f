"""The picture of a run on a terminal, drawn on a small screen that knows the codes it uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from generator.bake.events import Change, Reader, Step, StepName
from generator.bake.live import LiveView
from generator.plan.plan import Plan
from tests.fate_plan import job_of, plan_of

DATA = Path(__file__).parent / "data"


class Screen:
    """A terminal's lines and what scrolled out of it. It breaks long lines, and again when it is made narrower."""

    def __init__(self, columns: int = 80, height: int = 24) -> None:
        self.columns, self.height = columns, height
        self.lines, self.row = [""], 0
        self.raw = ""

    def size(self) -> tuple[int, int]:
        return self.columns, self.height

    def write(self, text: str) -> None:
        self.raw += text
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part.endswith("A") and part.startswith("\x1b"):
                top = max(0, len(self.lines) - self.height)
                self.row = max(top, self.row - int(part[2:-1]))
            elif part == "\x1b[K":
                self.lines[self.row] = ""
            elif part == "\x1b[J":
                del self.lines[self.row :]
                self.lines.append("")
            elif part[0] not in "\r\x1b":
                assert len(part) < self.columns, "a line that the terminal would break in two"
                self.lines[self.row] += part

    def resize(self, columns: int) -> None:
        """As terminals do that break their lines anew."""
        self.columns = columns
        above = self.lines[: self.row]
        broken = [line[i : i + columns] for line in above for i in range(0, max(1, len(line)), columns)]
        self.lines, self.row = [*broken, ""], len(broken)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of()


def view_of(
    plan: Plan, screen: Screen, *names: str, colour: bool = False, keep: bool = False, now: float = 100.0
) -> LiveView:
    return LiveView(job_of(plan, *names), screen.write, size=screen.size, colour=colour, keep=keep, clock=lambda: now)


def step(target: str, text: str = "RUN make", **more: object) -> Step:
    return Step(StepName(target, "", "stage-1 2/5", text), **more)  # type: ignore[arg-type]


def test_a_recorded_run_ends_with_a_mark_and_a_time_for_each_image(plan: Plan) -> None:
    screen, job = Screen(), job_of(plan, "federation", "egg")
    now = iter(range(10_000))
    view = LiveView(job, screen.write, size=screen.size, clock=lambda: float(next(now)))
    reader = Reader(["packages", "federation", "egg"], str)
    view.begin("building")
    for line in (DATA / "rawjson-0.13.1-built.txt").read_text().splitlines():
        for change in reader.feed(line):
            view.change(change)
    view.end()
    assert screen.shown[0].startswith("building  3 of 4  ")
    assert [line.split()[:2] for line in screen.shown[1:]] == [
        ["packages", "✓"], ["base-image", "·"], ["federation", "✓"], ["egg", "✓"],
    ]  # fmt: skip
    assert len(screen.shown) == 5, "each picture is drawn over the one before"


@pytest.mark.parametrize(
    ("one", "line"),
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
def test_an_image_is_one_line(plan: Plan, one: Step, line: str) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll")
    view.begin("building")
    view.change(Change("started", one))
    view._draw()
    assert screen.shown[2].strip() == line


def test_what_was_not_finished_when_the_run_broke_off_is_no_success(plan: Plan) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll", "proxy")
    view.begin("building")
    view.change(Change("started", step("proxy", started=90.0)))
    view.change(Change("failed", step("roll", started=90.0, completed=91.0, error="context canceled")))
    view.end()
    assert [line.split()[0] for line in screen.shown if line.endswith("· not finished")] == [
        "packages",
        "proxy",
        "roll",
    ]


def test_a_shared_step_counts_for_the_image_that_it_turns_out_to_belong_to(plan: Plan) -> None:
    screen, shared = Screen(), step("python", started=90.0, completed=95.0)
    view = view_of(plan, screen, "python")
    view.begin("building")
    view.change(Change("finished", shared))
    shared.name = StepName("base-image", "", "stage-1 2/5", "RUN pip")
    view.end()
    assert [line.split()[:3] for line in screen.shown[1:]] == [["base-image", "✓", "5.0"], ["python", "·", "not"]]


def test_a_second_phase_is_drawn_over_the_first(plan: Plan) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll")
    view.begin("building")
    view.change(Change("finished", step("roll", started=90.0, completed=94.2)))
    view.end()
    view.begin("publishing")
    assert [line.split()[0] for line in screen.shown] == ["publishing", "packages", "roll"]
    assert "✓" not in screen.shown[2], "it is to be published yet"


def test_a_note_stays_above_the_picture(plan: Plan) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll")
    view.begin("building")
    view.end()
    view.note("once more")
    view.begin("building")
    assert [line.split()[0] for line in screen.shown] == ["once", "building", "packages", "roll"]


@pytest.mark.parametrize(("keep", "left"), [(False, 0), (True, 3)])
def test_the_picture_makes_way_for_a_result_on_the_same_terminal(plan: Plan, keep: bool, left: int) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll", keep=keep)
    view.begin("building")
    view.end()
    view.clear()
    assert len(screen.shown) == left


def test_what_a_key_press_left_below_is_wiped(plan: Plan) -> None:
    screen = Screen()
    view = view_of(plan, screen, "roll")
    view.begin("building")
    screen.write("^C")
    view.stop()
    assert screen.shown[0].startswith("stopping") and len(screen.shown) == 3


def test_more_images_than_lines_shows_what_is_going_on(plan: Plan) -> None:
    screen = Screen(height=7)
    view = view_of(plan, screen)
    view.begin("building")
    view.change(Change("started", step("python", started=90.0)))
    view.change(Change("finished", step("federation", started=90.0, completed=94.0)))
    view._draw()
    assert [line.split()[0] for line in screen.shown[1:-1]] == ["packages", "base-image", "proxy", "python"]
    assert screen.shown[-1] == "  and 4 waiting, 1 done"
    assert len(screen.shown) < screen.height


@pytest.mark.parametrize("columns", [1, 2, 10, 20, 40])
def test_a_narrow_terminal_breaks_no_line(plan: Plan, columns: int) -> None:
    screen = Screen(columns, height=20)
    view = view_of(plan, screen, "roll")
    view.begin("building")
    view.change(Change("started", step("roll", "COPY 日本語 日本語 日本語", started=90.0)))
    view.end()
    assert screen.raw.count("\n") == 2 * 3


def test_a_terminal_made_narrower_keeps_one_picture(plan: Plan) -> None:
    screen = Screen(80)
    view = view_of(plan, screen, "roll")
    view.begin("building")
    view.change(Change("started", step("roll", "RUN " + "make " * 30, started=90.0)))
    view._draw()
    screen.resize(30)
    view._draw()
    assert [line.split()[0] for line in screen.shown] == ["building", "packages", "roll"]


def test_marks_have_colour_where_it_is_wanted(plan: Plan) -> None:
    for colour in (True, False):
        screen = Screen()
        view = view_of(plan, screen, "roll", colour=colour)
        view.begin("building")
        view.change(Change("failed", step("roll", started=90.0, completed=91.0, error="x")))
        view.end()
        assert ("\x1b[31m✗\x1b[m" in screen.raw) is colour
