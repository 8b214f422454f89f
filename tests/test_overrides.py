"""What a project's own templates/ and catalogue/ hold and nothing reads is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from generator.project import Project, packaged_data
from generator.workspace import load

CATALOGUE = "is never read: a catalogue is LINE.yaml, such as 1.3.yaml; did you mean 1.3.yaml?"
TEMPLATE = "no image and no template uses it; did you mean dockerfiles/python.Dockerfile.j2?"

SHARED = (
    "no image and no template uses it; roll is rendered from dockerfiles/java.Dockerfile.j2, or what template: in the "
    "catalogue names"
)


def put(directory: Path, name: str, text: str = "") -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text, encoding="utf-8")


def warnings(directory: Path) -> list[str]:
    return [str(warning) for warning in load(Project(directory)).warnings]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("templates/python.Dockerfile.j2", TEMPLATE),
        ("templates/dockerfiles/pyton.Dockerfile.j2", TEMPLATE),
        ("templates/dockerfiles/roll.Dockerfile.j2", SHARED),
        (
            "templates/dockerfiles/redis.Dockerfile.j2",
            "no image and no template uses it; redis has no Dockerfile: it is taken as it is",
        ),
        ("catalogue/1.3.yml", CATALOGUE),
        ("catalogue/1.3.0.yaml", CATALOGUE),
    ],
)
def test_a_file_that_nothing_reads(project_dir: Path, name: str, said: str) -> None:
    put(project_dir, name)
    assert warnings(project_dir) == [f"{name}: {said}"]


@pytest.mark.parametrize("name", ["template/dockerfiles/egg.Dockerfile.j2", "catalog/1.3.yaml"])
def test_a_directory_that_nothing_reads(project_dir: Path, name: str) -> None:
    put(project_dir, name)
    [said] = warnings(project_dir)
    assert "is never read; did you mean " in said


def test_what_is_read_and_what_is_nobodys_mistake_is_not_worth_a_word(project_dir: Path) -> None:
    shutil.copytree(packaged_data("templates"), project_dir / "templates")
    shutil.copytree(packaged_data("catalogue"), project_dir / "catalogue")
    put(project_dir, "templates/own.j2", "# own")
    file = project_dir / "templates/dockerfiles/python.Dockerfile.j2"
    file.write_text(file.read_text(encoding="utf-8") + '{% include "own.j2" %}\n', encoding="utf-8")
    for name in ("templates/README.md", "templates/.DS_Store", "templates/own.j2~", "catalogue/2.0.yaml"):
        put(project_dir, name)
    put(project_dir, "template/notes.txt")
    assert warnings(project_dir) == []
