"""One release from two machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.checkouts import commit_all
from tests.e2e.conftest import digest_of, fategen, succeeded


@pytest.mark.full  # docs/publish.md joins two files, too
def test_two_machines_make_the_release_of_one(own_sample: Path) -> None:
    def images(*args: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(succeeded(fategen(*args, "--format", "json", cwd=own_sample)).out)
        return found

    # FATE-Board's jar has the time of its newest source: an earlier run's, in the cache, has another
    page = own_sample.parent / "sources/fateboard/src/main/resources/static/index.html"
    page.write_text(f"{page.read_text()}<!-- {uuid4()} -->", encoding="utf-8")
    for source in filter(Path.is_dir, (own_sample.parent / "sources").iterdir()):
        commit_all(source)
    for platform in ("linux/amd64", "linux/arm64"):
        push = ("bake", "all", "--push", "--platform", platform, "--digests", f"{platform[6:]}.json")
        succeeded(fategen(*push, cwd=own_sample))

    joined = {image["references"][0]: image["digest"] for image in images("join", "amd64.json", "arm64.json")}
    assert {reference: digest_of(reference) for reference in joined} == joined
    # --overwrite: what is in the registry is not taken for what is built
    one = images("bake", "all", "--push", "--overwrite")
    assert {image["references"][0]: image["digest"] for image in one} == joined, "the one-machine release is the same"
    assert [image["replaced"] for image in one] == [None] * len(one)
    # on a builder without their cache the jars are compiled again
    java = ("federation", "proxy", "roll", "meta-service", "fateboard")
    again = images("bake", *java, "--push", "--overwrite", "--no-cache")
    assert [image["digest"] for image in again] == [joined[image["references"][0]] for image in again]
