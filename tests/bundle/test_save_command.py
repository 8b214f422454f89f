"""``fategen bundle save`` from layouts that are there: what it calls its file, what it reports, what it refuses."""

from __future__ import annotations

import io
import os
import random
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from generator.bundle.index import short_root
from generator.bundle.reader import inspect
from generator.bundle.sources import (
    check_bundle_names,
    default_file,
    default_platform,
    in_order,
    selected,
)
from generator.docker.engine import Engine
from generator.errors import InputError
from tests.bundle.layouts import BASE, GZIP, ZSTD, image
from tests.conftest import Run
from tests.fate_plan import BOTH, plan_of
from tests.test_progress import on_terminal

AMD, ARM = BOTH
ASKED = ("--from", "layout:built", "--platform", AMD, "--image", "proxy", "--image", "roll", "--quiet")


@pytest.fixture
def save(fategen: Run) -> Run:
    return partial(fategen, "bundle", "save", *ASKED)


@pytest.fixture
def project(tmp_path: Path, fategen: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".env").write_text("PREFIX=fgtest\nBASE_TAG=1.3\nTAG=1.3\n")
    for name in ("proxy", "roll"):
        write_image(tmp_path / "built", name)
    monkeypatch.chdir(tmp_path)
    assert fategen("render")[0] == 0
    return tmp_path


def write_image(path: Path, name: str, media_type: str = GZIP) -> None:
    image(path, name, BASE, {name: random.Random(name).randbytes(700_000)}, tags=("1.3",), media_type=media_type)


def test_a_pipe_gets_the_bytes_that_a_file_gets(project: Path, save: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save("-o", "x.fate.tar")[0] == 0
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    code, _, said = save("-o", "-")
    assert (code, "root digest" in said) == (0, True)
    code, _, said = save("-o", "-", "--with-loader")
    assert (code, "--with-loader: writes files next to the bundle" in said) == (2, True)
    assert out.getvalue() == (project / "x.fate.tar").read_bytes()


@pytest.mark.usefixtures("project")
def test_on_a_terminal_a_line_says_how_far_it_is_and_goes(fategen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_terminal(monkeypatch)
    assert fategen("bundle", "save", *ASKED[:-1], "-o", "x.fate.tar")[0] == 0
    assert re.search(r"\x1b\[Ksaving +\d+ %  [\d.]+ k?M?B of 1\.4 MB", screen.text), screen.text
    assert screen.text.rpartition("\x1b[K")[2] == ""


def test_zstd_layers_are_reported_and_a_base_whose_layers_are_compressed_another_way(project: Path, save: Run) -> None:
    assert save("-o", "gzip.fate.tar")[0] == 0
    for name in ("proxy", "roll"):
        write_image(project / "built", name, ZSTD)
    said = save("--base", "gzip.fate.tar", "-o", "new.fate.tar")[1]
    assert "the bases share no layer with these images (their layers are gzip)" in said
    assert "layers are compressed with zstd: Docker 23 and later" in said


def test_a_delta_does_not_overwrite_its_base(project: Path, save: Run) -> None:
    assert save("-o", "x.fate.tar")[0] == 0
    before = (project / "x.fate.tar").read_bytes()
    (project / "link.fate.tar").symlink_to("x.fate.tar")
    for base in ("./x.fate.tar", "link.fate.tar"):
        code, _, printed = save("--base", base, "-o", "x.fate.tar")
        assert code == 2
        assert "is the base bundle, and would be overwritten by its delta" in printed
        assert "next: write to another file with -o" in printed
    assert (project / "x.fate.tar").read_bytes() == before


@pytest.mark.usefixtures("project")
def test_every_image_that_no_layout_has_is_named(fategen: Run) -> None:
    code, _, said = fategen("bundle", "save", "--from", "layout:built", "--platform", AMD)
    assert code == 2
    assert "egg: built/egg is not an OCI layout, and built has no fgtest/egg:1.3" in said
    assert "fateboard: " in said and "  next: skopeo copy" in said


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("-o", "x.fate.tar.gz", "-o: x.fate.tar.gz would not be .gz: a bundle is a plain tar"),
        ("-o", "x.tar.zst", "-o: x.tar.zst would not be .zst: a bundle is a plain tar"),
        ("-o", "x.tgz", "-o: x.tgz would not be .tgz: a bundle is a plain tar"),
        ("-o", "there", "-o: there is a directory"),
        ("-o", "none/x.tar", "-o: none is not a directory"),
        ("-o", "a\nb.tar", "-o: a?b.tar: expected a file name of printable characters"),
        ("-o", "b\udcff.tar", "expected a file name of printable characters"),
        ("-o", "x" * 235 + ".tar", "at most 238 bytes in UTF-8"),
        ("-o", "null", "-o: null is a pipe or a device, not a file"),
        ("--base", "nowhere.fate.tar", "nowhere.fate.tar"),
    ],
)
def test_a_wrong_file_is_told_before_the_project_is_read(
    option: str, value: str, message: str, tmp_path: Path, save: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "null").symlink_to(os.devnull)
    monkeypatch.chdir(tmp_path)
    code, _, printed = save(option, value)
    assert code == 2 and message in printed
    assert ("next: -o x." in printed) == ("plain tar" in message)


