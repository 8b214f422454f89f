"""Bundles out of the sandbox's registry and into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
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


@pytest.mark.full
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(project: Project, tmp_path: Path) -> None:
    """kill -9 at random moments of the fetch: what came is kept, and nothing that came is wrong."""

    def slow(handler: Handler) -> bool:
        found = re.fullmatch(r"/v2/(.+)/blobs/(.+)", handler.path)
        if handler.command != "GET" or found is None:
            return False
        data = handler.loopback.blobs[found[1]][found[2]]
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        part = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        handler.send_response(206 if start else 200)
        for name, value in {"Content-Length": str(len(data) - start), **part}.items():
            handler.send_header(name, value)
        handler.end_headers()
        for position in range(start, len(data), 1 << 20):
            time.sleep(0.1)
            handler.wfile.write(data[position : position + (1 << 20)])
        return True

    succeeded(project.save(tmp_path / "filled.fate.tar", "--from", "registry"))
    with Loopback() as registry:
        for name in ("roll", "proxy"):
            registry.put_layout(f"{SPACE}/{name}", "1.3.0-release", project.path / ".fategen/layouts" / name)
        flags = ("--from", "registry", "--set", f"PREFIX={registry.host}/{SPACE}")
        succeeded(project.save(tmp_path / "whole.fate.tar", *flags))
        other = make_sample_project(tmp_path / "other", namespace=SPACE)
        succeeded(project.fategen("render", cwd=other))
        registry.lies.append(slow)
        command = [sys.executable, "-m", "generator", "bundle", "save", *IMAGES, "--platform", AMD, *flags]
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        killed, grew = 0, 0
        for _ in range(20):
            process = subprocess.Popen([*command, "-q", "-o", "x.fate.tar"], cwd=other, stderr=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL)  # fmt: skip
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.4 + chance.random())
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            grew += any((other / ".fategen/layouts/shared/sha256").glob("*.partial"))
            if (other / "x.fate.tar").exists():
                # it came to its end in time, or was killed behind it: all from the beginning
                assert digest_of(other / "x.fate.tar") == digest_of(tmp_path / "whole.fate.tar"), f"seed {seed}"
                (other / "x.fate.tar").unlink()
                shutil.rmtree(other / ".fategen/layouts")
        assert killed > 10 and grew > 5, f"{killed} of 20 runs were killed, {grew} while they fetched (seed {seed})"
        registry.lies.clear()
        registry.asked.clear()
        succeeded(project.fategen(*command[3:], "-q", "-o", "x.fate.tar", cwd=other))
    assert digest_of(other / "x.fate.tar") == digest_of(tmp_path / "whole.fate.tar"), f"seed {seed}"
    assert not list((other / ".fategen/layouts/shared/sha256").glob("*.partial"))


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
def test_ctrl_c_does_not_wait_for_a_registry_that_says_nothing(project: Project, command: str, tmp_path: Path) -> None:
    asked, ended = threading.Event(), threading.Event()

    def silent(handler: Handler) -> bool:
        if (handler.command, command) not in (("PUT", "push"), ("GET", "save")) or handler.path == "/v2/":
            return False
        asked.set()
        return ended.wait()

    with Loopback(lies=[silent]) as registry:
        shutil.copytree(project.path, tmp_path / "own", ignore=shutil.ignore_patterns(".fategen"))
        settings = (tmp_path / "own/.env").read_text(encoding="utf-8")
        (tmp_path / "own/.env").write_text(re.sub("(?m)^PREFIX=.*", f"PREFIX={registry.host}/fate", settings))
        succeeded(project.fategen("render", cwd=tmp_path / "own"))
        arguments = {
            "push": ["push", str(project.bundle), f"{registry.host}/fate"],
            "save": ["save", "--from", "registry", "--platform", AMD],
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "generator", "bundle", *arguments[command]],
            cwd=tmp_path / "own", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].endswith("stopped\n")
        assert process.returncode == 130
        ended.set()
