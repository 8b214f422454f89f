"""What a build downloads: the list for whoever mirrors it."""

from __future__ import annotations

import pytest
import yaml

from generator.plan.plan import Plan, linked
from generator.render.external import KINDS, External, externals, maven_mirrors, skopeo_sync
from tests.conftest import Run
from tests.fate_plan import plan_of, rendered


def listed(plan: Plan, *names: str, dockerfile: str = "", maven_settings: str = "") -> dict[str, list[External]]:
    tree = rendered(plan)
    if dockerfile:
        tree[f"dockerfiles/{names[0]}/Dockerfile"] = dockerfile
    targets = linked(plan.targets, [target.name for target in plan.select(names)])
    found = externals(plan, tree, targets, maven_settings=maven_settings)
    return {kind: [row for row in found if row.kind == kind] for kind in KINDS}


def test_an_image_lists_what_its_parents_ask_for() -> None:
    found = listed(plan_of(), "federation")
    assert [row.upstream for row in found["image"]] == ["eclipse-temurin:8-jre", "maven:3.9-eclipse-temurin-8"]
    assert [row.images for row in found["maven"]] == [("packages",)]
    assert len(found["git"]) == 3 and not found["apt"] and not found["pip"]


def test_each_thing_is_listed_once_with_every_image_that_needs_it() -> None:
    (apt,) = listed(plan_of(), "all")["apt"]
    assert (apt.images, apt.key) == (("base-image", "egg"), "APT_MIRROR")


OWN = ("MYSQL_IMAGE", "own.example.com/db:1")
PYPI, WHEELS, NPM = "https://pypi.example.com/simple", "https://wheels.example.com/", "https://npm.example.com"


LINE_1_11 = {"version": "1.11.4"}


def key(name: str, value: str) -> dict[str, object]:
    """Settings with a key of the catalogue."""
    return {"others": ((name, value),)}


@pytest.mark.parametrize(
    ("settings", "image", "kind", "asked"),
    [
        ({"base_registry": "mirror.example.com"}, "mysql", "image", ["mirror.example.com/library/mysql:8"]),
        ({"base_registry": "mirror.example.com", "images": (OWN,)}, "mysql", "image", [OWN[1]]),
        (key("APT_MIRROR", "http://deb.example.com/debian"), "base-image", "apt", ["http://deb.example.com/debian"]),
        (key("PIP_INDEX_URL", PYPI), "base-image", "pip", [PYPI]),
        # indexes that the requirements name are told until those of .env stand for them
        (LINE_1_11, "base-image", "pip", ["pip's default index", "the indexes in FATE's own requirements"]),
        ({**LINE_1_11, **key("PIP_INDEX_URL", PYPI)}, "base-image", "pip", [PYPI]),
        ({**LINE_1_11, **key("PIP_EXTRA_INDEX_URL", WHEELS)}, "base-image", "pip", [WHEELS, "pip's default index"]),
        (LINE_1_11, "fateboard", "npm", ["npm's default registry"]),
        ({**LINE_1_11, **key("NPM_REGISTRY", NPM)}, "fateboard", "npm", [NPM]),
    ],
)
def test_settings_say_where_things_are_asked_for(
    settings: dict[str, object], image: str, kind: str, asked: list[str]
) -> None:
    assert [row.asked for row in listed(plan_of(**settings), image)[kind]] == asked


def test_a_mirror_is_named_beside_what_it_is_a_mirror_of() -> None:
    (row,) = listed(plan_of(base_registry="mirror.example.com"), "mysql")["image"]
    assert (row.upstream, row.key) == ("mysql:8", "MYSQL_IMAGE")


def test_a_local_source_is_asked_of_nobody() -> None:
    plan = plan_of(sources=(("FATE_SOURCE", "../FATE"),))
    assert not [row for row in listed(plan, "python")["git"] if "FATE" in row.upstream]


def test_the_sbom_scanner_is_an_image_too_and_comes_from_the_mirror() -> None:
    plan = plan_of(sbom=True, base_registry="mirror.example.com")
    rows = listed(plan, "mysql")["image"]
    scanner = "mirror.example.com/docker/buildkit-syft-scanner:stable-1"
    assert scanner in [row.asked for row in rows]
    assert f"type=sbom,generator={scanner}" in rendered(plan)["out/docker-bake.hcl"]


def test_addresses_and_images_in_a_template_of_ones_own_are_found() -> None:
    text = (
        "# see https://docs.example.com/why\nFROM ghcr.io/x/y:1 AS z\nCOPY --from=quay.io/a/b@sha256:"
        + "0" * 64
        + " / /\nRUN curl -O https://files.example.com/a.tar.gz\nFROM z\n"
    )
    found = listed(plan_of(), "fateboard", dockerfile=text)
    assert {row.upstream for row in found["image"]} >= {"ghcr.io/x/y:1", f"quay.io/a/b@sha256:{'0' * 64}"}
    assert [row.upstream for row in found["url"]] == ["https://files.example.com/a.tar.gz"]


def test_mavens_mirrors_are_read_from_its_settings_without_logins() -> None:
    settings = """<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><id>a</id>
      <url> https://me:secret@nexus.example.com/maven2 </url></mirror></mirrors>
      <profiles><profile><url>https://no</url></profile></profiles></settings>"""
    assert maven_mirrors(settings) == ["https://nexus.example.com/maven2"]
    (row,) = listed(plan_of(), "packages", maven_settings=settings)["maven"]
    assert row.asked == "https://nexus.example.com/maven2"


@pytest.mark.parametrize("login", ["me:p@ss@", "token@", "me:pa?#ss@", ""])
def test_a_mirrors_login_is_hidden_up_to_the_last_at_sign(login: str) -> None:
    settings = f"<s><mirror><url>https://{login}nexus.example.com/a//b@c</url></mirror></s>"
    assert maven_mirrors(settings) == ["https://nexus.example.com/a//b@c"]
    assert maven_mirrors(settings[:-1]) == maven_mirrors("") == [], "it is no XML"


def test_skopeo_gets_registries_repositories_and_tags_or_digests() -> None:
    digest = "sha256:" + "a" * 64
    names = ("maven:3", "maven:4", "org/x", f"quay.io/x/y:1@{digest}", "maven:3")
    assert skopeo_sync([External("image", name, name, "", ()) for name in names]) == {
        "docker.io": {"images": {"library/maven": ["3", "4"], "org/x": ["latest"]}},
        "quay.io": {"images": {"x/y": [digest]}},
    }


def test_the_command_prints_what_skopeo_reads_of_what_is_external(fategen: Run) -> None:
    printed = fategen("images", "mysql", "--external", "--format", "skopeo")[1]
    assert yaml.safe_load(printed) == {"docker.io": {"images": {"library/mysql": ["8"]}}}
    assert "add --external" in fategen("images", "--format", "skopeo")[2]
