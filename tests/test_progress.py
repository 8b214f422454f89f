"""The line of progress on stderr, and what stderr's terminal can show."""

from __future__ import annotations

import io
import os
import sys

import pytest

from generator.progress import Bar, displayable, say


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


def on_terminal(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8", term: str = "xterm") -> Terminal:
    """A terminal as stderr. (Not a fixture: pytest sets stderr anew after fixtures.)"""
    terminal = Terminal(encoding)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", term)
    return terminal


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "✓ ⠸…"), ("iso8859-15", "v -.")])
def test_ascii_where_the_stream_has_no_unicode(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    on_terminal(monkeypatch, encoding)
    assert displayable("✓ ⠸…") == shown


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        ([(10, "egg: layer sha256:" + "ab" * 32, 0, 100_000_000), (12, "egg", 40_000_000, 100_000_000)],
         ["checking   0 %  0 B of 100 MB  egg: layer abababababab",
          "checking  40 %  40 MB of 100 MB  20 MB/s  3.0 s left  egg"]),
        ([(12, "", 40_000_000, 100_000_000)], ["checking  40 %  40 MB of 100 MB  20 MB/s  3.0 s left  "]),
        ([(12, "egg", 40_000_000, 0)], ["checking  40 MB  20 MB/s  egg"]),
        ([(10, "egg", 1, 0), (10.05, "egg", 2, 0), (10.2, "egg", 3, 0)], ["checking  1 B  egg", "checking  3 B  egg"]),
    ],
    ids=["bytes, total, rate and time left", "the end", "a length that is unknown", "ten times a second at most"],
)  # fmt: skip
def test_the_line_tells_what_is_done_and_is_wiped(
    monkeypatch: pytest.MonkeyPatch, shown: list[tuple[float, str, int, int]], lines: list[str]
) -> None:
    screen = on_terminal(monkeypatch)
    now = [10.0]
    with Bar("checking", quiet=False, clock=lambda: now[0]) as show:
        for now[0], what, done, total in shown:
            show(what, done, total)
    assert screen.text.split("\r\x1b[K") == ["", *lines, ""]


def test_the_line_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((20, 24)))
    with Bar("checking", quiet=False) as show:
        show("egg", 1, 100_000_000)
    assert max(map(len, screen.text.split("\r\x1b[K"))) == 19


def test_a_message_is_folded_between_words_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = "error: egg (linux/amd64) failed\n  | storage.cc:1: no such file\n  next: fix it"
    say(message)
    assert capsys.readouterr().err == f"{message}\n"
    screen = on_terminal(monkeypatch)
    monkeypatch.setattr(screen, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((26, 24)))
    say(message)
    assert screen.text.splitlines() == [
        "error: egg (linux/amd64)", "  failed",
        "  | storage.cc:1: no such", "    file",
        "  next: fix it",
    ]  # fmt: skip


@pytest.mark.parametrize(("quiet", "term"), [(True, "xterm"), (False, "dumb")])
def test_the_line_is_only_for_terminals_and_not_with_quiet(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, term: str
) -> None:
    screen = on_terminal(monkeypatch, term=term)
    with Bar("checking", quiet=quiet) as show:
        show("egg", 1, 2)
    assert screen.text == ""
