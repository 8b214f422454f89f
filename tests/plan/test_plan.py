from __future__ import annotations

from dataclasses import replace

import pytest

from generator.catalogue.line import Line, parse_line
from generator.config.settings import Settings
from generator.errors import InputError
from generator.plan.plan import make_plan
from generator.project import packaged_data
from tests.fate_plan import BOTH, packaged_family, packaged_line, plan_of, problems_of


def test_base_images_get_base_tag_components_tag_builders_none_and_a_third_party_image_keeps_its_own() -> None:
    plan = plan_of()
    assert plan.target("base-image").tags == ("localhost:5000/t/base-image:base-1",)
    assert plan.target("egg").tags == ("localhost:5000/t/egg:1",)
    assert plan.target("packages").tags == ()
    assert plan.target("mysql").tags == ("mysql:8",)


def test_the_reason_for_another_platform_is_not_given() -> None:
    reasons = [s.reason for s in plan_of(platforms=("linux/riscv64", "linux/arm64")).unavailable[0].skipped]
    assert reasons[0] == "it is built only for linux/amd64"
    assert "tensorflow 1.15.2" in reasons[1]


def line_of(old: str, new: str) -> Line:
    """The catalogue of FATE 1.3 with one text in it replaced."""
    text = (packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8")
    return parse_line(text.replace(old, new), name="1.3.yaml", family=packaged_family())


@pytest.mark.parametrize("written", ["linux/arm64", "linux/arm64/v8", "linux/aarch64", "linux/arm64/8"])
def test_a_platform_means_the_same_however_the_catalogue_writes_it(written: str) -> None:
    line = line_of("only: [linux/amd64]", f"only: [linux/amd64, {written}]")
    assert make_plan(Settings("p", "b", "t", "1.3.0"), line).target("base-image").platforms == BOTH


def test_a_platform_limit_lifted_by_an_unknown_key_is_an_error() -> None:
    with pytest.raises(InputError, match=r"lifted-by: REQUIREMENT is not a key of .env; did you mean REQUIREMENTS?"):
        line_of("lifted-by: REQUIREMENTS", "lifted-by: REQUIREMENT")


@pytest.mark.parametrize(("path", "directory"), [("r.txt", "."), ("../a/r.txt", "../a"), ("/r.txt", "/")])
def test_the_context_of_a_requirements_list_is_its_directory(path: str, directory: str) -> None:
    target = plan_of(others=(("REQUIREMENTS", path),)).target("base-image")
    assert [context.value for context in target.contexts if context.name == "requirements"] == [directory]


def test_images_without_any_of_the_platforms_are_unavailable_and_in_no_group() -> None:
    plan = plan_of(platforms=("linux/arm64",))
    assert [t.name for t in plan.unavailable] == ["base-image", "egg", "python"]
    assert "base" not in {g.name for g in plan.groups}
    for name in ("python", "base"):
        with pytest.raises(InputError, match=rf"{name}: not built for linux/arm64 .*tensorflow"):
            plan.select([name])


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
        ({"version": "1.3.9", "origins": (("FATE_VERSION", ".env:9"),)},
         ".env:9: FATE_VERSION: 1.3.9 is unknown; available: 1.3.0"),
        ({"sources": (("EGGROLL_SOURCE", "https://git.example.com/e.git#v1.1.4"),),
          "origins": (("EGGROLL_SOURCE", ".env:4"),)},
         ".env:4: EGGROLL_SOURCE: #v1.1.4 is not a commit; eggroll is fetched without its submodules, which needs 40 "
         "hexadecimal digits (git ls-remote https://git.example.com/e.git v1.1.4 prints them)"),
    ],
)  # fmt: skip
def test_a_setting_that_the_catalogue_does_not_know_says_what_it_does(
    changes: dict[str, object], expected: str
) -> None:
    assert problems_of(lambda: plan_of(**changes)) == [expected]


def test_platforms_for_which_no_image_is_built_are_an_error() -> None:
    limited = tuple(image for image in packaged_line("1.3").images if image.name in ("packages", "base-image", "egg"))
    line, settings = replace(packaged_line("1.3"), images=limited), plan_of(platforms=("linux/arm64",)).settings
    wrong = ".env: PLATFORMS: no image of this line is built for linux/arm64"
    assert problems_of(lambda: make_plan(settings, line)) == [wrong]


def test_selecting_takes_images_and_groups_in_build_order_and_each_once() -> None:
    assert [t.name for t in plan_of().select(["python", "base", "roll", "base-image"])] == [
        "base-image", "roll", "python"
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"pyton: FATE 1.3.0 has no image or group of this name; did you mean python?"):
        plan_of().select(["pyton"])


def test_passwords_and_proxies_are_secret_variables() -> None:
    assert {v.name for v in plan_of().variables if v.secret} == {"HTTP_PROXY", "HTTPS_PROXY"}


def test_an_image_of_ones_own_lifts_the_limit_of_a_third_partys() -> None:
    def mysql(**changes: object) -> tuple[str, ...]:
        return plan_of(version="1.11.4", **changes).target("mysql").platforms

    assert mysql() == ("linux/amd64",)
    assert mysql(images=(("MYSQL_IMAGE", "h/mysql:8.4"),)) == ("linux/amd64", "linux/arm64")
