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
    ("one", "tag", "name"),
    [
        ("versions: {2.2.0: 3.2.0}, ", "2.2.0-release", "one:3.2.0-release"),
        ("versions: {2.2.0: 3.2.0}, ", "v2.2.0", "one:v3.2.0"),
        ("versions: {2.2.0: 3.2.0}, ", "nightly", "one:nightly"),
        ("versions: {2.2.1: 3.2.1}, ", "2.2.0-release", "one:2.2.0-release"),
        ("repository: web/two, tags: [a], ", "t", "web/two:a"),
        ("repository: two, tags: [a], ", "t", "two:a"),
        ('tags: ["${tag}", latest], ', "latest", "one:latest"),
    ],
    ids=["a version of its own", "in any tag", "that is none", "of another release", "a path", "another image's name",
         "a tag that two patterns give"],
)  # fmt: skip
def test_the_name_of_an_image(one: str, tag: str, name: str) -> None:
    plan = plan_of(one, tag=tag)
    assert [plan.target(image).tags for image in ("one", "two")] == [(f"p/{name}",), (f"p/two:{tag}",)]


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
