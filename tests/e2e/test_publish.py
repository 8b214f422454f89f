"""Every tag or none, on a real registry behind a line that fails: faults, refused tags, kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generator.bundle.save import save
from generator.registry.client import ACCEPT
from tests.bundle.layouts import BASE, image
from tests.e2e.conftest import Ran, docker, fategen, registry_get, start, succeeded
from tests.e2e.faults import Handler, Line
from tests.loopback import says, transient

SIZE, COUNT = 300_000, 8
"""Bytes of each image's own layer, which nothing compresses, and how many images a bundle has."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two releases of eight images; each has other bytes."""
    found = []
    for release in (1, 2):
        directory, dice = tmp_path_factory.mktemp("bundles"), random.Random(release)
        images = [image(directory, name, BASE, {f"opt/{name}": dice.randbytes(SIZE)}) for name in "abcdefgh"]
        found.append(save(images, directory / "fate.tar", name="fate").path)
    return found


class Release:
    """Release 1 is in the registry; ``commands`` publish it and release 2 through a line that fails."""

    def __init__(self, cwd: Path, line: Line, *commands: tuple[str, ...]) -> None:
        self.cwd, self.line = cwd, line
        self.commands = [(*command, "--overwrite", "--format", "json") for command in commands]
        self.before = self.published(1)
        self.sent = line.uploaded

    def publish(self, number: int = 2) -> Ran:
        return fategen(*self.commands[number - 1], cwd=self.cwd)

    def published(self, number: int = 2) -> dict[str, str]:
        """Name in the registry -> the digest that it was reported with."""
        printed = json.loads(succeeded(self.publish(number)).out)
        images = printed["images"] if isinstance(printed, dict) else printed
        return {name.partition("/")[2]: image["digest"] for image in images for name in image["references"]}

    def tags(self) -> dict[str, str]:
        """What every tag points to, asked past the faults."""
        found = {}
        for name in self.before:
            url = f"http://{self.line.registry}/v2/{'/manifests/'.join(name.rsplit(':', 1))}"
            request = urllib.request.Request(url, method="HEAD", headers={"Accept": ACCEPT})
            with urllib.request.urlopen(request, timeout=10) as answer:
                found[name] = str(answer.headers["Docker-Content-Digest"])
        return found

    def kill(self, when: Callable[[Handler], bool]) -> None:
        """Publishes release 2 and is killed at the first request of which this is true, which does not arrive."""

        def kill(handler: Handler) -> bool:
            if now := when(handler):
                process.kill()
                handler.cut()
            return now

        nowhere = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with start(*self.commands[1], cwd=self.cwd, **nowhere) as process:
            self.line.lies.append(kill)
        self.line.lies.clear()
        assert process.returncode < 0, "it had ended before"


@pytest.fixture(params=["bundle", pytest.param("bake", marks=pytest.mark.full)])
def release(
    request: pytest.FixtureRequest, registry: str, sample: Path, tmp_path: Path, bundles: list[Path]
) -> Iterator[Release]:
    """A bundle, or the whole sample, of which release 2 has Docker's media types."""
    with Line(registry=registry) as line:
        place = f"{line.host}/publish-{os.getpid()}-{random.randrange(10**8)}"
        if request.param == "bundle":
            yield Release(tmp_path, line, *(("bundle", "push", str(bundle), place) for bundle in bundles))
            return
        bake = ("bake", "all", "--push", "--set", f"PREFIX={place}")
        yield Release(sample, line, bake, (*bake, "--set", "MEDIA_TYPES=docker"))


bundled = pytest.mark.parametrize("release", ["bundle"], indirect=True)


def test_transient_faults_end_in_success(release: Release) -> None:
    release.line.lies.append(transient(1, 0.05))
    assert release.published() == release.tags() != release.before


def test_a_refused_tag_leaves_every_tag_as_it_was(release: Release) -> None:
    *_, name = release.before
    path = f"/v2/{'/manifests/'.join(name.rsplit(':', 1))}"
    release.line.lies += [says(f"PUT {path}$", 403), transient(1, 0.02)]
    ran = release.publish()
    assert ran.code == 3, ran.err
    assert f"/{name}: the tag was not written: 403" in ran.err
    assert ran.err.count("(as before)") == len(release.before)
    assert release.tags() == release.before


