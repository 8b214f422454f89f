"""FATE 1.11 of the sample sources: built, verified (each image is started), published, changed, two parties."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Fategen, layers_of, make_project, succeeded
from tests.sample_project import SAMPLE_1_11

pytestmark = pytest.mark.full
RELEASE = "1.11.4"
NAMESPACE = f"line-1-11-{os.getpid()}"
"""New each time: what an earlier run pushed is not found in place of this one's."""


@pytest.fixture(scope="module")
def project(registry: str, fategen: Fategen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after ``fategen bake all --push --verify``."""
    directory = tmp_path_factory.mktemp("line") / "project"
    make_project(fategen, directory, namespace=NAMESPACE, sample=SAMPLE_1_11, release=RELEASE)
    succeeded(fategen("bake", "all", "--push", "--overwrite", "--verify", cwd=directory))
    return directory


def test_a_changed_file_changes_one_layer_and_a_changed_page_installs_nothing(
    project: Path, fategen: Fategen, tmp_path: Path
) -> None:
    references = fategen("images", "eggroll", "fateboard", "--format", "references", cwd=project).out.split()
    bake = ("bake", "eggroll", "fateboard", "--load", "--platform", "linux/amd64")
    succeeded(fategen(*bake, cwd=project))
    before = [layers_of(reference) for reference in references]
    changed = []
    # the text is new each time: what an earlier run built is cached
    for name, edited, comment in (("eggroll", "Bootstrap.java", "// {}"), ("fateboard", "index.html", "<!-- {} -->")):
        copy = shutil.copytree(SAMPLE_1_11 / name, tmp_path / name, ignore=shutil.ignore_patterns("target"))
        [file] = copy.rglob(edited)
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{comment.format(time.time_ns())}\n{text}", encoding="utf-8")
        changed += ["--source", f"{name}={copy}"]
    ran = succeeded(fategen(*bake, *changed, cwd=project))
    assert "npm run build" in ran.err and "npm install" not in ran.err
    for old, reference in zip(before, references, strict=True):
        new = layers_of(reference)
        assert (new[:-1], new[-1] != old[-1]) == (old[:-1], True)


def test_two_parties_of_it_work_together(project: Path, fategen: Fategen) -> None:
    """The one eggroll image plays three parts, as its command says, and they find each other by their configuration."""
    ran = succeeded(fategen("verify", "--stack", "--format", "json", cwd=project))
    passed = {result["check"] for result in json.loads(ran.out) if result["ok"]}
    assert {"rollsite is healthy", "clustermanager knows its nodemanager", "toy job with the other party"} <= passed
