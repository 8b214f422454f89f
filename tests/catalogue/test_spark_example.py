"""examples/fate-spark: what a project of FATE 1.9 to 1.11 copies to have the images for Spark, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from generator.project import Project
from generator.workspace import load
from tests.pages import ROOT


@pytest.mark.parametrize("release", ["1.9.2", "1.10.0", "1.11.4"])
def test_a_project_with_its_files_has_the_images_for_spark_in_addition(project_dir: Path, release: str) -> None:
    before = set(load(Project(project_dir), sets=[f"FATE_VERSION={release}"]).tree)
    shutil.copytree(ROOT / "examples/fate-spark", project_dir, dirs_exist_ok=True)
    workspace = load(Project(project_dir), sets=[f"FATE_VERSION={release}"])
    added = {"fateflow-spark", "spark-master", "spark-worker", "nginx"}
    assert set(workspace.tree) - before == {f"dockerfiles/{name}/Dockerfile" for name in added}
    targets = {target.name: target for target in workspace.plan.targets}
    assert targets["nginx"].platforms == ("linux/amd64", "linux/arm64")
    worker = targets["spark-worker"].contract
    assert worker.command is not None and worker.command.value[-1].endswith("--webui-port 8081 $SPARK_MASTER")
    assert worker.ports is not None
    assert {port.name for port in worker.ports.value} == {"9360", "9380", "7078", "8081"}
