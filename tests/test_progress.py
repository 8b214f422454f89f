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


def test_the_line_has_bytes_total_rate_and_time_left_and_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_of_a_stream_of_unknown_length_the_line_has_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    now = [10.0]
    with Bar("reading", quiet=False, clock=lambda: now[0]) as show:
        now[0] = 12.0
        show("egg", 40_000_000, 0)
    assert screen.text.split("\r\x1b[K")[1] == "reading  40 MB  20 MB/s  egg"


def test_the_line_is_written_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    now = [10.0]
    with Bar("reading", quiet=False, clock=lambda: now[0]) as show:
        for done, now[0] in ((1, 10.0), (2, 10.05), (3, 10.2)):
            show("egg", done, 0)
    assert [line[9:12] for line in screen.text.split("\r\x1b[K")[1:-1]] == ["1 B", "3 B"]


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
