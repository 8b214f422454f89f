"""A project's catalogue that ``extends: packaged`` changes single parts of the packaged line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from generator.catalogue.line import Line, parse_line
from generator.cli import cli
from generator.errors import InputError
from generator.project import Project, packaged_data
from generator.workspace import load
from tests.fate_plan import packaged_family, problems_of, put
from tests.pages import ROOT, schema_text

HEAD = 'line: "1.3"\nextends: packaged\n'
CHANGES = (
    HEAD
    + """\
releases:
  1.3.1:
    fate: {ref: v1.3.1, commit: "0123456789012345678901234567890123456789"}
    eggroll: {ref: v1.1.5, commit: "0123456789012345678901234567890123456789"}
    fateboard: {ref: v1.3.1, commit: "0123456789012345678901234567890123456789"}
    lmdb-safe: {ref: master, commit: "0123456789012345678901234567890123456789"}
bases:
  jre: {image: "registry.example.com/jre:8"}
contracts:
  java: {size: 700 MB}
keys:
  CARGO_INDEX: {type: url, doc: index of crates}
images:
  roll:
    with: {port: "9999"}
  fateboard:
  mysql: {image: "mysql:8.4"}
  tools: {kind: component, from: jre, needs: [packages], template: java.Dockerfile.j2, with: {port: "1", command: [a]}}
