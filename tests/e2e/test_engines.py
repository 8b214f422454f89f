"""Engines that people have: Docker's classic image store builds, loads and saves one platform, and says so of more.

``FATEGEN_SANDBOX_GRAPHDRIVER`` is a current Docker with that store, ``FATEGEN_SANDBOX_DOCKER20`` one that is too old to
build. What is saved through either is the same file, and loads everywhere. What builds there, on caches of its own,
runs with --full alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.sources import fill_layouts
from generator.docker.process import find_docker
from generator.images.layout import SourceImage
from generator.progress import quiet
from tests.e2e.conftest import Ran, docker, fategen, make_project, succeeded

SPACE = f"engines-{os.getpid()}"
IMAGES = ("base-image", "federation", "python")
CHOSEN = ("--image", "federation", "--image", "python")
AMD = "linux/amd64"


@dataclass(frozen=True)
class Classic:
    """The sample project, and ``fategen`` in it on the engine with the classic store."""

    project: Path
    engines: dict[str, str]

    def fategen(self, *args: str, engine: str = "graphdriver", host: str = "") -> Ran:
        return fategen(*args, cwd=self.project, env={"DOCKER_HOST": host or self.engines[engine]})

    def docker(self, engine: str, *args: str) -> str:
        return docker("-H", self.engines[engine], *args, check=False)

    def reference(self, image: str) -> str:
        prefix = (self.project / ".env").read_text(encoding="utf-8").splitlines()[0].removeprefix("PREFIX=")
        return f"{prefix}/{image}:1.3.0-release"


@pytest.fixture(scope="module")
def classic(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classic]:
    engines = {
        "containerd": os.environ["DOCKER_HOST"],
        "graphdriver": os.environ["FATEGEN_SANDBOX_GRAPHDRIVER"],
        "docker20": os.environ["FATEGEN_SANDBOX_DOCKER20"],
    }
    found = Classic(make_project(tmp_path_factory.mktemp("classic"), namespace=SPACE), engines)
    yield found
    for engine in found.engines:
        found.docker(engine, "image", "rm", "--force", *(found.reference(image) for image in IMAGES))


@pytest.fixture(scope="module")
def bundle(classic: Classic) -> Path:
    ran = succeeded(classic.fategen("bundle", "save", *CHOSEN, "-o", "classic.fate.tar"))
    assert "through the engine: its image store (graphdriver) cannot export OCI layouts" in ran.err
    return classic.project / "classic.fate.tar"


@pytest.mark.full
def test_the_engines_platform_is_loaded(classic: Classic) -> None:
    ran = succeeded(
        classic.fategen("bake", "federation", "base-image", "--load", "--platform", AMD, "--format", "json", "-q")
    )
    for one in json.loads(ran.out):
        assert one["state"] == "loaded" and one["sizes"][AMD] > 10_000_000
        said = classic.docker(
            "graphdriver", "image", "inspect", "--format", "{{.Id}} {{.Architecture}}", one["references"][0]
        )
        assert said == f"{one['digest']} amd64"


@pytest.mark.full
def test_saved_again_it_is_the_same_file(classic: Classic, bundle: Path) -> None:
    succeeded(classic.fategen("bundle", "save", *CHOSEN, "-o", "again.fate.tar", "-q"))
    assert (classic.project / "again.fate.tar").read_bytes() == bundle.read_bytes()
    succeeded(classic.fategen("bundle", "verify", str(bundle)))


@pytest.mark.full
@pytest.mark.parametrize("engine", ["containerd", "docker20"])
def test_it_loads_elsewhere_and_runs(engine: str, classic: Classic, bundle: Path) -> None:
    ran = succeeded(classic.fategen("bundle", "load", str(bundle), "--format", "json", engine=engine))
    assert {one["state"] for one in json.loads(ran.out)["images"]} == {"new"}
    listed = classic.docker(engine, "run", "--rm", "--network=none", classic.reference("python"), "ls")
    assert "fate_flow" in listed.split()


@pytest.mark.full
def test_docker_save_of_an_older_engine_gives_the_same_image(
    classic: Classic, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker 20.10 writes it in the form from before Docker 25; the layout is the same to the last byte."""
    succeeded(classic.fategen("bundle", "load", str(bundle), "--image", "python", engine="docker20"))
    monkeypatch.setenv("DOCKER_HOST", classic.engines["docker20"])
    (tmp_path / "shared/sha256").mkdir(parents=True)
    (tmp_path / "python").mkdir()
    (tmp_path / "python/blobs").symlink_to("../shared")
    image = SourceImage((classic.reference("python"),), tmp_path / "python", (AMD,))
    fill_layouts(find_docker(), [image], quiet)
    index = (tmp_path / "python/index.json").read_bytes()
    assert index == (classic.project / ".fategen/layouts/python/index.json").read_bytes()
    there = {path.name for path in (classic.project / ".fategen/layouts/shared/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "shared/sha256").iterdir()} <= there


def test_without_a_daemon_a_save_asks_for_the_platform(classic: Classic, tmp_path: Path) -> None:
    """A remote builder saves without one; what to build for is then not to be guessed."""
    ran = classic.fategen("bundle", "save", *CHOSEN, host=f"unix://{tmp_path}/none.sock")
    assert ran.code == 3
    assert "no Docker daemon answers" in ran.err and "--platform linux/amd64" in ran.err