def test_a_pipe_or_a_device_is_not_replaced_also_under_the_default_name(project: Path, save: Run) -> None:
    os.mkfifo("fate-proxy-roll-1.3-linux-amd64.fate.tar")
    os.mkfifo("pipe")
    Path("link").symlink_to(os.devnull)
    default = ("fate-proxy-roll-1.3-linux-amd64.fate.tar", ())
    for output, args in (default, ("pipe", ("-o", "pipe")), ("link", ("-o", "link"))):
        code, _, printed = save(*args)
        assert code == 2 and f"-o: {output} is a pipe or a device, not a file" in printed
        assert "next: -o - writes to standard output, into any pipe" in printed
    assert (
        Path("link").is_symlink()
        and Path("pipe").is_fifo()
        and [path.is_fifo() for path in project.glob("*.fate.tar")] == [True]
    )


@pytest.mark.parametrize(
    ("platforms", "name", "saved"),
    [
        ((), "T.fate.tar", ()),
        ((ARM,), "T-linux-arm64.fate.tar", (ARM,)),
        ((ARM, AMD, ARM), "T-linux-amd64-linux-arm64.fate.tar", BOTH),
        ((ARM, "linux/s390x"), "T-linux-arm64-linux-s390x.fate.tar", (ARM, "linux/s390x")),
    ],
)
def test_the_platforms_that_were_asked_for_make_one_bundle_in_whatever_order(
    platforms: tuple[str, ...], name: str, saved: tuple[str, ...]
) -> None:
    assert default_file("T", "fate", platforms) == Path(name)
    assert in_order(platforms, plan_of()) == saved


def test_bundles_that_hold_something_else_get_another_name(project: Path, save: Run) -> None:
    assert save()[0] == save("--base", "fate-proxy-roll-1.3-linux-amd64.fate.tar")[0] == 0
    assert {path.name for path in project.glob("*.fate.tar")} == {
        "fate-proxy-roll-1.3-linux-amd64.fate.tar",
        "fate-proxy-roll-1.3-delta-linux-amd64.fate.tar",
    }


def test_another_file_or_signature_that_was_there_is_told_and_the_same_file_is_not(project: Path, save: Run) -> None:
    assert [save("-o", "x.fate.tar")[2] for _ in range(2)] == ["", ""]
    old = short_root(inspect(project / "x.fate.tar").index.root)
    said = save("-o", "x.fate.tar", "--file", ".env")[2]
    assert said == f"replaced x.fate.tar, which was another bundle (root digest {old})\n"
    (project / "x.fate.tar").write_text("a letter")
    assert save("-o", "x.fate.tar")[2] == "replaced x.fate.tar, which was no bundle\n"
    (project / "x.fate.tar.sig").touch()
    assert save("-o", "x.fate.tar")[2].startswith("removed x.fate.tar.sig, which signed the previous file")
    assert not (project / "x.fate.tar.sig").exists()
    # also that of a file that is gone
    (project / "y.fate.tar.sig").touch()
    assert save("-o", "y.fate.tar")[2].startswith("removed y.fate.tar.sig, which signed the previous file")
    assert not (project / "y.fate.tar.sig").exists()


def engine(platform: str, store: Literal["containerd", "graphdriver"] = "containerd") -> Engine:
    return Engine("28.0.0", "28.0.0", store, platform)


