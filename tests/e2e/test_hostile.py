"""Values that break quoting elsewhere arrive in bake exactly as they were written, or are refused with a line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from generator.config.env import parse_settings
from generator.errors import InputError
from tests.e2e.conftest import Fategen, succeeded
from tests.hostile import hostile_strings, unprinted

VALUES = sorted(set(hostile_strings()))
ENV = "PREFIX=federatedai\nBASE_TAG=1\nTAG=1\n"


def bake_print(directory: Path, config: str) -> dict[str, dict[str, dict[str, str]]]:
    done = subprocess.run(
        ["docker", "buildx", "bake", "-f", "out/docker-bake.hcl", "--print", "all"],
        cwd=directory,
        env={**os.environ, "DOCKER_CONFIG": os.environ[config]},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, dict[str, str]]] = json.loads(done.stdout)["target"]
    return found


@pytest.mark.parametrize("config", ["FATEGEN_SANDBOX_BUILDX_OLD", "FATEGEN_SANDBOX_BUILDX_NEW"])
def test_hundreds_of_hostile_texts_go_from_the_catalogue_through_render_into_bake_unchanged(
    registry: str, fategen: Fategen, tmp_path: Path, config: str
) -> None:
    values = [v for v in VALUES if v.isprintable()]  # the others are refused: tests/catalogue/test_catalogue.py
    assert len(values) > 300
    (tmp_path / ".env").write_text(ENV, encoding="utf-8")
    (tmp_path / "templates" / "dockerfiles").mkdir(parents=True)
    (tmp_path / "templates" / "dockerfiles" / "x.j2").write_text("# {{ header }}\nFROM scratch\n", encoding="utf-8")
    (tmp_path / "catalogue").mkdir()
    images = {
        f"image{i}": {"kind": "component", "from": "base", "template": "x.j2", "description": value}
        for i, value in enumerate(values)
    }
    line = {
        "line": "1.3",
        "releases": {"1.3.0": {}},
        "sources": {},
        "bases": {"base": {"image": "a:1"}},
        "images": images,
    }
    (tmp_path / "catalogue" / "1.3.yaml").write_text(yaml.safe_dump(line), encoding="utf-8")
    succeeded(fategen("render", cwd=tmp_path))
    targets = bake_print(tmp_path, config)
    seen = [targets[name]["labels"]["org.opencontainers.image.description"] for name in images]
    if config.endswith("NEW"):
        seen = [unprinted(text) for text in seen]
    assert seen == values


@pytest.mark.parametrize("key", ["FATE_SOURCE", "REQUIREMENTS", "PIP_INDEX_URL", "HTTP_PROXY", "PREFIX", "TAG"])
def test_a_hostile_value_in_env_is_refused_with_its_line_or_survives(
    registry: str, fategen: Fategen, tmp_path: Path, key: str
) -> None:
    survivors = []
    for value in VALUES:
        text = ENV.replace(f"{key}=", f"{key}={value}") if key in ENV else f"{ENV}{key}={value}\n"
        try:
            survivors.append((text, parse_settings(text)[0]))
        except InputError as error:
            assert all(p.where.startswith(".env:") for p in error.problems), (value, error.problems)
    for text, settings in survivors[:: max(1, len(survivors) // 4)]:
        (tmp_path / ".env").write_text(text, encoding="utf-8", newline="")
        succeeded(fategen("render", cwd=tmp_path))
        targets = bake_print(tmp_path, "FATEGEN_SANDBOX_BUILDX_OLD")
        if key == "FATE_SOURCE" and settings.sources:
            assert targets["base-image"]["contexts"]["fate"] == settings.sources[0].value


@pytest.mark.parametrize("config", ["FATEGEN_SANDBOX_BUILDX_OLD", "FATEGEN_SANDBOX_BUILDX_NEW"])
def test_plain_bake_reads_the_committed_file_and_sees_the_tags_of_the_plan(
    registry: str, fategen: Fategen, config: str
) -> None:
    root = Path(__file__).parents[2]
    targets = bake_print(root, config)
    listed = fategen("images", "all", "--format", "references", cwd=root).out.split()
    assert sorted(t for target in targets.values() for t in target.get("tags", [])) == sorted(listed)
