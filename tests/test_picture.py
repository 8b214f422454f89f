"""The screen that scripts/picture draws."""

from __future__ import annotations

import pytest

from tests.picture import Screen


def shown(written: str) -> list[str]:
    screen = Screen()
    screen.feed(written)
    return ["".join(char for char, _ in line).rstrip() for line in screen.lines]


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("long\rs", ["song"]),
        ("long\r\x1b[Ks", ["s"]),
        ("one\r\ntwo\r\n\x1b[2Anew\r\n", ["new", "two", ""]),
        ("one\r\ntwo\r\n\x1b[2F\x1b[Jnew\r\n", ["new", ""]),
        ("\x1b[?25la\x1b[?25h", ["a"]),
    ],
)
def test_what_a_terminal_shows_in_the_end(written: str, lines: list[str]) -> None:
    assert shown(written) == lines


def test_colours_stay_with_their_characters() -> None:
    screen = Screen()
    screen.feed("\x1b[1;32mg\x1b[0mn")
    assert screen.lines == [[("g", "1;32"), ("n", "")]]


def test_what_it_does_not_know_is_an_error_and_not_a_wrong_picture() -> None:
    with pytest.raises(ValueError, match="does not know"):
        shown("\x1b[3S")
