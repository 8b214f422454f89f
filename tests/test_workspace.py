"""A project's own files are read or refused: what cannot be read is never taken for absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.errors import InputError
from generator.project import Project, find_project, state_directory
from generator.workspace import load

ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "dangling link": lambda path: path.symlink_to("gone"),
}
odd = pytest.mark.parametrize("make", ODD.values(), ids=ODD)


def refusal(project: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(find_project(project))
    return str(caught.value)


@odd
def test_an_env_that_is_no_file_is_an_error_and_not_the_project_above(
    project_dir: Path, make: Callable[[Path], object]
) -> None:
    below = project_dir / "below"
    below.mkdir()
    make(below / ".env")
    assert find_project(below).root == below
    assert refusal(below).startswith(".env: ")
    assert state_directory(below) == below / ".fategen"


@odd
@pytest.mark.parametrize("name", [".env.local", "catalogue/1.3.yaml", "templates/macros.j2", "templates"])
def test_a_file_that_overrides_another_and_is_none_is_an_error(
    project_dir: Path, make: Callable[[Path], object], name: str
) -> None:
    path = project_dir / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    if path.is_dir() and name.startswith("templates"):
        load(Project(project_dir))  # a directory there may have templates
    else:
        assert refusal(project_dir).startswith((f"{name}: ", f"{path.name}: "))


def test_a_link_to_a_file_is_the_file(project_dir: Path) -> None:
    (project_dir / ".env").rename(project_dir / "settings")
    (project_dir / ".env").symlink_to("settings")
    assert load(find_project(project_dir)).plan.settings.prefix == "federatedai"
