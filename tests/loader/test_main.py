"""The command line of ``fategen-load.pyz`` prints what ``fategen bundle`` prints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from generator.loader.__main__ import main
from tests.bundle.command import run
from tests.bundle.conftest import Made


@pytest.fixture
def file(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)
    return path


@pytest.mark.parametrize(
    "args",
    [
        ("inspect",),
        ("inspect", "--format", "json"),
        ("inspect", "--file", "x"),
        ("verify", "--format", "json"),
        ("verify", "--require-signature", "none"),
        ("load", "--into", "dokcer"),
    ],
)
@pytest.mark.parametrize("damaged", [False, True])
def test_both_print_the_same(
    args: tuple[str, ...],
    damaged: bool,
    made: Made,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if damaged:
        file.write_bytes(made.flipped(made.member("layer:b").start))
    code = main([args[0], str(file), *args[1:]])
    printed = capsys.readouterr()
    assert run(monkeypatch, args[0], file, *args[1:]) == code
    assert capsys.readouterr() == printed


def test_where_docker_is_missing_no_command_of_fategen_is_advised(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["load", str(file)]) == 3
    assert "docker is not installed" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_full_disk_below_stdout_is_reported_like_any_other_error(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for command in (lambda: main(["inspect", str(file)]), lambda: run(monkeypatch, "inspect", file)):
        with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert command() == 3
        printed.append(capsys.readouterr().err)
    assert printed[0].startswith("error: a file cannot be written: No space left on device\n  next: free ")
    assert printed[0] == printed[1]