@pytest.mark.parametrize("put_back", [False, True])
def test_what_was_killed_between_two_tags_is_finished_or_put_back(release: Release, put_back: bool) -> None:
    written = len(release.line.tags) + 3
    release.kill(lambda handler: handler.writes_tag and len(release.line.tags) == written)
    assert len(release.tags().items() - release.before.items()) == 3
    if put_back:
        succeeded(fategen("rollback", cwd=release.cwd))
        assert release.tags() == release.before
    sent = release.line.uploaded
    assert release.published() == release.tags()
    assert release.line.uploaded - sent < 100_000, "manifests alone are sent again"


@bundled
@pytest.mark.parametrize("eighths", [1, *(pytest.param(n, marks=pytest.mark.full) for n in range(2, 8))])
def test_what_was_killed_while_it_uploaded_has_written_no_tag_and_goes_on(release: Release, eighths: int) -> None:
    release.kill(lambda _: release.line.uploaded - release.sent > eighths * COUNT * SIZE // 8)
    assert release.tags() == release.before and not (release.cwd / ".fategen/publish.json").exists()
    sent = release.line.uploaded - release.sent
    assert release.published() == release.tags()
    # what was on its way in four uploads at most is sent again
    assert release.line.uploaded - release.sent < COUNT * SIZE + 5 * SIZE, sent


TYPES = ("--set", "MEDIA_TYPES=docker")


def push(project: Path, *more: str) -> Ran:
    return fategen("bake", "roll", "--push", "--allow-dirty", "--format", "json", *more, cwd=project)


def test_a_finished_release_is_built_again_only_if_it_could_be_another(own_sample: Path, registry: str) -> None:
    unchanged = "unchanged since the last push, and still in the registry: not built again"
    first, second = succeeded(push(own_sample, "--overwrite")), succeeded(push(own_sample))
    assert unchanged not in first.err and unchanged in second.err
    [built] = json.loads(first.out)
    assert built["digest"] == json.loads(second.out)[0]["digest"]
    succeeded(push(own_sample, "--set", "TAG=another"))
    assert unchanged in succeeded(push(own_sample)).err, "another push between them does not matter"
    # what a clean-up of the registry took is sent again
    repository = built["references"][0].partition("/")[2].rpartition(":")[0]
    lost = f"{repository}/manifests/{built['manifests']['linux/arm64']}"
    urllib.request.urlopen(urllib.request.Request(f"http://{registry}/v2/{lost}", method="DELETE"), timeout=10).close()
    assert unchanged not in succeeded(push(own_sample)).err
    assert registry_get(registry, lost)
    (own_sample.parent / "sources/fate/new.txt").write_text("a local source has another file")
    again = succeeded(push(own_sample))
    assert unchanged not in again.err and json.loads(again.out)[0]["state"] == "was there"
    for other in (push(own_sample, *TYPES), succeeded(push(own_sample, *TYPES, "--overwrite")) and push(own_sample)):
        assert other.code == 2 and "already points to another image" in other.err


@pytest.mark.full
def test_docker_media_types_for_registries_that_refuse_oci(own_sample: Path, registry: str) -> None:
    [built] = json.loads(succeeded(push(own_sample, *TYPES)).out)
    [reference] = built["references"]
    path = reference.partition("/")[2].rpartition(":")[0]
    index = registry_get(registry, f"{path}/manifests/{built['digest']}")
    assert "vnd.oci" not in json.dumps(index) and len(index["manifests"]) == 2
    for entry in index["manifests"]:
        assert "vnd.oci" not in json.dumps(registry_get(registry, f"{path}/manifests/{entry['digest']}"))
    docker("-H", os.environ["FATEGEN_SANDBOX_DOCKER20"], "pull", "--quiet", reference)
    by_address = reference.replace("localhost", "127.0.0.1")  # podman here has no /etc/hosts
    subprocess.run(["podman", "pull", "--quiet", "--tls-verify=false", by_address], check=True)
    subprocess.run(["podman", "image", "rm", by_address], check=True)
    save = ("bundle", "save", "--from", "registry", "--image", "roll", "-o", "roll.fate.tar", *TYPES)
    succeeded(fategen(*save, cwd=own_sample))
    assert reference in succeeded(fategen("bundle", "load", "roll.fate.tar", cwd=own_sample)).out
    elsewhere = f"{registry}/{path.rpartition('/')[0]}-docker"
    assert "roll" in succeeded(fategen("bundle", "push", "roll.fate.tar", elsewhere, cwd=own_sample)).out
