"""The command line of ``fategen-load.pyz`` prints what ``fategen bundle`` prints."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from generator.errors import EngineError
from generator.loader.__main__ import main
from tests.bundle.conftest import Made
from tests.bundle.test_load import Recorder
from tests.conftest import Run


@pytest.mark.parametrize(
    "args",
    [
        ("inspect",),
        ("inspect", "--format", "json"),
        ("inspect", "--file", "x"),
        ("verify", "--format", "json"),
        ("verify", "--require-signature", "none"),
        ("load", "--into", "dokcer"),
        ("load", "--require-signature", "none"),
    ],
)
def test_both_print_the_same(
    args: tuple[str, ...], made: Made, file: Path, fategen: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (made.data, made.flipped(made.member("layer:b").start)):
        file.write_bytes(data)
        code = main([args[0], str(file), *args[1:]])
        assert (code, *capsys.readouterr()) == fategen("bundle", args[0], file, *args[1:])


@pytest.mark.parametrize("command", ["verify", "load"])
def test_a_bundle_without_the_signature_that_is_asked_for_is_refused(
    command: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("generator.loader.commands.engine_from_name", lambda _: Recorder())
    key = file.with_name("key.pub")
    key.write_text("ssh-ed25519 AAAA sender\n", encoding="utf-8")
    assert main([command, str(file), "--require-signature", str(key)]) == 4
    assert "it is not signed" in capsys.readouterr().err


def test_no_next_step_is_a_command_of_fategen_which_this_host_lacks(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise EngineError("no", hint="fategen doctor")

    monkeypatch.setattr("generator.loader.commands.engine_from_name", fail)
    assert main(["load", str(file)]) == 3
    assert capsys.readouterr().err == "error: no\n  next: see docker info\n"


def test_standard_input_is_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "-", "-"]) == 2
    assert "-: standard input can be read only once\n  next: pass paths for the other files" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_full_disk_below_stdout_is_reported_like_any_other_error(
    file: Path, fategen: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    ours = partial(fategen, "bundle", "inspect", file)
    for command in (lambda: (main(["inspect", str(file)]), *capsys.readouterr()), ours):
        with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            printed.append(command())
    assert printed[0] == printed[1]
    code, _, said = printed[0]
    assert code == 3
    assert said.startswith("error: a file cannot be written: No space left on device\n  next: free ")
