"""What ``fategen bundle save`` calls its file, what it says of one that was there, and what it refuses beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bundle.check import inspect
from generator.bundle.format.base import short_root
from generator.cli.bundle.save import _say_left_out
from generator.cli.bundle.save_arguments import default_name
from tests.bundle.command import run
from tests.bundle.test_save_layers import project, save
from tests.fate_plan import BOTH, plan_of

__all__ = ["project"]
AMD, ARM = BOTH
Told = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("images", "platforms", "name"),
    [
        (["components"], (), "T.fate.tar"),
        (["components"], (ARM,), "T-linux-arm64.fate.tar"),
        (["components"], (ARM, AMD), "T.fate.tar"),
        (["python"], (AMD,), "T.fate.tar"),
        (["roll"], ("linux/s390x", AMD), "T-linux-amd64-linux-s390x.fate.tar"),
    ],
)
def test_a_name_has_the_platforms_that_were_asked_for_unless_these_are_all(
    images: list[str], platforms: tuple[str, ...], name: str
) -> None:
    assert default_name("T", plan_of().select(images), platforms) == Path(name)


def test_bundles_that_hold_something_else_get_another_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save(monkeypatch) == 0
    assert save(monkeypatch, "--base", "fate-proxy-roll-1.3-linux-amd64.fate.tar") == 0
    assert {path.name for path in project.glob("*.fate.tar")} == {
        "fate-proxy-roll-1.3-linux-amd64.fate.tar",
        "fate-proxy-roll-1.3-delta-linux-amd64.fate.tar",
    }


def test_another_bundle_that_was_there_is_told_and_the_same_one_is_not(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    assert save(monkeypatch, "-o", "x.fate.tar") == 0
    assert save(monkeypatch, "-o", "x.fate.tar") == 0
    assert capsys.readouterr().err == ""
    old = short_root(inspect(project / "x.fate.tar").index.root)
    assert save(monkeypatch, "-o", "x.fate.tar", "--file", ".env") == 0
    assert capsys.readouterr().err == f"replaced x.fate.tar, which held another bundle (root digest {old})\n"
    (project / "x.fate.tar").write_text("a letter")
    assert save(monkeypatch, "-o", "x.fate.tar") == 0
    assert capsys.readouterr().err == "replaced x.fate.tar, which was no bundle\n"


def test_where_no_file_can_be_is_told_before_the_project_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for output, said in (("there", "there is a directory"), ("none/x.tar", "none is not a directory")):
        assert save(monkeypatch, "-o", output) == 2
        assert f"-o: {said}" in capsys.readouterr().err


def test_a_platform_that_is_left_out_is_told_with_the_flags_for_both(capsys: Told) -> None:
    _say_left_out(plan_of(), ["components"], AMD, asked=True)
    flags = "--platform linux/amd64 --platform linux/arm64"
    assert capsys.readouterr().err == f"for linux/amd64 alone, the engine's; for both: {flags}\n"


@pytest.mark.parametrize(("group", "bundle"), [("components", "fate"), ("base", "all")])
def test_a_group_in_place_of_a_bundles_name(
    group: str, bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    assert run(monkeypatch, "save", group) == 2
    assert f"next: the group {group} is in: fategen bundle save {bundle}\n" in capsys.readouterr().err
