"""The command line of ``fategen-load.pyz`` says what ``fategen bundle`` says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import generator.cli
from generator.loader.__main__ import main
from tests.bundle.conftest import Made
from tests.loopback import Loopback


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
        ("verify", "--format", "json"),
        ("inspect", "--file", "x"),
        ("push", "inside/fate"),
        ("push", "https://localhost/fate"),
        ("push", "localhost:1/fate", "--only", "none"),
        ("push", "localhost:1/fate", "--require-signature", "none"),
        ("push", "localhost:1/fate", "--base", "none"),
    ],
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


def test_other_ways_into_a_registry_are_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "fategen-load.pyz push FILE REGISTRY/PREFIX" in out
    assert "skopeo copy" in out


def test_where_docker_is_missing_no_command_of_fategen_is_advised(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["load", str(file)]) == 3
    assert "docker is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["table", "json"])
def test_both_push_and_say_the_same(
    form: str,
    file: Path,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    said = []
    for command in (main, _fategen):
        with Loopback() as registry:
            assert command(["push", str(file), f"{registry.host}/inside", "--format", form, "--only", "b"]) == 0
            out, err = capsys.readouterr()
            assert err == ""
            said.append(out.replace(registry.host, "HOST"))
            assert set(registry.manifests) == {"inside/b"}
    assert said[0] == said[1]
    assert made.plan.index.images[1].target.digest in said[0]
    if form == "json":
        assert json.loads(said[0])["root"] == made.plan.index.root


def _fategen(args: list[str]) -> object:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("sys.argv", ["fategen", "bundle", *args])
        generator.cli.main()
    return stop.value.code


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_full_disk_below_stdout_is_said_in_the_words_of_fategen(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for command in (main, _fategen):
        with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert command(["inspect", str(file)]) == 3
        said.append(capsys.readouterr().err)
    assert said[0].startswith("error: a file cannot be written: No space left on device\n  next: free ")
    assert said[0] == said[1]


def test_push_says_which_python_it_needs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "http.client", None)
    assert main(["push", str(file), "localhost:1/fate"]) == 3
    message = "push needs Python's standard library, and this Python has no http.client"
    assert capsys.readouterr().err == f"error: {message}\n  next: apt-get install python3\n"
