"""Which progress fits the terminal, and the line of a bundle."""

from __future__ import annotations

import io
import os
import sys

import pytest

from generator.bake.live import LiveView
from generator.bake.progress import PlainView, View
from generator.cli import terminal
from generator.cli.terminal import progress_view
from generator.terminal import Bar
from tests.fate_plan import job_of, plan_of


class Terminal(io.TextIOWrapper):
    """A stream that says that it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as stderr, in an ordinary environment. (Not a fixture: pytest sets stderr anew after fixtures.)"""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "size", lambda: (60, 24))
    return found


def test_the_view_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    job = job_of(plan_of(), "roll")
    assert isinstance(progress_view(job), LiveView)
    assert type(progress_view(job, quiet=True)) is View
    assert isinstance(progress_view(job, verbose=True), PlainView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_view(job), PlainView)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(progress_view(job), PlainView)


def test_no_color_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    from generator.bake.events import Change
    from tests.bake.test_bake_live import step

    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        before = len(screen.text)
        view = progress_view(job_of(plan_of(), "roll"))
        view.begin("building")
        view.change(Change("failed", step("roll", started=90.0, completed=91.0, error="x")))
        view.end()
        assert ("\x1b[31m" in screen.text[before:]) is coloured


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ({"LANG": "en_US.UTF-8"}, "✓ ⠸…"),
        ({}, "✓ ⠸…"),
        ({"LANG": "C"}, "v -."),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "v -."),  # what Python makes of it
        ({"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}, "✓ ⠸…"),
        ({"LC_CTYPE": "C.UTF-8"}, "✓ ⠸…"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, "v -."),
    ],
)
def test_ascii_where_the_locale_has_no_more(
    monkeypatch: pytest.MonkeyPatch, locale: dict[str, str], shown: str
) -> None:
    screen = on_terminal(monkeypatch)
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    terminal.write("✓ ⠸…")
    assert screen.text == shown


def test_ascii_where_the_stream_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    latin = Terminal("iso8859-15")
    monkeypatch.setattr(sys, "stderr", latin)
    terminal.write("✗ ·")
    assert latin.text == "x ."


def test_an_unknown_size_is_80_columns_of_24_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal.size() == (80, 24)
    monkeypatch.setattr(sys, "stderr", sys.__stdout__)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((0, 0)))
    assert terminal.size() == (80, 24)


def test_a_bundles_line_has_bytes_total_rate_and_time_left_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    now = [10.0]
    with Bar("checking", quiet=False, clock=lambda: now[0]) as show:
        show("egg: layer sha256:" + "ab" * 32, 0, 100_000_000)
        now[0] = 12.0
        show("", 40_000_000, 100_000_000)
    first, second, last = screen.text.split("\r\x1b[K")[1:]
    assert first == "checking   0 %  0 B of 100 MB  egg: layer abababababab"
    assert second.startswith("checking  40 %  40 MB of 100 MB  20 MB/s  3.0 s left")
    assert last == ""


def test_a_bundles_line_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    monkeypatch.setattr("generator.terminal.size", lambda: (20, 24))
    with Bar("checking", quiet=False) as show:
        show("egg", 1, 100_000_000)
    assert max(map(len, screen.text.split("\r\x1b[K"))) == 19


def test_a_bundles_line_is_not_for_pipes_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    with Bar("checking", quiet=True) as show:
        show("egg", 1, 2)
    assert screen.text == ""
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with Bar("checking", quiet=False) as show:
        show("egg", 1, 2)
    assert pipe.getvalue() == ""


def test_of_a_stream_of_unknown_length_the_line_has_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    now = [10.0]
    with Bar("reading", quiet=False, clock=lambda: now[0]) as show:
        now[0] = 12.0
        show("egg", 40_000_000, 0)
    assert screen.text.split("\r\x1b[K")[1] == "reading  40 MB  20 MB/s  egg"
