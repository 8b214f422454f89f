"""The digest of what images are built from, the same for what a build would see the same; and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from generator.bake.build import Built, bases_digest, export_layouts, inputs_digest, result_table
from generator.plan.plan import Plan
from generator.project import Project
from generator.text import Version
from generator.workspace import Workspace
from tests.bake.test_run import Run, Sets, baking
from tests.fate_plan import BOTH, facts_of, job_of, plan_of, put

LOCAL = (("FATE_SOURCE", "fate"), ("EGGROLL_SOURCE", "eggroll"), ("LMDB_SAFE_SOURCE", "lmdb"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    dockerfiles = [f"dockerfiles/{name}/Dockerfile" for name in ("packages", "base-image", "egg")]
    for name in ("fate/.git/index", "fate/code.py", "eggroll/code.py", "lmdb/code.cc", *dockerfiles):
        put(tmp_path, name, "1")
    return Project(tmp_path)


def digest(project: Project, text: str = "FROM a", sources: object = LOCAL, **changes: object) -> str:
    plan = plan_of(sources=sources, **changes)
    workspace = Workspace(project, plan, {"dockerfiles/egg/Dockerfile": text}, ())
    return inputs_digest(workspace, job_of(plan, "egg"), ["egg"])


def test_a_new_tag_or_registry_changes_nothing(project: Project) -> None:
    assert digest(project) == digest(project, tag="2", base_tag="2", prefix="localhost:5000/u") != ""


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        *(
            (partial(put, name=name, text="22"), True)
            for name in ("fate/code.py", "lmdb/code.cc", "dockerfiles/egg/conf")
        ),
        (lambda root: (root / "fate/empty").mkdir(), True),
        (lambda root: (root / "fate/code.py").chmod(0o755), True),
        (partial(put, name="fate/.git/index", text="22"), False),
        (partial(put, name="dockerfiles/egg/Dockerfile", text="22"), False),
    ],
    ids=["source", "another source", "context", "directory", "mode", "git's own files", "time of a generated file"],
)
def test_what_a_build_reads_counts(project: Project, change: Callable[[Path], object], counts: bool) -> None:
    before = digest(project)
    change(project.root)
    after = digest(project)
    assert after and (after != before) is counts


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


@pytest.mark.parametrize(
    ("buildx", "names", "leaders"),
    [
        ((0, 29, 1), ("components", "third-party"), ["federation", "python", "mysql", "redis"]),
        ((0, 29, 1), ("egg", "python"), ["egg"]),
        ((0, 29, 1), ("federation", "python"), []),
        ((0, 13, 1), ("components", "third-party"), []),
    ],
)
def test_one_image_of_each_base_is_exported_first_where_buildx_would_send_the_base_with_every_image(
    plan: Plan, tmp_path: Path, buildx: Version, names: tuple[str, ...], leaders: list[str]
) -> None:
    runs: list[list[str]] = []

    def run(sets: Sets) -> Run:
        exported = [name.removesuffix(".output") for name, to in sets.items() if to.startswith("type=oci")]
        for name in exported:
            put(tmp_path, f".fategen/layouts/{name}/index.json")
        runs.append(exported)
        return [], 0, dict.fromkeys(exported, "sha256:1")

    job = job_of(plan, *names, platforms=BOTH[:1])
    images, result = export_layouts(replace(baking(tmp_path, job, run), facts=replace(facts_of(), buildx=buildx)))
    all_names = [target.name for target in job.named]
    rest = [name for name in all_names if name not in leaders]
    assert runs == ([leaders, rest] if leaders else [rest])
    assert [image.layout.name for image in images] == all_names and {*result.digests} == {*all_names}


def test_the_result_as_table_and_as_json() -> None:
    digest, amd, arm = (f"sha256:{byte * 32}" for byte in ("1a", "3c", "4d"))
    sizes, manifests = {"linux/amd64": 84_000_000, "linux/arm64": 81_000_000}, {"linux/amd64": amd, "linux/arm64": arm}
    pushed = Built("roll", ("r/roll:1",), digest, BOTH, sizes, 3.1, "pushed", manifests=manifests)
    one = {"linux/amd64": amd}
    alone = Built("egg", ("r/egg:1",), amd, BOTH[:1], {"linux/amd64": 84_000_000}, 41.2, "pushed", manifests=one)
    built = Built("python", ("r/python:1",), "", BOTH, {}, 0.0, "built", cached=True)
    again = replace(pushed, replaced="sha256:" + "2b" * 32)
    assert result_table([again], 0.0).splitlines()[-1] == "replaced in the registry: roll (was sha256:2b2b2b2b…)"
    assert (again.as_json()["replaced"], pushed.as_json()["replaced"]) == ("sha256:" + "2b" * 32, None)
    assert [line.split() for line in result_table([pushed, alone, built], 64.0).splitlines()] == [
        ["IMAGE", "BUILT", "IN", "PLATFORMS", "SIZE", "DIGEST"],
        ["roll", "3.1", "s", "index", "sha256:1a1a1a1a…"],
        ["linux/amd64", "84", "MB", "sha256:3c3c3c3c…"],
        ["linux/arm64", "81", "MB", "sha256:4d4d4d4d…"],
        ["egg", "41.2", "s", "linux/amd64", "84", "MB", "sha256:3c3c3c3c…"],
        ["python", "cached", "linux/amd64", "linux/arm64"],
        ["total", "1m04s"],
    ]
    assert result_table([built], 0.0).splitlines()[0].split() == ["IMAGE", "BUILT", "IN", "PLATFORMS"], (
        "nothing was exported"
    )
    assert pushed.as_json()["digest"] == digest and built.as_json()["digest"] is None
    assert pushed.as_json()["sizes"] == {"linux/amd64": 84_000_000, "linux/arm64": 81_000_000}
    assert pushed.as_json()["manifests"] == {"linux/amd64": amd, "linux/arm64": arm}


def test_the_result_has_what_nobody_asked_for_and_its_time() -> None:
    needed = {"packages": 207.2, "base-image": 0.0}
    images = [Built(name, (), "", BOTH, {}, 2.7, "built", needed=needed) for name in ("roll", "proxy")]
    lines = result_table(images, 210.0).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["packages", "3m27s"], ["base-image", "cached"], ["roll", "2.7"], ["proxy", "2.7"], ["total", "3m30s"],
    ]  # fmt: skip
    assert images[0].as_json()["needed"] == {"packages": 207.2, "base-image": 0.0}
