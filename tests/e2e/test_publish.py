"""Every tag or none, on a real registry behind a line that fails: faults, refused tags, kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generator.bundle import inspect
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import simple
from tests.e2e.conftest import Fategen, Ran, digest_of, docker, registry_get, succeeded
from tests.e2e.faults import Faults, refused_tag, transient

NAMES = tuple("abcdefgh")
ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
SIZE = 300_000
"""Bytes of each image's own layer, which nothing compresses."""


def bundle_of(directory: Path, release: int) -> Path:
    """Eight images; each release has other bytes."""
    dice = random.Random(release)
    images = [
        SourceImage(
            (f"fgtest/{name}:1.0",),
            simple(directory / f"{release}-{name}", name, files={f"opt/{name}": dice.randbytes(SIZE)}),
            ("linux/amd64",),
        )
        for name in NAMES
    ]
    return save(images, directory / f"{release}.fate.tar", name="fate").path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("bundles")
    return [bundle_of(directory, release) for release in (1, 2)]


class Site:
    """A namespace of its own in the registry, with release 1 of eight images, and the faulty way to it."""

    def __init__(self, registry: str, fategen: Fategen, directory: Path, bundles: list[Path], name: str) -> None:
        self.registry, self.fategen, self.directory, self.bundles = registry, fategen, directory, bundles
        self.path = f"publish-{os.getpid()}-{name}/fate"
        self.line = Faults(registry)
        succeeded(fategen("bundle", "push", str(bundles[0]), f"{registry}/{self.path}", cwd=directory))
        self.before = self.tags()
        index = inspect(bundles[1]).index
        self.after = [image.target.digest for image in sorted(index.images, key=lambda image: image.references)]

    def tags(self) -> list[str]:
        """What every tag points to, asked past the faults."""
        return [self._digest(name) for name in NAMES]

    def _digest(self, name: str) -> str:
        url = f"http://{self.registry}/v2/{self.path}/{name}/manifests/1.0"
        request = urllib.request.Request(url, method="HEAD", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])

    def arguments(self, address: str) -> tuple[str, ...]:
        return ("bundle", "push", str(self.bundles[1]), f"{address}/{self.path}", "--overwrite")

    def push(self) -> Ran:
        with self.line.serve() as address:
            return self.fategen(*self.arguments(address), cwd=self.directory)

    def push_and_kill(self, address: str, when: Callable[[], bool]) -> bool:
        """Whether it was killed before its end."""
        command = [sys.executable, "-m", "generator", *self.arguments(address)]
        with subprocess.Popen(command, cwd=self.directory, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
            while run.poll() is None and not when():
                time.sleep(0.0005)
            run.send_signal(signal.SIGKILL)
            return run.wait() != 0


MakeSite = Callable[[str], Site]


@pytest.fixture
def site(registry: str, fategen: Fategen, tmp_path: Path, bundles: list[Path], request: pytest.FixtureRequest) -> Site:
    number = abs(hash(request.node.name)) % 10**8
    return Site(registry, fategen, tmp_path, bundles, str(number))


def some(count: int, default: int) -> list[object]:
    """Numbers to ``count``; all but the first few are for --full."""
    return [pytest.param(n, marks=[] if n < default else [pytest.mark.full]) for n in range(count)]


@pytest.mark.parametrize("seed", some(8, 2))
def test_transient_faults_end_in_success(site: Site, seed: int) -> None:
    site.line.faults.append(transient(seed))
    succeeded(site.push())
    assert site.tags() == site.after


@pytest.mark.parametrize("seed", some(8, 2))
def test_a_refused_tag_leaves_every_tag_as_it_was(site: Site, seed: int) -> None:
    refused = NAMES[seed % len(NAMES)]
    site.line.faults += [refused_tag(refused), transient(seed, 0.02)]
    ran = site.push()
    assert ran.code == 3, ran.err
    assert f"/{refused}:1.0: the tag was not written: 403" in ran.err and ran.err.count("(as before)") == len(NAMES)
    assert site.tags() == site.before
    sent = site.line.uploaded
    site.line.faults.clear()
    succeeded(site.push())
    assert site.line.uploaded - sent < 100_000, "manifests alone are sent again"
    assert site.tags() == site.after


@pytest.mark.parametrize("moment", some(16, 3))
def test_the_next_run_finishes_what_was_killed(site: Site, moment: int) -> None:
    """While blobs are sent, or (every fourth) after so many tags."""
    in_loop, number = moment % 4 == 0, moment // 4 % len(NAMES)
    limit = moment * len(NAMES) * SIZE // 16
    with site.line.serve() as address:
        killed = site.push_and_kill(
            address, lambda: len(site.line.tags) > number if in_loop else site.line.uploaded > limit
        )
        mixed = len(set(site.tags()) & set(site.before)) not in (0, len(NAMES))
        assert in_loop or not mixed, "no tag is written before everything is sent"
        journal = site.directory / ".fategen/publish.json"
        assert journal.exists() or not mixed
        if killed and moment % 8 == 4 and journal.exists():
            succeeded(site.fategen("rollback", cwd=site.directory))
            assert site.tags() == site.before
        sent = site.line.uploaded
        succeeded(site.fategen(*site.arguments(address), cwd=site.directory))
    assert site.tags() == site.after and not journal.exists()
    # what was on its way in four uploads at most is sent again
    assert site.line.uploaded - sent < len(NAMES) * SIZE - min(sent, len(NAMES) * SIZE) + 5 * SIZE


class Release:
    """The whole sample, baked and pushed through the faulty line; release 1 is there, 2 has Docker's media types."""

    def __init__(self, project: Path, registry: str, fategen: Fategen, address: str, line: Faults) -> None:
        self.project, self.registry, self.fategen, self.line = project, registry, fategen, line
        self.path = f"publish-{os.getpid()}-bake"
        push = ("bake", "all", "--push", "--overwrite", "--format", "json", "--set", f"PREFIX={address}/{self.path}")
        self.push = {1: push, 2: (*push, "--set", "MEDIA_TYPES=docker")}

    def bake(self, release: int) -> Ran:
        return self.fategen(*self.push[release], cwd=self.project)

    def built(self, release: int) -> dict[str, str]:
        return {image["image"]: image["digest"] for image in json.loads(succeeded(self.bake(release)).out)}

    def tags(self) -> dict[str, str]:
        """What every tag points to, asked past the faults."""
        names = json.loads(succeeded(self.fategen("images", "all", "--format", "json", cwd=self.project)).out)
        return {
            image["name"]: digest_of(f"{self.registry}/{self.path}/{image['name']}:1.3.0-release") for image in names
        }


@pytest.fixture
def release(sample: Path, registry: str, fategen: Fategen) -> Iterator[Release]:
    line = Faults(registry)
    with line.serve() as address:
        release = Release(sample, registry, fategen, address, line)
        succeeded(release.bake(1))
        yield release


@pytest.mark.full
def test_a_release_through_transient_faults_ends_in_success(release: Release) -> None:
    release.line.faults.append(transient(1))
    assert release.built(2) == release.tags()


@pytest.mark.full
def test_a_release_of_which_a_tag_is_refused_leaves_every_tag_as_it_was(release: Release) -> None:
    before = release.tags()
    release.line.faults.append(refused_tag("python"))
    assert release.bake(2).code == 3
    assert release.tags() == before


@pytest.mark.full
def test_the_next_run_finishes_a_release_that_was_killed_while_it_wrote_tags(release: Release) -> None:
    before = release.tags()
    command = [sys.executable, "-m", "generator", *release.push[2]]
    with subprocess.Popen(command, cwd=release.project, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        written = len(release.line.tags)
        while run.poll() is None and len(release.line.tags) < written + 3:
            time.sleep(0.0005)
        run.send_signal(signal.SIGKILL)
    assert 0 < len(release.tags().items() & before.items()) < len(before), "half visible"
    sent = release.line.uploaded
    assert release.built(2) == release.tags()
    assert release.line.uploaded - sent < 100_000, "manifests alone are sent again"


def test_docker_media_types_for_registries_that_refuse_oci(
    own_sample: Path, fategen: Fategen, registry: str, tmp_path: Path
) -> None:
    types = ("--set", "MEDIA_TYPES=docker")
    push = ("bake", "roll", "--push", "--allow-dirty", "--format", "json", *types)
    [built] = json.loads(succeeded(fategen(*push, cwd=own_sample)).out)
    [reference] = built["references"]
    path = reference.partition("/")[2].rpartition(":")[0]
    index = registry_get(registry, f"{path}/manifests/{built['digest']}")
    assert "vnd.oci" not in json.dumps(index) and len(index["manifests"]) == 2  # type: ignore[call-overload, index]
    for entry in index["manifests"]:  # type: ignore[call-overload, index]
        assert "vnd.oci" not in json.dumps(registry_get(registry, f"{path}/manifests/{entry['digest']}"))
    docker("-H", os.environ["FATEGEN_SANDBOX_DOCKER20"], "pull", "--quiet", reference)
    file = tmp_path / "roll.fate.tar"
    succeeded(
        fategen("bundle", "save", "--from", "registry", "--image", "roll", "-o", str(file), *types, cwd=own_sample)
    )
    loaded = succeeded(fategen("bundle", "load", str(file), cwd=own_sample))
    assert reference in loaded.out
    pushed = fategen("bundle", "push", str(file), f"{registry}/{path.rpartition('/')[0]}-docker", cwd=own_sample)
    assert "roll" in succeeded(pushed).out
