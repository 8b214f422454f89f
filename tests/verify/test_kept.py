"""What is kept of images is whole or is not there, and goes when nobody asks for it any more."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from generator.verify.kept import UNUSED, Kept, Parts
from generator.verify.layers import Entry

FILE = Entry("file", 0o644, 0, 0, 5, "")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_image_is_kept_with_all_of_its_layers_or_not(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for layer in ("sha256:a", "sha256:b"):
        kept.put_layer(layer, {"/etc/a": FILE})
    kept.put_image("sha256:1", "linux/amd64", Parts(b"{}", ("sha256:a", "sha256:b")))
    assert Kept(tmp_path).image("sha256:1", "linux/amd64") == Parts(b"{}", ("sha256:a", "sha256:b"))
    next(tmp_path.glob("layers*/b.json")).unlink()
    assert Kept(tmp_path).image("sha256:1", "linux/amd64") is None


def test_what_a_layer_holds_is_kept_whole(tmp_path: Path) -> None:
    program = FILE._replace(elf="64-bit LSB machine 62")
    Kept(tmp_path).put_layer("sha256:a", {"/bin/a": program})
    assert Kept(tmp_path).layer("sha256:a") == {"/bin/a": program}


def test_a_layer_that_an_earlier_version_kept_is_read_again(tmp_path: Path) -> None:
    """It knew nothing of programs: each would pass for none."""
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "a.json").write_text('{"/bin/a":["file",493,0,0,900,""]}', encoding="utf-8")
    assert Kept(tmp_path).layer("sha256:a") is None


def test_what_nobody_asked_for_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for blob in ("old", "read", "young"):
        kept.put_blob(f"sha256:{blob}", "sha256:d")
    age(tmp_path / "blobs" / "old.json", UNUSED + 60)
    age(tmp_path / "blobs" / "read.json", UNUSED + 60)
    age(tmp_path / "blobs" / "young.json", UNUSED - 60)
    kept.diff_id("sha256:read")
    kept.tidy()
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["read.json", "young.json"]


def test_a_file_that_another_run_has_taken_away_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kept(tmp_path).put_blob("sha256:old", "sha256:d")
    monkeypatch.setattr(Path, "glob", lambda self, _: [self / "blobs" / "gone.json", self / "blobs" / "old.json"])
    age(tmp_path / "blobs" / "old.json", UNUSED + 60)
    Kept(tmp_path).tidy()
    assert not (tmp_path / "blobs" / "old.json").exists()
