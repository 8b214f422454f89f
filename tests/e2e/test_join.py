"""One release from two machines: what each uploads, and what becomes of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.checkouts import git
from tests.e2e.conftest import Fategen, Ran, digest_of, is_pushed, succeeded
from tests.e2e.test_bake import namespace

PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture
def release(own_sample: Path, fategen: Fategen) -> Path:
    """A project whose sources are checkouts, and in it the files of two machines that built one platform each."""
    for source in filter(Path.is_dir, (own_sample.parent / "sources").iterdir()):
        git(source, "init", "--quiet")
        git(source, "add", "--all")
        git(source, "commit", "--quiet", "-m", "the sample")
    for platform in PLATFORMS:
        push = ("bake", "all", "--push", "--platform", platform, "--digests", f"{platform[6:]}.json")
        succeeded(fategen(*push, cwd=own_sample))
    return own_sample


def test_two_machines_make_the_release_of_one(release: Path, fategen: Fategen, registry: str) -> None:
    def join(*files: str) -> Ran:
        return fategen("join", *files, "--format", "json", cwd=release)

    for files, problem in (
        (("amd64.json",), "roll: linux/arm64 is in none of the files"),
        (("amd64.json", "arm64.json", "amd64.json"), "amd64.json: has roll for linux/amd64, and amd64.json has it too"),
    ):
        refused = join(*files)
        assert refused.code == 2 and problem in refused.err, refused.err
    assert not is_pushed(registry, f"{namespace(release)}/roll"), "no tag is written before everything is there"
    joined = {
        image["references"][0]: image["digest"] for image in json.loads(succeeded(join("amd64.json", "arm64.json")).out)
    }
    for reference, digest in joined.items():
        assert digest_of(reference) == digest
    one = json.loads(succeeded(fategen("bake", "all", "--push", "--format", "json", cwd=release)).out)
    assert {image["references"][0]: image["digest"] for image in one} == joined, "the one-machine release is the same"
    assert [image["replaced"] for image in one] == [None] * len(one)
