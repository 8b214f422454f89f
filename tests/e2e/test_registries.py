"""Bundles out of the sandbox's registry and into it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.index import BundleIndex
from generator.bundle.reader import inspect
from tests.e2e.conftest import Fategen, Ran, docker, succeeded
from tests.loopback import Handler, Loopback
from tests.sample_project import make_sample_project

AMD = "linux/amd64"
SPACE = f"registries-{os.getpid()}"
IMAGES = ("--image", "roll", "--image", "proxy")


@dataclass(frozen=True)
class Project:
    """A project of which two images are pushed for one platform, and the bundle that bake makes of them."""

    path: Path
    bundle: Path
    fategen: Fategen

    def save(self, output: Path, *flags: str) -> Ran:
        arguments = (*IMAGES, "--platform", AMD, "-o", str(output), *flags)
        return self.fategen("bundle", "save", *arguments, "-q", cwd=self.path)

    @property
    def index(self) -> BundleIndex:
        return inspect(self.bundle).index


@pytest.fixture(scope="module")
def project(registry: str, fategen: Fategen, tmp_path_factory: pytest.TempPathFactory) -> Project:
    directory = make_sample_project(tmp_path_factory.mktemp("registries") / "project", namespace=SPACE)
    found = Project(directory, directory / "bake.fate.tar", fategen)
    succeeded(fategen("render", cwd=directory))
    succeeded(fategen("bake", "roll", "proxy", "--push", "--overwrite", "--platform", AMD, cwd=directory))
    succeeded(found.save(found.bundle))
    return found


# save --from registry


def test_third_party_images_come_from_the_mirror_under_their_own_names_and_others_from_where_they_are(
    project: Project, registry: str, tmp_path: Path
) -> None:
    output, mirrored = tmp_path / "third.fate.tar", f"{registry}/library/redis:5"
    flags = ("--from", "registry", "--add", mirrored, "--platform", AMD, "-q", "-o", str(output))
    succeeded(project.fategen("bundle", "save", "third-party", *flags, cwd=project.path))
    images = {name: image.target.digest for image in inspect(output).index.images for name in image.references}
    redis = "docker.io/library/redis:5"
    assert set(images) == {"docker.io/library/mysql:8", redis, mirrored}
    # its own digest, and those of its platforms
    top = json.loads(docker("buildx", "imagetools", "inspect", mirrored, "--format", "{{json .Manifest}}"))
    published = {top["digest"], *(child["digest"] for child in top.get("manifests", ()))}
    assert {images[redis], images[mirrored]} <= published


# push


def test_every_image_is_pulled_by_the_digest_that_it_had(project: Project, registry: str) -> None:
    prefix = f"{registry}/{SPACE}/inside"
    command = ("bundle", "push", str(project.bundle), prefix)
    ran = succeeded(project.fategen(*command, "--format", "json", cwd=project.path))
    digests = {image.label: image.target.digest for image in project.index.images}
    for one in json.loads(ran.out)["images"]:
        [name] = one["references"]
        label = name.removeprefix(f"{prefix}/").partition(":")[0]
        assert one["digest"] == digests[label] and one["state"] == "pushed"
        docker("pull", "--quiet", f"{prefix}/{label}@{digests[label]}")
        docker("rmi", f"{prefix}/{label}@{digests[label]}")
    again = succeeded(project.fategen(*command, cwd=project.path))
    assert again.out.count("was there") == 2 and "pushed" not in again.out


@pytest.mark.parametrize("command", ["push", "save"])
def test_ctrl_c_does_not_wait_for_a_registry_that_says_nothing(project: Project, command: str) -> None:
    asked, ended = threading.Event(), threading.Event()

    def silent(handler: Handler) -> bool:
        if (handler.command, command) not in (("PUT", "push"), ("GET", "save")) or handler.path == "/v2/":
            return False
        asked.set()
        return ended.wait()

    with Loopback(lies=[silent]) as registry:
        prefix = f"{registry.host}/fate"
        arguments = {
            "push": ["push", str(project.bundle), prefix],
            "save": ["save", "--from", "registry", "--platform", AMD, "--set", f"PREFIX={prefix}", "-o", "x.tar"],
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "generator", "bundle", *arguments[command]],
            cwd=project.path, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("stopped\n")
        assert process.returncode == 130
        ended.set()
