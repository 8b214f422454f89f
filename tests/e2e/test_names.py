"""What buildx reads is what was planned, whatever the names in the catalogue and the form of ``.env``."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.config.env import parse_settings
from generator.config.settings import key_of
from generator.errors import InputError
from generator.plan.plan import Context, Plan
from generator.project import Project
from generator.render.tree import write
from generator.workspace import load
from tests.catalogues import WORDS, as_text, catalogues

TEMPLATE = """\
# {{ header }}
{% import "macros.j2" as m %}
{{ m.source_stages(image.sources) }}
{% for name in image.parents + image.bases | map(attribute="reference") | list %}
FROM {{ name }}
{% endfor %}
"""
FIXED = ("PREFIX", "BASE_TAG", "TAG", "HTTP_PROXY", "CACHE_TO")
REQUIRED = "PREFIX=p\nBASE_TAG=b\nTAG=t\n"
quick = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["OLD", "NEW"])
def shell(request: pytest.FixtureRequest) -> dict[str, str]:
    """A shell with the oldest or a new buildx, and with a variable for each of the odd names."""
    config = os.environ.get(f"FATEGEN_SANDBOX_BUILDX_{request.param}")
    if not config:
        pytest.fail("no buildx: run scripts/test, or see tests/sandbox/README.md")
    odd = {key_of(word): "from the shell" for word in WORDS if not word[0].isdigit()}
    return {**odd, **os.environ, "DOCKER_CONFIG": config}


def print_bake(directory: Path, shell: dict[str, str], *targets: str) -> Any:
    command = ["docker", "buildx", "bake", "-f", "out/docker-bake.hcl", "--print", *targets]
    done = subprocess.run(command, cwd=directory, env=shell, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plan_in(directory: Path, catalogue: dict[str, Any]) -> Plan:
    files = {
        ".env": REQUIRED + "FATE_VERSION=1.0.0\n",
        "catalogue/1.0.yaml": as_text(catalogue),
        "templates/dockerfiles/any.Dockerfile.j2": TEMPLATE,
    }
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
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
            assert all(problem.where for problem in error.problems)
            return
        # a variable with the name of one of ours is meant for it
        others = {name: value for name, value in shell.items() if name not in FIXED}
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
    for group in plan.groups:
        assert sorted(found["group"][group.name]["targets"]) == sorted(group.targets)


PIECES = (
    "KEY", "TAG", "'", '"', "\\", "=", ":", " ", "\t", "\n", "\r", "#", "$", "${", "export ", "\ufeff", "\u00a0",
    "\u2003", "\x0b", "\x1c", "é", "a", "-", ".", "\\'", '\\"', "''", '""',
)  # fmt: skip


@quick
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_render_reads_in_an_env_buildx_can_read_too(shell: dict[str, str], text: str) -> None:
    text = REQUIRED + f"MY_KEY=1\n{text}"
    try:
        parse_settings(text)
    except InputError:
        return
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / ".env").write_text(text, encoding="utf-8", newline="")
        (Path(directory) / "out").mkdir()
        (Path(directory) / "out/docker-bake.hcl").write_text('target "default" {}\n', encoding="utf-8")
        print_bake(Path(directory), shell)
