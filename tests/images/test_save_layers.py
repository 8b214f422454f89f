"""``fategen bundle save --layers``, from layouts that are there, with what else may be asked for."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import pytest

from generator.bundle.check import inspect, verify
from generator.bundle.format.deep import MAX_RATIO
from tests.bundle.command import fategen, run
from tests.bundle.layouts import ZSTD, Layout

ASKED = ("--from", "layout:built", "--platform", "linux/amd64", "--image", "proxy", "--image", "roll", "--quiet")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".env").write_text("PREFIX=fgtest\nBASE_TAG=1.3\nTAG=1.3\n")
    for name in ("proxy", "roll"):
        layout = Layout(tmp_path / "built" / name)
        layers = [layout.layer({"base": b"base" * 500}), layout.layer({name: random.Random(name).randbytes(700_000)})]
        layout.finish((layout.manifest(layers), f"docker.io/fgtest/{name}:1.3"))
    monkeypatch.chdir(tmp_path)
    assert fategen(monkeypatch, "render") == 0
    return tmp_path


def save(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    return run(monkeypatch, "save", *ASKED, *args)


def types(file: Path) -> set[str]:
    return {layer.blob.media_type for i in inspect(file).index.images for v in i.variants for layer in v.layers}


def test_a_bundle_in_zstd_and_a_word_on_who_loads_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert save(monkeypatch, "--layers", "zstd", "-o", "x.fate.tar") == 0
    assert "layers in zstd: Docker loads them from version 23 on" in capsys.readouterr().out
    assert types(project / "x.fate.tar") == {ZSTD}
    assert len(verify(project / "x.fate.tar", max_ratio=MAX_RATIO).index.images) == 2


def test_the_same_bytes_into_a_pipe_and_in_parts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save(monkeypatch, "--layers", "raw", "-o", "x.fate.tar") == 0
    whole = (project / "x.fate.tar").read_bytes()
    out = io.TextIOWrapper(io.BytesIO())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert save(patch, "--layers", "raw", "-o", "-") == 0
    assert out.buffer.getvalue() == whole  # type: ignore[attr-defined]
    assert save(monkeypatch, "--layers", "raw", "-o", "y.fate.tar", "--split", "1MiB") == 0
    assert b"".join(path.read_bytes() for path in sorted(project.glob("y.fate.tar.[0-9]*"))) == whole


def test_a_delta_leans_on_a_base_in_the_same_form_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save(monkeypatch, "-o", "gzip.fate.tar") == 0
    assert save(monkeypatch, "--layers", "zstd", "-o", "zstd.fate.tar") == 0
    for base, left_out in (("gzip", 0), ("zstd", 3)):
        assert save(monkeypatch, "--layers", "zstd", "--base", f"{base}.fate.tar", "-o", "new.fate.tar") == 0
        assert len(inspect(project / "new.fate.tar").index.absent) == left_out


def test_a_python_without_zstd_is_told_before_any_work(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".env").unlink()
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    assert save(monkeypatch, "--layers", "zstd", "-o", "x.fate.tar") == 2
    assert "--layers zstd: this Python has no zstd" in capsys.readouterr().err


def test_a_delta_of_a_base_in_another_form_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert save(monkeypatch, "--layers", "zstd", "-o", "zstd.fate.tar") == 0
    assert save(monkeypatch, "--base", "zstd.fate.tar", "-o", "new.fate.tar") == 0
    assert "no base has any of its layers (their layers are zstd: see --layers)" in capsys.readouterr().out


def test_an_output_that_is_called_compressed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, end in (("x.fate.tar.gz", ".gz"), ("x.tar.zst", ".zst"), ("x.tgz", ".tgz")):
        assert save(monkeypatch, "-o", name) == 2
        assert f"-o: {name} would not be {end}: a bundle is a plain tar" in (said := capsys.readouterr().err)
        assert "next: -o x.fate.tar" in said


@pytest.mark.parametrize(("flag", "value"), [("--split", "10XB"), ("--base", "nowhere.fate.tar")])
def test_what_cannot_be_is_told_before_the_project_is_read(
    flag: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(monkeypatch, flag, value) == 2
    assert value in capsys.readouterr().err
