"""Images that a run leaves out since the project's platforms have none of theirs: told, with the reason."""

from __future__ import annotations

import pytest

from generator.bake.job import not_built
from generator.plan.plan import GROUPS
from tests.fate_plan import plan_of

ARM = ("linux/arm64",)


def test_images_that_have_none_of_the_projects_platforms_are_told_with_the_reason_once() -> None:
    said = not_built(plan_of(fate_version="1.11.4", platforms=ARM), ["all"])
    assert said.startswith("not built: base-image, fateflow, eggroll, client: no linux/arm64 (")
    assert said.count(": no linux/arm64 (") == 1 and "linux/arm64 wheel" in said and said.endswith(")")


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ([], "egg, python"),
        (["components"], "egg, python"),
        (["base"], "base-image"),
        (["base", "all", "roll"], "base-image, egg, python"),
    ],
)
def test_images_that_are_not_built_are_those_of_the_groups_that_were_asked_for(names: list[str], left: str) -> None:
    assert not_built(plan_of(platforms=ARM), names).startswith(f"not built: {left}: no linux/arm64 (")


@pytest.mark.parametrize("names", [["third-party"], ["roll"]])
def test_nothing_is_said_where_all_that_was_asked_for_is_built(names: list[str]) -> None:
    assert not_built(plan_of(platforms=ARM), names) == ""
    assert not_built(plan_of(), ["all"]) == ""


def test_platforms_with_one_reason_are_told_with_it() -> None:
    far = not_built(plan_of(platforms=("linux/s390x", *ARM, "linux/ppc64le")), ["base"])
    assert far.startswith("not built: base-image: no linux/s390x, linux/ppc64le (it is built for linux/amd64 alone), ")
    assert ", no linux/arm64 (tensorflow" in far


def test_images_with_other_reasons_are_told_apart() -> None:
    arm = plan_of(fate_version="1.11.4", platforms=ARM)
    assert "have no linux/arm64 wheel); mysql: no linux/arm64 (Docker Hub" in not_built(arm, ["all", "third-party"])


def test_the_kinds_of_a_group_are_the_plans() -> None:
    plan = plan_of()
    images = [target for target in plan.targets if not target.inherits]
    assert {group.name: group.targets for group in plan.groups} == {
        name: tuple(target.name for target in images if target.kind in kinds) for name, kinds in GROUPS.items()
    }
