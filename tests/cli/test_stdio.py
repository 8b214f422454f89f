"""Results that cannot be shown or written end in one message, and in no word of Python's own."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from generator import stdio
from generator.errors import BundleError, InputError


def test_a_stray_byte_of_a_name_is_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    stdio.escape()
    print("caf\udce9.fate.tar é")
    assert capsys.readouterr().out == "caf\\udce9.fate.tar é\n"


def test_where_stray_bytes_are_printed_as_they_are_they_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the locale C: a program that reads the name of a file has the name."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="utf-8", errors="surrogateescape"))
    stdio.escape()
    print("caf\udce9", flush=True)
    assert shown.getvalue() == b"caf\xe9\n"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_what_a_full_disk_does_not_take_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        print("result")
        with pytest.raises(OSError, match="No space left"):
            stdio.flush()
        stdio.give_up()


@pytest.mark.parametrize("unwritable", ["closed", "full"])
def test_an_error_that_stderr_does_not_take_keeps_its_exit_code(
    unwritable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> None:
        raise BundleError("it is damaged")

    with Path("/dev/full").open("wb", buffering=0) as full:
        stream = None if unwritable == "closed" else io.TextIOWrapper(full, write_through=True)
        monkeypatch.setattr(sys, "stderr", stream)
        code = stdio.run(command)
        monkeypatch.undo()
    assert code == 4


def test_a_stdout_that_was_closed_from_the_start_takes_everything_but_binary_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    stdio.escape()
    stdio.flush()
    stdio.give_up()
    with pytest.raises(InputError, match="standard output: is closed"):
        stdio.stdout_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_like_ctrl_c(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    cleared = []

    def command() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleared.append(number)

    # the tests may run below nohup
    heeded = signal.signal(number, signal.SIG_DFL)
    try:
        assert (stdio.run(command), cleared) == (130, [number])
    finally:
        signal.signal(number, heeded)
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_signal_is_deferred_though_its_terminal_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(full, write_through=True))
        with stdio.signals_deferred("stopping") as came:
            os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.undo()
    assert came == [signal.SIGTERM]


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stdio.run(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
