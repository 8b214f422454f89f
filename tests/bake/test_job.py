"""What is built of what was asked for: images, what they are linked to, their platforms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generator.bake.job import not_built, variables
from generator.catalogue.line import Group
from generator.errors import InputError
from generator.plan.plan import Plan, make_plan
from tests.fate_plan import job_of, packaged_line, plan_of

ARM = ("linux/arm64",)


def test_components_are_the_default_and_bring_what_they_are_linked_to(plan: Plan) -> None:
    job = job_of(plan)
    assert [target.name for target in job.targets] == [
        "federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python",
    ]  # fmt: skip
    linked = {target.name for target in job.involved} - {target.name for target in job.targets}
    assert linked == {"packages", "packages-linux-amd64", "base-image"}
    assert job.shown("packages-linux-amd64") == "packages"


def test_a_published_base_is_not_built(plan: Plan) -> None:
    job = job_of(plan, "python", published_base=True)
    assert [target.name for target in job.involved] == ["python"]
    assert variables(plan, published_base=True)["BASE_IMAGE"] == "docker-image://localhost:5000/t/base-image:base-1"
    assert variables(plan)["BASE_IMAGE"] == "target:base-image"


def test_platform_narrows_everything_and_a_group_says_what_it_leaves_out(plan: Plan) -> None:
    job = job_of(plan, platforms=ARM)
    assert {target.platforms for target in job.involved} == {ARM}
    [note] = job.left_out
    assert note.startswith("no linux/arm64 for egg, python: tensorflow") and "wheel" in note


def test_a_copy_that_platform_makes_equal_to_its_original_is_built_once(plan: Plan) -> None:
    job = job_of(plan, "federation", "egg", platforms=("linux/amd64",))
    assert [target.name for target in job.involved] == ["packages", "base-image", "federation", "egg"]
    assert "egg.contexts.packages=target:packages" in job.overrides
    assert "egg.platform=linux/amd64" in job.overrides
    assert job_of(plan, "federation", "egg").overrides == ()


def test_a_copy_that_platform_leaves_smaller_than_its_original_stays(plan: Plan) -> None:
    job = job_of(plan, platforms=("linux/amd64", *ARM))
    assert {"packages", "packages-linux-amd64"} <= {target.name for target in job.involved}
    assert not [override for override in job.overrides if ".contexts." in override]


@pytest.mark.parametrize(
    ("names", "platforms", "problems"),
    [
        (("egg",), ("linux/arm64", "linux/riscv64"),
         ["linux/riscv64 is not among PLATFORMS (linux/amd64 linux/arm64)", "has no linux/arm64: tensorflow"]),
        (("roll",), ("arm64",), ["did you mean linux/arm64?"]),
        (("base",), ARM, ["no image of base has linux/arm64"]),
        (("fedration", "eggs"), (), ["did you mean federation", "eggs"]),
    ],
)  # fmt: skip
def test_names_and_platforms_that_cannot_be_built(
    plan: Plan, names: tuple[str, ...], platforms: tuple[str, ...], problems: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        job_of(plan, *names, platforms=platforms)
    assert all(problem in str(caught.value) for problem in problems), caught.value


def test_an_image_is_made_from_its_parents_sources_too(plan: Plan) -> None:
    job = job_of(plan, "egg", platforms=("linux/amd64",))
    assert [target.name for target in job.involved] == ["packages-linux-amd64", "base-image", "egg"]
    assert job.sources(job.targets[0]) == {"fate", "eggroll", "fateboard", "lmdb-safe"}


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ([], "egg, python"),
        (["components"], "egg, python"),
        (["base"], "base-image"),
        (["base", "all", "roll"], "base-image, egg, python"),
        (["few"], "egg"),
        (["third-party"], ""),
        (["roll"], ""),
    ],
)
def test_images_that_are_not_built_are_those_of_the_groups_that_were_asked_for(names: list[str], left: str) -> None:
    line = replace(packaged_line("1.3"), groups=(Group("few", ("roll", "egg")),))
    said = not_built(make_plan(plan_of(platforms=ARM).settings, line), names)
    assert [note.partition(": tensorflow")[0] for note in said] == ([f"no linux/arm64 for {left}"] if left else [])
    assert not_built(plan_of(), ["all"]) == []


def test_images_with_one_reason_are_told_with_it_once() -> None:
    arm = plan_of(version="1.11.4", platforms=ARM)
    wheels, mysql = not_built(arm, ["all", "third-party"])
    assert wheels.startswith("no linux/arm64 for base-image, fateflow, eggroll, client: torch")
    assert mysql.startswith("no linux/arm64 for mysql: Docker Hub")
