from __future__ import annotations

import pytest

from generator.catalogue.line import parse_line
from generator.config.settings import Settings
from generator.errors import InputError
from generator.plan.plan import Context, Plan, make_plan
from generator.project import packaged_data
from tests.fate_plan import packaged_family, plan_of, problems_of


def problems(**changes: object) -> list[str]:
    return problems_of(lambda: plan_of(**changes))


def context(plan: Plan, target: str, name: str) -> Context:
    return next(c for c in plan.target(target).contexts if c.name == name)


def test_base_images_get_base_tag_components_tag_builders_none_and_a_third_party_image_keeps_its_own() -> None:
    plan = plan_of()
    assert plan.target("base-image").tags == ("localhost:5000/t/base-image:base-1",)
    assert plan.target("egg").tags == ("localhost:5000/t/egg:1",)
    assert plan.target("packages").tags == ()
    assert plan.target("mysql").tags == ("mysql:8",)


def test_groups_are_base_components_third_party_and_all_of_what_is_published() -> None:
    groups = {g.name: g.images for g in plan_of().groups}
    components = ("federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python")
    assert groups == {
        "default": components,
        "base": ("base-image",),
        "components": components,
        "third-party": ("mysql", "redis"),
        "all": ("base-image", *components),
    }


def test_an_image_that_lacks_a_platform_says_why() -> None:
    skipped = plan_of().target("base-image").skipped
    assert [s.platform for s in skipped] == ["linux/arm64"]
    assert "tensorflow 1.15.2" in skipped[0].reason


def test_a_child_lacks_what_its_parent_lacks_for_the_parent_s_reason() -> None:
    (skipped,) = plan_of().target("egg").skipped
    assert (skipped.platform, skipped.origin) == ("linux/arm64", "base-image")


def test_the_reason_for_another_platform_is_not_given() -> None:
    reasons = [s.reason for s in plan_of(platforms=("linux/riscv64", "linux/arm64")).unavailable[0].skipped]
    assert reasons[0] == "it is built only for linux/amd64"
    assert "tensorflow 1.15.2" in reasons[1]


@pytest.mark.parametrize("written", ["linux/arm64", "linux/arm64/v8", "linux/aarch64", "linux/arm64/8"])
def test_a_platform_means_the_same_however_the_catalogue_writes_it(written: str) -> None:
    text = (packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8")
    text = text.replace("only: [linux/amd64]", f"only: [linux/amd64, {written}]")
    line = parse_line(text, name="1.3.yaml", family=packaged_family())
    plan = make_plan(Settings("p", "b", "t", "1.3.0"), line)
    assert plan.target("base-image").platforms == ("linux/amd64", "linux/arm64")


def test_an_own_requirements_list_lifts_the_limit_of_the_packaged_one() -> None:
    plan = plan_of(others=(("REQUIREMENTS", "python/requirements.txt"),))
    assert plan.target("python").platforms == ("linux/amd64", "linux/arm64")
    assert context(plan, "base-image", "requirements").value == "python"
    assert context(plan_of(others=(("REQUIREMENTS", "r.txt"),)), "base-image", "requirements").value == "."


def test_a_link_between_unequal_platform_sets_goes_through_a_narrowed_copy_of_the_parent() -> None:
    plan = plan_of()
    assert context(plan, "egg", "packages").target == "packages-linux-amd64"
    narrowed = plan.target("packages-linux-amd64")
    assert (narrowed.inherits, narrowed.platforms, narrowed.tags) == ("packages", ("linux/amd64",), ())
    assert not [t for t in plan_of(platforms=("linux/amd64",)).targets if t.inherits], "equal sets need none"


def test_targets_come_parents_first_with_copies_behind_their_originals() -> None:
    names = [t.name for t in plan_of().targets]
    assert names[:2] == ["packages", "packages-linux-amd64"]
    assert names.index("base-image") < names.index("egg")


def test_images_without_any_of_the_platforms_are_unavailable_and_in_no_group() -> None:
    plan = plan_of(platforms=("linux/arm64",))
    assert [t.name for t in plan.unavailable] == ["base-image", "egg", "python"]
    assert "base" not in {g.name for g in plan.groups}
    with pytest.raises(InputError, match=r"python: not built for linux/arm64 .*tensorflow"):
        plan.select(["python"])
    with pytest.raises(InputError, match=r"base: not built for linux/arm64 .*tensorflow"):
        plan.select(["base"])


def test_a_default_source_is_the_release_s_commit() -> None:
    values = {v.name: v.value for v in plan_of().variables}
    assert values["FATE_SOURCE"] == ("https://github.com/FederatedAI/FATE.git#e8a4a8c6d16d30f1c7ad636ceb2d6e525271fafd")
    assert "EGGROLL_SOURCE" not in values, "a stage fetches it, no context"


def test_a_local_source_is_a_context_and_has_no_revision() -> None:
    plan = plan_of(sources=(("EGGROLL_SOURCE", "../eggroll"),))
    assert context(plan, "egg", "eggroll").variable == "EGGROLL_SOURCE"
    home = plan.target("egg").main_source
    assert home is not None
    assert (home.local, home.revision, home.url) == (True, "", "https://github.com/WeBankFinTech/eggroll.git")


def test_a_source_without_submodules_must_be_pinned_to_a_commit() -> None:
    (problem,) = problems(
        sources=(("EGGROLL_SOURCE", "https://git.example.com/e.git#v1.1.4"),), origins=(("EGGROLL_SOURCE", ".env:4"),)
    )
    assert problem.startswith(".env:4: EGGROLL_SOURCE: #v1.1.4 is not a commit")
    assert "git ls-remote https://git.example.com/e.git v1.1.4" in problem


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sources": (("FATEBOARDS_SOURCE", "x"),), "origins": (("FATEBOARDS_SOURCE", ".env:9"),)},
         ".env:9: FATEBOARDS_SOURCE: FATE 1.3 has no source with this name; did you mean FATEBOARD_SOURCE?"),
        ({"sources": (("FAT_SOURCE", "x"),), "origins": (("FAT_SOURCE", "--source"),)},
         "--source: fat: FATE 1.3 has no source with this name; did you mean fate?"),
        ({"images": (("ZZZ_IMAGE", "x:1"),), "origins": (("ZZZ_IMAGE", ".env:9"),)},
         ".env:9: ZZZ_IMAGE: FATE 1.3 has no image with this name; "
         "known are MAVEN_IMAGE, JRE_IMAGE, PYTHON_BASE_IMAGE, MYSQL_IMAGE, REDIS_IMAGE"),
    ],
)  # fmt: skip
def test_an_override_of_an_unknown_name_says_which_are_known(changes: dict[str, object], expected: str) -> None:
    assert problems(**changes) == [expected]


