"""A local source is held against what the Dockerfiles copy from it, before anything is built."""

from __future__ import annotations

import shutil
from pathlib import Path

from generator.bake.contents import source_problems
from generator.config.settings import Override
from generator.plan.plan import Plan
from generator.project import packaged_data
from generator.render.render import render
from tests.fate_plan import plan_of
from tests.sample_project import SAMPLE


def local(directory: Path) -> Plan:
    return plan_of(sources=(Override("fate", str(directory), ".env:4"),))


def said(plan: Plan, *, root: Path) -> list[str]:
    tree = render(plan, [packaged_data("templates")])
    return [str(problem) for problem in source_problems(root, plan.targets, tree)]


def test_the_samples_sources_are_whole() -> None:
    names = ("fate", "eggroll", "fateboard", "lmdb-safe")
    plan = plan_of(sources=tuple(Override(name, str(SAMPLE / name), ".env:4") for name in names))
    assert said(plan, root=SAMPLE) == []


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    assert said(local(Path("../FATE")), root=tmp_path) == [".env:4: FATE_SOURCE: ../FATE is not a directory"]


def test_an_empty_source(tmp_path: Path) -> None:
    (tmp_path / "FATE").mkdir()
    assert said(local(Path("FATE")), root=tmp_path) == [".env:4: FATE_SOURCE: FATE is empty: it is to be a checkout"]


def test_a_wrong_checkout(tmp_path: Path) -> None:
    [problem] = said(local(SAMPLE / "eggroll"), root=tmp_path)
    assert problem.startswith(".env:4: FATE_SOURCE: ")
    assert "is not the checkout that is expected: it has no arch/pom.xml, arch/proto, arch/core and " in problem
    assert "dockerfiles/packages/Dockerfile" in problem


def test_one_file_that_lacks_is_named(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE / "fate", tmp_path / "FATE")
    (tmp_path / "FATE/requirements.txt").unlink()
    [problem] = said(local(Path("FATE")), root=tmp_path)
    assert problem.endswith("it has no requirements.txt (for dockerfiles/base-image/Dockerfile)")


def test_a_source_in_git_is_not_looked_at(tmp_path: Path) -> None:
    assert said(plan_of(), root=tmp_path) == []
