"""The command line of ``fategen-load.pyz`` says what ``fategen bundle`` says."""

from __future__ import annotations

from pathlib import Path

import pytest

import generator.cli
from generator.loader.__main__ import main
from tests.bundle.conftest import Made


@pytest.fixture
def file(made: Made, tmp_path: Path) -> Path:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)
    return path


@pytest.mark.parametrize(
    "args", [("inspect",), ("inspect", "--format", "json"), ("verify", "--format", "json"), ("inspect", "--file", "x")]
)
def test_both_print_the_same(
    args: tuple[str, ...], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([args[0], str(file), *args[1:]])
    own = capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["fategen", "bundle", args[0], str(file), *args[1:]])
    with pytest.raises(SystemExit) as stop:
        generator.cli.main()
    assert (code, own) == (stop.value.code, capsys.readouterr())


def test_damage_is_told_and_the_exit_code_is_4(file: Path, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    layer = made.member("layer:b")
    file.write_bytes(made.flipped(layer.start))
    assert main(["verify", str(file)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {file} is damaged: layer {layer.digest} (b), bytes ")


def test_what_it_cannot_do_is_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "It does not push." in out
    assert "skopeo copy" in out


def test_where_docker_is_missing_no_command_of_fategen_is_advised(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["load", str(file)]) == 3
    assert "docker is not installed" in capsys.readouterr().err
