"""What buildx reads is what was planned, whatever the names and texts in the catalogue and the form of ``.env``."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.config.env import parse_settings
from generator.config.settings import Keys, key_of
from generator.errors import InputError
from generator.plan.plan import Context, Plan
from generator.project import Project
from generator.render.tree import write
from generator.workspace import load
from tests.catalogues import WORDS, as_text, catalogues
from tests.e2e.conftest import fategen, succeeded
from tests.fate_plan import packaged_line, put
from tests.hostile import hostile_strings, unprinted

TEMPLATE = """\
# {{ header }}
{% import "macros.j2" as m %}
{{ m.source_stages(image.sources) }}
{% for name in image.parents | list + image.bases | map(attribute="reference") | list %}
FROM {{ name }}{{ " AS " ~ image.stage if image.stage and loop.first }}
{% endfor %}
"""
FIXED = ("PREFIX", "BASE_TAG", "TAG", "HTTP_PROXY", "CACHE_TO")
REQUIRED = "PREFIX=p\nBASE_TAG=b\nTAG=1.0.0-t\n"
quick = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["OLD", "NEW"])
def buildx(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of the oldest or a new buildx."""
    return {**os.environ, "DOCKER_CONFIG": os.environ[f"FATEGEN_SANDBOX_BUILDX_{request.param}"]}


@pytest.fixture(scope="module")
def shell(buildx: dict[str, str]) -> dict[str, str]:
    """A shell with a variable for each of the odd names."""
    return {**{key_of(word): "from the shell" for word in WORDS if not word[0].isdigit()}, **buildx}


def print_bake(directory: Path, env: dict[str, str], *targets: str) -> Any:
    command = ["docker", "buildx", "bake", "-f", "out/docker-bake.hcl", "--print", *targets]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plan_in(directory: Path, catalogue: dict[str, Any]) -> Plan:
    put(directory, ".env", REQUIRED + "FATE_VERSION=1.0.0\n")
    put(directory, "catalogue/1.0.yaml", as_text(catalogue))
    put(directory, "templates/dockerfiles/any.Dockerfile.j2", TEMPLATE)
    workspace = load(Project(directory))
    write(workspace.drift(), directory)
    return workspace.plan


@quick
@given(catalogues())
def test_plain_bake_reads_the_graph_that_was_planned(shell: dict[str, str], catalogue: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            plan = plan_in(Path(directory), catalogue)
        except InputError as error:
            assert all(problem.where.startswith(("catalogue/1.0.yaml:", ".env")) for problem in error.problems), error
            return
        # a variable with the name of one of ours is meant for it
        ours = {v.name for v in plan.variables if v.name in FIXED or v.name.endswith(("_IMAGE", "_SOURCE"))}
        others = {name: value for name, value in shell.items() if name not in ours}
        names = [named.name for named in (*plan.targets, *plan.groups)]
        found = print_bake(Path(directory), others, *names)
    values = {variable.name: variable.value for variable in plan.variables}

    def value(context: Context) -> str:
        return f"target:{context.target}" if context.target else values[context.variable]

    assert sorted(found["target"]) == sorted(target.name for target in plan.targets)
    for target in plan.targets:
        read = found["target"][target.name]
        assert read.get("contexts", {}) == {context.name: value(context) for context in target.contexts}
        assert read["platforms"] == list(target.platforms)
        assert target.inherits or read.get("tags", []) == list(target.tags)
        assert {arg.name: arg.value for arg in target.args}.items() <= read.get("args", {}).items()
        assert read.get("target", "") == target.stage
    # "default" is what was asked for
    for group in (group for group in plan.groups if group.name != "default"):
        assert sorted(found["group"][group.name]["targets"]) == sorted(group.images)


PIECES = (
    "KEY", "TAG", "'", '"', "\\", "=", ":", " ", "\t", "\n", "\r", "#", "$", "${", "export ", "\ufeff", "\u00a0",
    "\u2003", "\x0b", "\x1c", "é", "a", "-", ".", "\\'", '\\"', "''", '""',
)  # fmt: skip


@quick
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_render_reads_in_an_env_buildx_can_read_too(shell: dict[str, str], text: str) -> None:
    # most texts of their own are refused: a value in any form is what the two read differently
    text = f"{REQUIRED}MY_KEY={text}"
    try:
        parse_settings(text, Keys())
    except InputError:
        return
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / ".env").write_text(text, encoding="utf-8", newline="")
        put(Path(directory), "out/docker-bake.hcl", 'target "default" {}\n')
        print_bake(Path(directory), shell)


VALUES = sorted(set(hostile_strings()))


def test_hundreds_of_hostile_texts_go_from_the_catalogue_through_render_into_bake_unchanged(
    buildx: dict[str, str], tmp_path: Path
) -> None:
    # the others are refused (tests/catalogue/test_catalogue.py), and an empty text is no label
    values = [v for v in VALUES if v and v.isprintable()]
    assert len(values) > 300
    image = {"kind": "component", "from": "base", "template": "x.j2"}
    images = {f"image{i}": {**image, "description": value} for i, value in enumerate(values)}
    line = {"line": "1.3", "releases": {"1.3.0": {}}, "sources": {}, "bases": {"base": {"image": "a:1"}}}
    put(tmp_path, ".env", REQUIRED)
    put(tmp_path, "catalogue/1.3.yaml", yaml.safe_dump({**line, "images": images}))
    put(tmp_path, "templates/dockerfiles/x.j2", "# {{ header }}\nFROM scratch\n")
    succeeded(fategen("render", cwd=tmp_path))
    targets = print_bake(tmp_path, buildx, "all")["target"]
    seen = [targets[name]["labels"]["org.opencontainers.image.description"] for name in images]
    if buildx["DOCKER_CONFIG"] == os.environ["FATEGEN_SANDBOX_BUILDX_NEW"]:
        seen = [unprinted(text) for text in seen]
    assert seen == values


@pytest.mark.parametrize("key", ["FATE_SOURCE", "REQUIREMENTS", "PIP_INDEX_URL", "HTTP_PROXY", "PREFIX", "TAG"])
def test_a_hostile_value_in_env_is_refused_with_its_line_or_survives(tmp_path: Path, key: str) -> None:
    survivors = []
    for value in VALUES:
        required = REQUIRED.replace(f"{key}=", f"{key}={value}")
        text = required if key in REQUIRED else f"{REQUIRED}{key}={value}\n"
        try:
            survivors.append((text, parse_settings(text, packaged_line("1.3").keys)[0].sources))
        except InputError as error:
            assert all(p.where.startswith(".env:") for p in error.problems), (value, error.problems)
    if key == "FATE_SOURCE":
        # the others are blank
        survivors = [(text, sources) for text, sources in survivors if sources]
        assert len(survivors) > 10
    for text, sources in survivors[:: max(1, len(survivors) // 4)]:
        (tmp_path / ".env").write_text(text, encoding="utf-8", newline="")
        succeeded(fategen("render", cwd=tmp_path))
        targets = print_bake(tmp_path, dict(os.environ), "all")["target"]
        if sources:
            assert targets["base-image"]["contexts"]["fate"] == sources[0][1]


def test_plain_bake_reads_the_committed_file_and_sees_the_tags_of_the_plan(buildx: dict[str, str]) -> None:
    root = Path(__file__).parents[2]
    targets = print_bake(root, buildx, "all")["target"]
    listed = fategen("images", "all", "--format", "references", cwd=root).out.split()
    assert sorted(t for target in targets.values() for t in target.get("tags", [])) == sorted(listed)
