"""What an image's entry says of its tags, and a line of its groups (what bake makes of it: tests/e2e/test_names.py)."""

from __future__ import annotations

import pytest

from generator.catalogue.line import parse_line
from generator.config.settings import Settings
from generator.plan.plan import Plan, make_plan
from tests.fate_plan import problems_of

LINE = """\
line: "2.2"
releases: {2.2.0: {s: {ref: v, commit: "0123456789012345678901234567890123456789"}}}
sources: {s: {git: "https://example.com/s.git"}}
bases: {j: {image: "j:1"}}
images:
  tools: {kind: base, from: j, template: any.j2}
  one: {kind: component, from: tools, template: any.j2}
  two: {kind: component, from: tools, template: any.j2}
"""


def plan_of(one: str = "", more: str = "", tag: str = "2.2.0-release") -> Plan:
    text = LINE.replace("one: {", f"one: {{{one}") + more
    return make_plan(Settings("p", "base-1", tag, "2.2.0"), parse_line(text, name="2.2.yaml"))


@pytest.mark.parametrize(
    ("tag", "tags"),
    [("2.2.0-release", "3.2.0-release"), ("v2.2.0", "v3.2.0"), ("nightly", "nightly")],
)
def test_an_own_version_stands_in_the_tag_where_the_release_stood(tag: str, tags: str) -> None:
    plan = plan_of("versions: {2.2.0: 3.2.0}, ", tag=tag)
    assert [plan.target(name).tags for name in ("one", "two")] == [(f"p/one:{tags}",), (f"p/two:{tag}",)]


def test_the_version_of_another_release_is_not_meant() -> None:
    assert plan_of("versions: {2.2.1: 3.2.1}, ").target("one").tags == ("p/one:2.2.0-release",)


def test_a_name_in_references_may_have_a_path_and_be_that_of_several_images() -> None:
    assert plan_of("repository: web/two, tags: [a], ").target("one").tags == ("p/web/two:a",)
    assert plan_of("repository: two, tags: [a], ").target("one").tags == ("p/two:a",)


@pytest.mark.parametrize(
    ("one", "tag", "values"),
    [
        ("", "x", {"x"}),
        ('tags: ["${tag}", "${tag}-cpu", latest], ', "x-cpu", {"x", "x-cpu"}),
        ('tags: ["${tag}", latest], ', "latest", set()),
        ("versions: {2.2.0: 3.2.0}, ", "3.2.0-mine", {"2.2.0-mine"}),
        ('tags: ["v${tag}"], ', "x", set()),
    ],
)
def test_a_tag_tells_which_settings_gave_it(one: str, tag: str, values: set[str]) -> None:
    assert plan_of(one).target("one").settings_of(tag) == values


def test_a_tag_that_another_pattern_gives_too_is_written_once() -> None:
    assert plan_of('tags: ["${tag}", latest], ', tag="latest").target("one").tags == ("p/one:latest",)


def test_a_line_has_more_groups() -> None:
    plan = plan_of(more="groups: {few: [two, tools]}\n")
    assert [target.name for target in plan.select(["few"])] == ["tools", "two"]


@pytest.mark.parametrize(
    ("one", "more", "said"),
    [
        ('tags: ["a b"], ', "", '2.2.yaml:7: "a b" is not a tag'),
        ('tags: ["${tga}"], ', "", '2.2.yaml:7: "${tga}" is not a tag'),
        ("tags: [-a], ", "", '.env: TAG: p/one:-a, a tag of one: it must not begin with "-"'),
        ('tags: [a, "a"], ', "", "2.2.yaml:7: one: a is listed twice"),
        (f"repository: {'x' * 254}, ", "", ".env: PREFIX: p/xxx"),
        ("repository: A/b, ", "", '2.2.yaml:7: "A/b" is not a repository'),
        ("repository: a//b, ", "", '2.2.yaml:7: "a//b" is not a repository'),
        ("repository: two, ", "", "2.2.yaml:8: image two: the tag p/two:2.2.0-release is that of image one too"),
        ("stage: A B, ", "", '2.2.yaml:7: "A B" is not a name'),
        ("args: {a: b}, ", "", '2.2.yaml:7: "a" is not a key'),
        ("", "groups: {all: [one]}\n", "2.2.yaml:9: group all: a group of images has this name; choose another"),
        ("", "groups: {one: [two]}\n", "2.2.yaml:9: group one: an image has this name; choose another"),
        ("", "groups: {few: [tow]}\n", "2.2.yaml:9: group few: unknown image tow; did you mean two?"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(one: str, more: str, said: str) -> None:
    [problem] = problems_of(lambda: plan_of(one, more))
    assert problem.startswith(said)