def test_a_mirror_stands_before_every_base_but_not_before_an_override() -> None:
    plan = plan_of(base_registry="10.0.0.5/hub", images=(("JRE_IMAGE", "own/jre:8"),))
    bases = {b.name: b.reference for t in plan.targets for b in t.bases}
    assert bases == {
        "maven": "10.0.0.5/hub/library/maven:3.9-eclipse-temurin-8",
        "python-base": "10.0.0.5/hub/library/python:3.6-slim-bullseye",
        "jre": "own/jre:8",
        "mysql": "10.0.0.5/hub/library/mysql:8",
        "redis": "10.0.0.5/hub/library/redis:5",
    }


def test_components_of_base_image_are_linked_through_a_variable_that_can_name_a_published_one() -> None:
    plan = plan_of()
    assert context(plan, "python", "base-image").variable == "BASE_IMAGE"
    assert {v.name: v.value for v in plan.variables}["BASE_IMAGE"] == "target:base-image"


def test_an_unknown_release_lists_the_known_ones() -> None:
    assert problems(version="1.3.9", origins=(("FATE_VERSION", ".env:4"),)) == [
        ".env:4: FATE_VERSION: 1.3.9 is unknown; available: 1.3.0"
    ]
    with pytest.raises(InputError) as error:
        plan_of(version="1.3.9")
    assert error.value.hint == "add 1.3.9 under releases: in the project's catalogue/1.3.yaml (docs/new-image.md)"


def test_selecting_takes_images_and_groups_in_build_order_and_each_once() -> None:
    assert [t.name for t in plan_of().select(["python", "base", "roll", "base-image"])] == [
        "base-image", "roll", "python"
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"pyton: no image and no group of FATE 1.3.0; did you mean python?"):
        plan_of().select(["pyton"])


def test_passwords_and_proxies_are_secret_variables() -> None:
    secret = {v.name for v in plan_of().variables if v.secret}
    assert secret == {"HTTP_PROXY", "HTTPS_PROXY"}


def test_a_platform_limit_lifted_by_an_unknown_key_is_an_error() -> None:
    text = (packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8")
    wrong = text.replace("lifted-by: REQUIREMENTS", "lifted-by: REQUIREMENT")
    with pytest.raises(InputError, match=r"lifted-by: REQUIREMENT is not a key of .env; did you mean REQUIREMENTS?"):
        parse_line(wrong, name="1.3.yaml", family=packaged_family())


def test_an_image_of_ones_own_lifts_the_limit_of_a_third_partys() -> None:
    def mysql(**changes: object) -> tuple[str, ...]:
        return plan_of(version="1.11.4", **changes).target("mysql").platforms

    assert mysql() == ("linux/amd64",)
    assert mysql(images=(("MYSQL_IMAGE", "h/mysql:8.4"),)) == ("linux/amd64", "linux/arm64")


def test_the_licenses_of_an_image_are_those_of_its_home() -> None:
    homes = {t.name: t.main_source for t in plan_of().targets}
    assert {home.licenses for home in homes.values() if home} == {"Apache-2.0"}
    assert homes["packages"] is None
