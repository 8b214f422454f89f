"""Engines that people have: Docker's classic image store builds, loads and saves one platform, and says so of more.

``FATEGEN_SANDBOX_GRAPHDRIVER`` is a current Docker with that store, ``FATEGEN_SANDBOX_DOCKER20`` one that is too old to
build. What is saved through either is the same file, and loads everywhere. What builds there, on caches of its own,
runs with --full alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.sources import fill_layouts
from generator.docker.process import find_docker
from generator.images.layout import SourceImage
from generator.progress import quiet
from tests.e2e.conftest import docker, fategen, make_project, succeeded

SPACE = f"engines-{os.getpid()}"
IMAGES = ("base-image", "federation", "python")
CHOSEN = ("--image", "federation", "--image", "python")
AMD = "linux/amd64"
HOSTS = {
    "containerd": "DOCKER_HOST",
    "graphdriver": "FATEGEN_SANDBOX_GRAPHDRIVER",
    "docker20": "FATEGEN_SANDBOX_DOCKER20",
}


def host(engine: str) -> str:
    return os.environ[HOSTS[engine]]


def on(engine: str) -> dict[str, str]:
    return {"DOCKER_HOST": host(engine)}


def reference(image: str) -> str:
    return f"{os.environ['FATEGEN_SANDBOX_REGISTRY']}/{SPACE}/{image}:1.3.0-release"


@pytest.fixture(scope="module")
def project(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield make_project(tmp_path_factory.mktemp("classic"), namespace=SPACE)
    for engine in HOSTS:
        docker("-H", host(engine), "image", "rm", "--force", *map(reference, IMAGES), check=False)


@pytest.fixture(scope="module")
def bundle(project: Path) -> Path:
    ran = succeeded(fategen("bundle", "save", *CHOSEN, "-o", "classic.fate.tar", cwd=project, env=on("graphdriver")))
    assert "through the engine: its image store (graphdriver) cannot export OCI layouts" in ran.err
    return project / "classic.fate.tar"


@pytest.mark.full
def test_the_engines_platform_is_loaded(project: Path) -> None:
    bake = ("bake", "federation", "base-image", "--load", "--platform", AMD, "--format", "json", "-q")
    for one in json.loads(succeeded(fategen(*bake, cwd=project, env=on("graphdriver"))).out):
        assert one["state"] == "loaded" and one["sizes"][AMD] > 10_000_000
        inspect = ("image", "inspect", "--format", "{{.Id}} {{.Architecture}}", one["references"][0])
        assert docker("-H", host("graphdriver"), *inspect) == f"{one['digest']} amd64"


@pytest.mark.full
def test_saved_again_it_is_the_same_file(project: Path, bundle: Path) -> None:
    succeeded(fategen("bundle", "save", *CHOSEN, "-o", "again.fate.tar", "-q", cwd=project, env=on("graphdriver")))
    assert (project / "again.fate.tar").read_bytes() == bundle.read_bytes()
    succeeded(fategen("bundle", "verify", str(bundle), cwd=project))


@pytest.mark.full
@pytest.mark.parametrize("engine", ["containerd", "docker20"])
def test_it_loads_elsewhere_and_runs(engine: str, project: Path, bundle: Path) -> None:
    ran = succeeded(fategen("bundle", "load", str(bundle), "--format", "json", cwd=project, env=on(engine)))
    assert {one["state"] for one in json.loads(ran.out)["images"]} == {"new"}
    listed = docker("-H", host(engine), "run", "--rm", "--network=none", reference("python"), "ls")
    assert "fate_flow" in listed.split()


@pytest.mark.full
def test_docker_save_of_an_older_engine_gives_the_same_image(
    project: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker 20.10 writes it in the form from before Docker 25; the layout is the same to the last byte."""
    monkeypatch.setenv("DOCKER_HOST", host("docker20"))
    succeeded(fategen("bundle", "load", str(bundle), "--image", "python", cwd=project))
    (tmp_path / "shared/sha256").mkdir(parents=True)
    (tmp_path / "python").mkdir()
    (tmp_path / "python/blobs").symlink_to("../shared")
    fill_layouts(find_docker(), [SourceImage((reference("python"),), tmp_path / "python", (AMD,))], quiet)
    index = (tmp_path / "python/index.json").read_bytes()
    assert index == (project / ".fategen/layouts/python/index.json").read_bytes()
    there = {path.name for path in (project / ".fategen/layouts/shared/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "shared/sha256").iterdir()} <= there


def test_without_a_daemon_a_save_asks_for_the_platform(project: Path, tmp_path: Path) -> None:
    """A remote builder saves without one; what to build for is then not to be guessed."""
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    ran = fategen("bundle", "save", *CHOSEN, cwd=project, env=nobody)
    assert ran.code == 3
    assert "no Docker daemon answers" in ran.err and "--platform linux/amd64" in ran.err
