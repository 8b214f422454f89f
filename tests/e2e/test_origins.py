"""Bundles from somewhere else than bake: what the engine has, and OCI layouts, give the same file as bake's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generator.bundle.from_engine import fill_layouts
from generator.bundle.reader import inspect
from generator.docker.process import find_docker
from generator.images.layout import SourceImage
from tests.e2e.conftest import Fategen, Ran, docker, make_project, succeeded

Save = Callable[..., Ran]
CHOSEN = ("--image", "roll", "--image", "python", "-q")


@pytest.fixture(scope="module")
def built(fategen: Fategen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose roll and python are in the engine, and their bundle by way of bake."""
    project = make_project(
        fategen,
        tmp_path_factory.mktemp("origins"),
        ("bake", "roll", "python", "--load", "--platform", "linux/amd64"),
        ("bundle", "save", *CHOSEN, "-o", "bake.fate.tar"),
        namespace=f"origins-{os.getpid()}",
    )
    shutil.move(project / ".fategen/layouts", project / "layouts")
    yield project
    docker("image", "rm", "--force", *fategen("images", "--format", "references", cwd=project).out.split(), check=False)


@pytest.fixture
def save(built: Path, fategen: Fategen) -> Save:
    """Saves the two images ``--from`` somewhere, into a file of that name."""

    def run(origin: str, *args: str, output: str = "other.fate.tar") -> Ran:
        return fategen("bundle", "save", *(args or CHOSEN), "--from", origin, "-o", output, cwd=built)

    return run


@pytest.mark.parametrize("origin", ["engine", "layout:layouts"])
def test_it_is_the_same_file(built: Path, save: Save, origin: str) -> None:
    succeeded(save(origin))
    assert (built / "other.fate.tar").read_bytes() == (built / "bake.fate.tar").read_bytes()


def test_the_stream_that_fails_ends_the_others(built: Path, fategen: Fategen, tmp_path: Path) -> None:
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
    args = [sys.executable, "-m", "generator", "bundle", "save", *CHOSEN]
    names = ("one.fate.tar", "two.fate.tar")
    running = [subprocess.Popen([*args, "-o", n], cwd=built, stderr=subprocess.PIPE, text=True) for n in names]
    said = [one.communicate(timeout=120)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    for name in names:
        assert (built / name).read_bytes() == (built / "bake.fate.tar").read_bytes()


def test_every_image_that_the_engine_lacks_is_named_before_anything_is_written(built: Path, save: Save) -> None:
    ran = save("engine", "fate", output="none.fate.tar")
    assert ran.code == 2
    assert "/egg:1.3.0-release: the engine has no image of this name" in ran.err
    assert "fateboard" in ran.err and "  next: " in ran.err
    assert not list(built.glob("*none.fate.tar*"))


def test_the_third_party_bundle_of_a_project(registry: str, fategen: Fategen, tmp_path: Path) -> None:
    """From .env to a file, twice: the same file; then what it holds, from a pipe."""
    project = make_project(fategen, tmp_path / "project", namespace="own")
    succeeded(fategen("bundle", "save", "third-party", "-q", cwd=project))
    path = project / "third-party-1.3.0-release.fate.tar"
    second = succeeded(
        fategen("bundle", "save", "third-party", "-o", "again.fate.tar", "--format", "json", cwd=project)
    )
    assert path.read_bytes() == (project / "again.fate.tar").read_bytes()
    assert json.loads(second.out)["sha256"] in path.with_name(path.name + ".sha256").read_text()
    succeeded(fategen("bundle", "verify", path.name, cwd=project))
    found = json.loads(fategen("bundle", "inspect", path.name, "--format", "json", cwd=project).out)
    assert [image["name"] for image in found["images"]] == ["mysql", "redis"]
    succeeded(fategen("bundle", "save", "third-party", "--image", "redis", "-o", "r.fate.tar", cwd=project))
    assert inspect(project / "r.fate.tar").index.images[0].label == "redis"
    wrong = fategen("bundle", "save", "third-party", "--image", "rediss", cwd=project)
    assert (wrong.code, "did you mean redis?" in wrong.err) == (2, True)
    lacking = fategen("bundle", "save", "--platform", "linux/s390x", cwd=project)
    assert lacking.code == 2


def test_a_project_for_another_platform_than_the_engines_is_saved_for_its_own(
    registry: str, fategen: Fategen, tmp_path: Path
) -> None:
    project = make_project(fategen, tmp_path / "project", namespace="own", env="PLATFORMS=linux/arm64\n")
    ran = succeeded(fategen("bundle", "save", "--image", "roll", cwd=project))
    assert "for linux/arm64, the only platform in PLATFORMS; the engine's is linux/amd64" in ran.err
    [image] = inspect(project / "fate-roll-1.3.0-release.fate.tar").index.images
    assert [platform_image.platform for platform_image in image.platform_images] == ["linux/arm64"]
