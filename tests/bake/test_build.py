"""The digest of what images are built from: the same for the same, another for anything that a build would see."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bake.build import bases_digest, inputs_digest
from generator.project import Project
from generator.workspace import Workspace
from tests.fate_plan import BOTH, job_of, plan_of

LOCAL = (("FATE_SOURCE", "fate"), ("EGGROLL_SOURCE", "eggroll"), ("LMDB_SAFE_SOURCE", "lmdb"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    dockerfiles = [f"dockerfiles/{name}/Dockerfile" for name in ("packages", "base-image", "egg")]
    for name in ("fate/.git/index", "fate/code.py", "eggroll/code.py", "lmdb/code.cc", *dockerfiles):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return Project(tmp_path)


def digest(project: Project, text: str = "FROM a", sources: object = LOCAL, **changes: object) -> str:
    plan = plan_of(sources=sources, **changes)
    workspace = Workspace(project, plan, {"dockerfiles/egg/Dockerfile": text}, ())
    return inputs_digest(workspace, job_of(plan, "egg"), ["egg"])


def test_a_new_tag_or_registry_changes_nothing(project: Project) -> None:
    assert digest(project) == digest(project, tag="2", base_tag="2", prefix="localhost:5000/u") != ""


@pytest.mark.parametrize("name", ["fate/code.py", "lmdb/code.cc", "dockerfiles/egg/config", "fate/empty/"])
def test_a_file_or_directory_that_a_build_reads(project: Project, name: str) -> None:
    before = digest(project)
    if name.endswith("/"):
        (project.root / name).mkdir()
    else:
        (project.root / name).write_text("22")
    assert digest(project) not in (before, "")


def test_a_mode(project: Project) -> None:
    before = digest(project)
    (project.root / "fate/code.py").chmod(0o755)
    assert digest(project) not in (before, "")


@pytest.mark.parametrize("name", ["fate/.git/index", "dockerfiles/egg/Dockerfile"])
def test_gits_own_files_and_the_time_of_a_generated_one_do_not_count(project: Project, name: str) -> None:
    before = digest(project)
    (project.root / name).write_text("22")
    assert digest(project) == before


def test_a_dockerfile_a_setting_and_a_commit(project: Project) -> None:
    plain = digest(project)
    changed = {digest(project, text="FROM b"), digest(project, platforms=("linux/amd64",))}
    commit = digest(project, sources=(*LOCAL[1:], ("FATE_SOURCE", f"https://e.org/fate.git#{'a' * 40}")))
    assert len({plain, commit, *changed}) == 4 and commit


def test_a_branch_may_move_unseen(project: Project) -> None:
    assert digest(project, sources=(*LOCAL[1:], ("FATE_SOURCE", "https://e.org/fate.git#main"))) == ""


def test_a_source_that_cannot_be_read_is_unknown(project: Project) -> None:
    (project.root / "lmdb/code.cc").unlink()
    (project.root / "lmdb").rmdir()
    assert digest(project) == ""


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("egg", "python"), {}),
        (("components",), {"published_base": True}),
        (("egg", "python"), {"platforms": BOTH[:1]}),
    ],
)
def test_bases_have_a_digest_of_their_own(project: Project, names: tuple[str, ...], options: dict[str, object]) -> None:
    plan = plan_of(sources=LOCAL)
    job = job_of(plan, *names, **options)

    def bases(text: str, image: str) -> str:
        return bases_digest(Workspace(project, plan, {f"dockerfiles/{image}/Dockerfile": text}, ()), job)

    assert bases("FROM a", "egg") == bases("FROM b", "egg") != ""
    assert (bases("FROM a", "base-image") == bases("FROM b", "base-image")) == ("published_base" in options)