party:
"""
)


def changed(text: str) -> Line:
    packaged = (packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8")
    given = {"packaged 1.3.yaml": packaged}
    return parse_line(text, name="catalogue/1.3.yaml", family=packaged_family(), other=given.get)


def test_parts_are_changed_added_and_dropped_each_with_its_place() -> None:
    line = changed(CHANGES)
    images = {image.name: image for image in line.images}
    assert "fateboard" not in images and images["tools"].from_ == "jre"
    assert images["mysql"].image == "mysql:8.4"
    roll = {param.name: param for param in images["roll"].params}
    assert (roll["port"].value, roll["port"].where) == ("9999", "catalogue/1.3.yaml:17")
    assert roll["command"].where.startswith("packaged catalogue/1.3.yaml:")
    assert images["roll"].contract.size is not None and images["roll"].contract.size.name == "700 MB"
    assert images["roll"].contract.workdir is not None, "the rest of the contract stays"
    assert [release.version for release in line.releases] == ["1.3.0", "1.3.1"]
    assert {base.name: base.image for base in line.bases}["jre"] == "registry.example.com/jre:8"
    assert "CARGO_INDEX" in line.keys.names and "PIP_INDEX_URL" in line.keys.names


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("images: {rol: {with: {}}}\n", "catalogue/1.3.yaml:3: kind: missing"),
        ("images: {rol: {with: {}}}\n", "catalogue/1.3.yaml:3: rol: a new image without a kind; did you mean roll?"),
        ("images: {roll: {form: jre}}\n", "catalogue/1.3.yaml:3: form: unknown key; did you mean from?"),
        ("images: {roll: {from: jer}}\n", "catalogue/1.3.yaml:3: roll: unknown parent jer; did you mean jre?"),
        ("images: {gone: }\n", "catalogue/1.3.yaml:3: expected a mapping, found nothing"),
        ("images: {roll: {kind: base}, roll: {from: jre}}\n", "catalogue/1.3.yaml:3: roll is set twice, first at"),
        ("bases: {jre: }\n", "packaged catalogue/1.3.yaml:"),
        ("keys: {TAG: {type: text, doc: x}}\n", "catalogue/1.3.yaml:3: TAG: every project has this key"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_file_that_has_it(more: str, said: str) -> None:
    assert any(problem.startswith(said) for problem in problems_of(lambda: changed(HEAD + more)))


def test_a_file_that_only_lacks_extends_is_told_so(project_dir: Path) -> None:
    put(project_dir, "catalogue/1.3.yaml", "line: '1.3'\nimages: {roll: {from: jre}}\n")
    with pytest.raises(InputError) as caught:
        load(Project(project_dir))
    hint = "this file replaces the whole packaged line; to change only parts of it, add extends: packaged"
    assert caught.value.hint == hint


@pytest.mark.parametrize("image", ["redis", "mysql", "proxy"])
def test_who_drops_an_image_of_the_party_is_told_to_drop_the_party(image: str, project_dir: Path) -> None:
    """Whether a smoke command or out/compose.yaml needs it."""
    put(project_dir, "catalogue/1.3.yaml", f"{HEAD}images: {{{image}: }}\n")
    advice = f"{image}; a catalogue that drops it must drop the party too: party: with no value"
    with pytest.raises(InputError, match=re.escape(advice)) as caught:
        load(Project(project_dir))
    assert all(problem.where.startswith("packaged ") for problem in caught.value.problems)
    put(project_dir, "catalogue/1.3.yaml", f"{HEAD}images: {{{image}: }}\nparty:\n")
    assert "out/compose.yaml" not in load(Project(project_dir)).tree


def test_a_key_that_is_no_text_in_an_extended_line_is_told() -> None:
    texts = {"1.0.yaml": "line: '1.0'\n? [a]\n: b\n"}
    with pytest.raises(InputError, match=r"catalogue/1\.0\.yaml:2: expected text, found a list"):
        parse_line("line: '1.1'\nextends: '1.0'\n", name="catalogue/1.1.yaml", other=texts.get)


def test_the_schema_takes_what_changes_a_line_and_nothing_else() -> None:
    validator = jsonschema.Draft7Validator(json.loads(schema_text()))
    assert validator.is_valid(yaml.safe_load(CHANGES))
    assert not validator.is_valid(yaml.safe_load(CHANGES.replace("extends: packaged\n", "")))
    assert not validator.is_valid(yaml.safe_load(CHANGES.replace("with:", "wiht:")))


def test_explain_says_which_file_and_line_a_value_is_from(project_dir: Path) -> None:
    put(project_dir, "catalogue/1.3.yaml", CHANGES.replace("  fateboard:\n", ""))
    put(project_dir, ".env.local", "NO_PROXY=secret.example.com\n")
    with (project_dir / ".env").open("a", encoding="utf-8") as env:
        env.write("PIP_INDEX_URL=https://pypi.example.com\nFATE_SOURCE=../FATE\n")

    def explained(name: str) -> dict[str, list[str]]:
        ran = CliRunner().invoke(cli, ["explain", name, "-C", str(project_dir)])
        rows = [re.split("  +", line) for line in ran.output.splitlines()]
        return {row[0]: [re.sub(r"yaml:\d+", "yaml:N", cell) for cell in row[1:]] for row in rows}

    roll = explained("roll")
    expected = {
        "with.port": ["catalogue/1.3.yaml:N", "9999"],
        "from": ["packaged catalogue/1.3.yaml:N", "jre"],
        "base jre": (jre := ["catalogue/1.3.yaml:N", "registry.example.com/jre:8"]),
        "template file": ["packaged templates/dockerfiles/java.Dockerfile.j2"],
        "contract.size": ["catalogue/1.3.yaml:N", "700 MB"],
        "built for": ["default", "linux/amd64 linux/arm64"],
    }
    assert {name: roll[name] for name in expected} == expected
    assert [roll[f"contract.{name}"][1] for name in ("ports", "user", "entrypoint")] == ["9999", '""', '""']
    assert roll["with.command"][1].startswith("java -cp conf/:lib/*:fate-roll.jar ")
    assert roll["contract.command"][1].startswith("java -cp 'conf/:lib/*:fate-roll.jar' ")
    assert roll["contract.environment"][1].startswith("JAVA_HOME: ")
    assert roll["TAG"][0].startswith(".env:")
    assert explained("python")["source fate"] == [".env:5", "../FATE"]
    assert explained("jre") == explained("JRE_IMAGE") and explained("jre")["JRE_IMAGE"] == jre
    assert explained("fate")["FATE_SOURCE"] == explained("FATE_SOURCE")["FATE_SOURCE"] == [".env:5", "../FATE"]
    assert explained("PIP_INDEX_URL")["PIP_INDEX_URL"] == [".env:4", "https://pypi.example.com"]
    assert explained("NPM_REGISTRY")["NPM_REGISTRY"] == ["default (packaged catalogue/family.yaml:N)"]
    assert explained("NO_PROXY")["NO_PROXY"] == [".env.local:1", "(not shown)"]


def test_what_is_neither_an_image_nor_a_key_cannot_be_explained(project_dir: Path) -> None:
    ran = CliRunner().invoke(cli, ["explain", "rol", "-C", str(project_dir)])
    assert str(ran.exception) == "rol: no image, base or source of FATE 1.3.0 and no key of .env; did you mean roll?"


def test_a_packaged_line_that_extends_another_one_has_the_changes_of_the_project(project_dir: Path) -> None:
    changes = 'extends: packaged\nbases:\n  jre: {image: "registry.example.com/jre:8"}\n'
    put(project_dir, "catalogue/2.2.yaml", f'line: "2.2"\n{changes}')
    tree = load(Project(project_dir), sets=["FATE_VERSION=2.1.1"]).tree
    assert "FROM registry.example.com/jre:8" in tree["dockerfiles/osx/Dockerfile"]


@pytest.mark.parametrize("release", ["1.9.2", "1.10.0", "1.11.4"])
def test_a_project_with_the_files_of_fate_spark_has_its_images_in_addition(project_dir: Path, release: str) -> None:
    """examples/fate-spark: what a project of FATE 1.9 to 1.11 copies."""
    before = set(load(Project(project_dir), sets=[f"FATE_VERSION={release}"]).tree)
    shutil.copytree(ROOT / "examples/fate-spark", project_dir, dirs_exist_ok=True)
    workspace = load(Project(project_dir), sets=[f"FATE_VERSION={release}"])
    added = {"fateflow-spark", "spark-master", "spark-worker", "nginx"}
    assert set(workspace.tree) - before == {f"dockerfiles/{name}/Dockerfile" for name in added}
    targets = {target.name: target for target in workspace.plan.targets}
    assert targets["nginx"].platforms == ("linux/amd64", "linux/arm64")
    worker = targets["spark-worker"].contract
    assert worker.command is not None and worker.command.value[-1].endswith("--webui-port 8081 $SPARK_MASTER")
    assert worker.ports is not None
    assert {port.name for port in worker.ports.value} == {"9360", "9380", "7078", "8081"}