def test_the_default_platform_is_the_engines_and_a_note_has_the_flags_for_both() -> None:
    both = f"for {AMD} only, the engine's platform; for both: --platform {AMD} --platform {ARM}"
    names = ["components"]
    assert default_platform(engine(AMD), plan_of(), names, "bake") == (AMD, both)
    assert default_platform(engine(AMD), plan_of(), names, "engine") == (AMD, "")
    assert default_platform(engine(AMD, "graphdriver"), plan_of(), names, "bake") == (AMD, "")
    assert default_platform(engine(AMD), plan_of(platforms=(AMD,)), names, "bake") == (AMD, "")


def test_of_another_engine_the_default_is_the_projects_only_platform_or_has_to_be_chosen() -> None:
    only = f"for {ARM}, the only platform in PLATFORMS; the engine's is {AMD}"
    assert default_platform(engine(AMD), plan_of(platforms=(ARM,)), ["components"], "bake") == (ARM, only)
    with pytest.raises(InputError, match=r"PLATFORMS \(linux/amd64 linux/arm64\) lacks the engine's own") as caught:
        default_platform(engine("linux/s390x"), plan_of(), ["components"], "bake")
    assert caught.value.hint == "choose what to save: --platform linux/amd64, or --platform linux/arm64"


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("base", "fategen bundle save all"),
        ("components third-party", "fategen bundle save all"),
        ("python", "fategen bundle save --image python"),
        ("mysql", "fategen bundle save third-party --image mysql"),
        ("base-image", "fategen bundle save all --image base-image"),
        ("rediss", "fategen bundle save third-party --image redis"),
        ("packages", "for one image: fategen bundle save --image NAME; fategen images lists them"),
        ("fat", "for one image: fategen bundle save --image NAME; fategen images lists them"),
        ("roll proxy", "fategen bundle save --image roll --image proxy"),
        ("mysql redis", "fategen bundle save third-party --image mysql --image redis"),
        ("roll redis", "fategen bundle save all --image roll --image redis"),
        ("web", "fategen bundle save --image proxy --image roll"),
    ],
)
def test_what_no_bundle_is_called_is_told_with_the_command_that_saves_it(words: str, step: str) -> None:
    plan = replace(plan_of(), members={**plan_of().members, "web": {"roll", "proxy"}})
    with pytest.raises(InputError) as caught:
        check_bundle_names(words.split(), lambda: plan)
    meant = {"rediss": "; did you mean redis?", "web": "; web is a group of images"}.get(words, "")
    wrong = (
        "expected one bundle name, got 2; there are" if " " in words else f"no bundle has this name{meant}; there are"
    )
    assert str(caught.value) == f"{words}: {wrong} components, third-party, all"
    assert caught.value.hint == step


def test_the_name_of_the_family_means_its_components() -> None:
    assert check_bundle_names(["fate"], plan_of) == check_bundle_names(["components"], plan_of) == "components"


def test_a_wrong_bundle_name_outside_of_a_project_is_told_all_the_same(
    tmp_path: Path, fategen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = fategen("bundle", "save", "mysql")
    assert (code, "mysql: no bundle has this name; there are components, third-party, all" in said) == (2, True)


def test_images_that_the_platforms_leave_out_of_a_bundle_are_told(project: Path, fategen: Run) -> None:
    with (project / ".env").open("a", encoding="utf-8") as file:
        file.write(f"PLATFORMS={ARM}\n")
    assert fategen("render")[0] == 0
    save = partial(fategen, "bundle", "save", "all", "--from", "layout:built", "--platform", ARM)
    assert save()[2].startswith("no linux/arm64 for base-image, egg, python: tensorflow ")
    assert "linux/arm64 for" not in save("--image", "roll")[2], "whoever names images knows which"
    code, _, said = save("--image", "egg")
    assert (code, "error: egg: not built for linux/arm64 (" in said) == (2, True)


def test_a_bundle_none_of_whose_images_the_platforms_have_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError) as caught:
        selected(plan_of(version="1.11.4", platforms=(ARM,)), "third-party", ())
    assert str(caught.value).startswith("third-party: this bundle would be empty: no linux/arm64 for mysql: Docker Hub")
