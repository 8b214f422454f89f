"""What is shown of a failed step: why, as maven, pip, apt, gcc and npm said it: data/causes has both."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bake.cause import FIRST, LAST, SHOWN, WIDTH, cause

LOGS = Path(__file__).parent / "data" / "causes"


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.txt")), ids=lambda log: log.stem)
def test_why_a_tool_failed_is_shown_and_nothing_else(log: Path) -> None:
    """A line that is expected and ends in "…" is longer."""
    shown = cause(log.read_text(encoding="utf-8").splitlines())
    why = log.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    assert len(shown) == len(why), shown
    for line, expected in zip(shown, why, strict=True):
        assert line == expected or (expected.endswith("…") and line.startswith(expected[:-1]))
        assert len(line) <= WIDTH


def test_of_many_errors_the_first_and_the_last_are_shown() -> None:
    shown = cause([f"a.c:{number}: error: x" for number in range(100)])
    assert len(shown) == SHOWN + 1
    assert shown[0] == "a.c:0: error: x" and shown[FIRST] == "… 90 more" and shown[-1] == "a.c:99: error: x"


def test_of_a_tool_that_nobody_knows_the_last_lines_are_shown() -> None:
    lines = [f"line {number}" for number in range(100)]
    assert cause(lines) == lines[-LAST:]
    assert cause([]) == []
