"""Bundles from somewhere else than bake: what the engine has, and OCI layouts, give the same file as bake's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from generator.bundle.sources import fill_layouts
from generator.docker.process import find_docker
from generator.images.layout import SourceImage
from tests.e2e.checkouts import NAMES, make_checkout
from tests.e2e.conftest import fategen, make_project, start, succeeded

CHOSEN = ("--image", "roll", "--image", "python", "-q")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose roll and python are in the engine, and their bundle by way of bake.

    An image of sources without a commit has the time of its steps, which a test beside this one may run again.
    """
    directory = tmp_path_factory.mktemp("origins")
    for name in NAMES:
        make_checkout(name, directory / "sources" / name)
    project = make_project(
        directory / "project",
        ("bake", "roll", "python", "--load", "--platform", "linux/amd64"),
        ("bundle", "save", *CHOSEN, "-o", "bake.fate.tar"),
        namespace=f"origins-{os.getpid()}",
        sample=directory / "sources",
    )
    shutil.move(project / ".fategen/layouts", project / "layouts")
    return project


@pytest.mark.parametrize("origin", ["engine", "layout:layouts"])
def test_it_is_the_same_file(built: Path, origin: str) -> None:
    succeeded(fategen("bundle", "save", *CHOSEN, "--from", origin, "-o", "other.fate.tar", cwd=built))
    assert (built / "other.fate.tar").read_bytes() == (built / "bake.fate.tar").read_bytes()


def test_the_stream_that_fails_ends_the_others(built: Path, tmp_path: Path) -> None:
    """roll and python share a distribution at most: each comes by a docker save of its own."""
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    references = fategen("images", "roll", "python", "--format", "references", cwd=built).out.split()
    images = [SourceImage((reference,), tmp_path, ("linux/amd64",)) for reference in references]
    read = []

    def once(_what: str, done: int, _total: int) -> None:
        read.append(done)
        if len(read) == 1:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fill_layouts(find_docker(), images, once)
    assert read[-1] < 20_000_000 < sum(path.stat().st_size for path in built.glob("layouts/shared/sha256/*"))
    assert not list((tmp_path / "blobs/sha256").glob(".*"))


def test_two_at_once_in_one_project_wait_for_each_other(built: Path) -> None:
    shutil.rmtree(built / ".fategen/layouts", ignore_errors=True)
    names = ("one.fate.tar", "two.fate.tar")
    save = ("bundle", "save", *CHOSEN, "-o")
    running = [start(*save, name, cwd=built, stderr=subprocess.PIPE) for name in names]
    said = [one.communicate(timeout=120)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    for name in names:
        assert (built / name).read_bytes() == (built / "bake.fate.tar").read_bytes()
