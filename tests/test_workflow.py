"""What GitHub runs, as far as that can be known without it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
# YAML 1.1 takes "on" for true: the loader that knows only text keeps it
WORKFLOW: dict[str, Any] = yaml.load(TEXT, Loader=yaml.BaseLoader)
JOB = WORKFLOW["jobs"]["test"]


def test_it_runs_for_main_and_for_every_pull_request() -> None:
    assert WORKFLOW["on"] == {"push": {"branches": ["main"]}, "pull_request": ""}


def test_it_runs_the_command_that_the_readme_names() -> None:
    commands = [step["run"] for step in JOB["steps"] if "run" in step]
    assert len(commands) == 1 and commands[0].split()[-1] == "scripts/test"
    assert os.access(ROOT / "scripts" / "test", os.X_OK)


def test_it_may_read_the_repository_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in JOB and "secrets." not in TEXT and "pull_request_target" not in TEXT


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it() -> None:
    uses = re.findall(r"uses: (.*)", TEXT)
    assert len(uses) == 2
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in uses), uses


def test_the_oldest_python_of_the_package_and_the_newest() -> None:
    oldest = re.search(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert oldest and JOB["strategy"]["matrix"]["python"] == [oldest[1], "3.x"]
    assert JOB["runs-on"] == "ubuntu-latest"
