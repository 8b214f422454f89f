"""FATE 1.11 and 2.2 of the sample sources: built, verified (each image is started) and published.

Their namespaces are new each time: what an earlier run pushed is not found in place of this one's.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import fategen, layers_of, make_project, registry_get, succeeded
from tests.sample_project import SAMPLE_1_11, SAMPLE_2_2

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def line_1_11(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of 1.11 after ``fategen bake all --push --verify``."""
    directory = tmp_path_factory.mktemp("line") / "project"
    make_project(directory, namespace=f"line-1-11-{os.getpid()}", sample=SAMPLE_1_11, release="1.11.4")
    succeeded(fategen("bake", "all", "--push", "--overwrite", "--verify", cwd=directory))
    return directory


def test_a_changed_file_changes_one_layer_and_a_changed_page_installs_nothing(line_1_11: Path, tmp_path: Path) -> None:
    references = fategen("images", "eggroll", "fateboard", "--format", "references", cwd=line_1_11).out.split()
    bake = ("bake", "eggroll", "fateboard", "--load", "--platform", "linux/amd64")
    succeeded(fategen(*bake, cwd=line_1_11))
    before = [layers_of(reference) for reference in references]
    changed = []
    # the text is new each time: what an earlier run built is cached
    for name, edited, comment in (("eggroll", "Bootstrap.java", "// {}"), ("fateboard", "index.html", "<!-- {} -->")):
        copy = shutil.copytree(SAMPLE_1_11 / name, tmp_path / name, ignore=shutil.ignore_patterns("target"))
        [file] = copy.rglob(edited)
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{comment.format(time.time_ns())}\n{text}", encoding="utf-8")
        changed += ["--source", f"{name}={copy}"]
    ran = succeeded(fategen(*bake, *changed, cwd=line_1_11))
    assert "npm run build" in ran.err and "npm install" not in ran.err
    for old, reference in zip(before, references, strict=True):
        new = layers_of(reference)
        assert (new[:-1], new[-1] != old[-1]) == (old[:-1], True)


def test_two_parties_of_1_11_work_together(line_1_11: Path) -> None:
    """The one eggroll image plays three parts, as its command says, and they find each other by their configuration."""
    ran = succeeded(fategen("verify", "--stack", "--format", "json", cwd=line_1_11))
    passed = {result["check"] for result in json.loads(ran.out) if result["ok"]}
    assert {"rollsite is healthy", "clustermanager knows its nodemanager", "toy job with the other party"} <= passed


def test_a_party_of_2_2_is_built_verified_and_published_under_its_three_tags(registry: str, tmp_path: Path) -> None:
    namespace = f"line-2-2-{os.getpid()}"
    make_project(tmp_path, namespace=namespace, sample=SAMPLE_2_2, release="2.2.0")
    options = ("--push", "--overwrite", "--verify", "--platform", "linux/amd64")
    succeeded(fategen("bake", "base", "party", *options, cwd=tmp_path))
    tags = {"base-image": "2.2.0", "fateflow": "2.2.0", "eggroll": "3.2.0", "osx": "2.2.0", "fateboard": "2.1.1"}
    for name, tag in tags.items():
        assert registry_get(registry, f"{namespace}/{name}/manifests/{tag}-release")
