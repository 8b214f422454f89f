"""What is made of a catalogue's names is unique and means only one thing, or is refused with both lines."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given

from generator.catalogue.line import parse_line
from generator.config.settings import Settings
from generator.errors import InputError
from generator.plan.plan import Plan, make_plan
from tests.catalogues import COMMIT, as_text, catalogues
from tests.fate_plan import packaged_family, problems_of

SETTINGS = Settings("p", "t", "t", version="1.0.0")


def plan_of(text: str, settings: Settings = SETTINGS) -> Plan:
    return make_plan(settings, parse_line(text, name="1.0.yaml", family=packaged_family()))


@given(catalogues())
def test_a_catalogue_gives_its_own_graph_or_an_error_with_a_line(catalogue: dict[str, Any]) -> None:
    try:
        plan = plan_of(as_text(catalogue))
    except InputError as error:
        assert all(re.match(r"1\.0\.yaml:\d+$|\.env", problem.where) for problem in error.problems)
        return
    names = [*(target.name for target in plan.targets), *(group.name for group in plan.groups)]
    assert len(names) == len(set(names))
    variables = [variable.name for variable in plan.variables]
    assert len(variables) == len(set(variables))
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*", name) for name in variables)
    fixed = {variable.name for variable in plan.variables if variable.value == "" or variable.name in ("PREFIX", "TAG")}
    assert not [name for name in fixed if name.endswith(("_IMAGE", "_SOURCE"))]
    tags = [tag for target in plan.targets for tag in target.tags]
    assert len(tags) == len(set(tags))
    targets = {target.name: target for target in plan.targets}
    for target in plan.targets:
        entry = catalogue["images"][target.inherits or target.name]
        wanted = {name for name in (entry.get("from"), *entry.get("needs", ())) if name in catalogue["images"]}
        linked = {c.name: targets[c.target] for c in target.contexts if c.target}
        assert {name: parent.inherits or parent.name for name, parent in linked.items()} == {n: n for n in wanted}
        assert all(parent.platforms == target.platforms for parent in linked.values())
        assert {c.name for c in target.contexts if not c.target} == set(entry.get("sources", ()))


def catalogue(sources: str = "s: {git: https://h/s.git}", bases: str = 'j: {image: "j:1"}', images: str = "") -> str:
    refs = ", ".join(f"{name}: {{ref: v, commit: '{COMMIT}'}}" for name in re.findall(r"^ *([\w-]+):", sources, re.M))
    return (
        f'line: "1.0"\nreleases: {{1.0.0: {{{refs}}}}}\nsources:\n  {sources}\nbases:\n  {bases}\n'
        f"images:\n  {images or 'first: {kind: component, from: j}'}\n  last: {{kind: component, from: j}}\n"
    )


def refused(text: str, settings: Settings = SETTINGS) -> list[str]:
    return problems_of(lambda: plan_of(text, settings))


BASE, COMPONENT = "{kind: base, from: j}", "{kind: component, from: j}"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"images": f"a-b: {BASE}\n  a_b: {BASE}"},
         "1.0.yaml:9: image a_b: the variable A_B_IMAGE is that of image a-b too (1.0.yaml:8); rename one"),
        ({"images": f"a: {BASE}\n  a-image: {BASE}"},
         "1.0.yaml:9: image a-image: the variable A_IMAGE is that of image a too (1.0.yaml:8); rename one"),
        ({"images": f"j-image: {BASE}"},
         "1.0.yaml:8: image j-image: the variable J_IMAGE is that of base j too (1.0.yaml:6); rename one"),
        ({"images": "d-b: {kind: third-party, image: 'd:1'}\n  d_b: {kind: third-party, image: 'd:2'}"},
         "1.0.yaml:9: image d_b: the variable D_B_IMAGE is that of image d-b too (1.0.yaml:8); rename one"),
        ({"sources": "x-y: {git: https://h/s.git}\n  x_y: {git: https://h/t.git}"},
         "1.0.yaml:5: source x_y: the variable X_Y_SOURCE is that of source x-y too (1.0.yaml:4); rename one"),
        ({"sources": "x: {git: https://h/s.git, fetch-in: j}\n  x-git: {git: https://h/t.git}"},
         "1.0.yaml:4: source x: the stage x-git is that of source x-git too (1.0.yaml:5); rename one"),
        ({"sources": "x: {git: https://h/s.git, fetch-in: j}", "images": f"x-git: {COMPONENT}"},
         "1.0.yaml:4: source x: the stage x-git is that of image x-git too (1.0.yaml:8); rename one"),
        ({"images": f"7zip: {BASE}"},
         "1.0.yaml:8: image 7zip: its variable would be 7ZIP_IMAGE, and none begins with a digit"),
        ({"sources": "7zip: {git: https://h/s.git}"},
         "1.0.yaml:4: source 7zip: its variable would be 7ZIP_SOURCE, and none begins with a digit"),
        ({"images": f"12: {COMPONENT}"},
         "1.0.yaml:8: image 12: a Dockerfile would read it as the number of a stage; choose another name"),
        *(({"images": f"{name}: {COMPONENT}"}, f"1.0.yaml:8: image {name}: {name} is a group of images; choose")
          for name in ("default", "base", "components", "third-party", "all")),
        ({"images": f"scratch: {COMPONENT}"}, "1.0.yaml:8: image scratch: scratch is BuildKit's name of the empty"),
        ({"sources": "context: {git: https://h/s.git}"}, "1.0.yaml:4: source context: context is BuildKit's name of"),
        ({"sources": "requirements: {git: https://h/s.git}"}, "1.0.yaml:4: source requirements: requirements is the c"),
        ({"images": f"bake: {COMPONENT}"}, "1.0.yaml:8: image bake: bake is the log of what belongs to no image"),
        ({"images": "b: {kind: builder, from: j}\n  b-linux-amd64: {kind: component, from: j}\n"
                    "  c: {kind: component, from: b, platforms: {only: [linux/amd64], because: x}}"},
         "1.0.yaml:9: image b-linux-amd64: the target b-linux-amd64 is that of image b too (1.0.yaml:8); rename one"),
        ({"images": f"a: {COMPONENT}\n  d: {{kind: third-party, image: 'docker.io/p/a:t'}}"},
         "1.0.yaml:9: image d: the tag docker.io/p/a:t is that of image a too (1.0.yaml:8); rename one"),
    ],
)  # fmt: skip
def test_a_name_that_would_mean_two_things_is_refused(parts: dict[str, str], said: str) -> None:
    [problem] = refused(catalogue(**parts))
    assert problem.startswith(said)


def test_a_third_party_image_with_a_digest_is_loaded_under_its_tag() -> None:
    pinned = f"r.io/p/db:1@sha256:{'0' * 64}"
    db = plan_of(catalogue(images=f"db: {{kind: third-party, image: '{pinned}'}}")).target("db")
    assert (db.tags, db.reference, db.repository) == (("r.io/p/db:1",), pinned, "db")


@pytest.mark.parametrize("name", ["http-proxy", "cache-to", "tag", "prefix", "lang", "path", "home", "docker-config"])
def test_a_base_image_may_be_called_like_a_variable(name: str) -> None:
    plan = plan_of(catalogue(images=f"{name}: {BASE}\n  child: {{kind: component, from: {name}}}"))
    variable = f"{name.upper().replace('-', '_')}_IMAGE"
    assert [(c.target, c.variable) for c in plan.target("child").contexts] == [(name, variable)]
    assert [v.value for v in plan.variables if v.name == variable] == [f"target:{name}"]


def test_a_source_that_buildkit_fetches_has_no_stage_whose_name_is_taken() -> None:
    plan = plan_of(catalogue(sources="x: {git: https://h/s.git}", images=f"x-git: {COMPONENT}"))
    assert plan.target("x-git").tags == ("p/x-git:t",)


def test_what_is_listed_twice_is_refused() -> None:
    text = catalogue(images="c: {kind: component, from: j, needs: [j], sources: [s, s]}")
    assert refused(text) == ["1.0.yaml:8: c: j is listed twice", "1.0.yaml:8: c: s is listed twice"]


def test_a_name_with_an_underscore_can_be_overridden_too() -> None:
    bases = "j: {image: 'j:1'}\n  j_k: {image: 'j:2'}"
    text = catalogue("x_y: {git: https://h/s.git}", bases, "c: {kind: component, from: j_k, sources: [x_y]}")
    changed = Settings(
        "p", "t", "t", version="1.0.0",
        sources=(("X_Y_SOURCE", "../x"),), images=(("J_K_IMAGE", "k:2"),),
    )  # fmt: skip
    target = plan_of(text, changed).target("c")
    assert (target.sources[0].location, target.bases[0].reference) == ("../x", "k:2")
