"""What a project's own templates/ and catalogue/ hold and nothing reads is said."""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from generator.project import Project, packaged_data
from generator.workspace import load
from tests.conftest import Run
from tests.fate_plan import put

CATALOGUE = "is never read: a catalogue is named LINE.yaml, such as 1.0.yaml; did you mean 1.3.yaml?"
UNUSED = "no image and no template uses it"
TEMPLATE = f"{UNUSED}; did you mean dockerfiles/python.Dockerfile.j2?"
SHARED = "roll is rendered from dockerfiles/java.Dockerfile.j2 (template: in the catalogue)"


def warnings(directory: Path) -> list[str]:
    return [str(warning) for warning in load(Project(directory)).warnings]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("templates/python.Dockerfile.j2", TEMPLATE),
        ("templates/dockerfiles/pyton.Dockerfile.j2", TEMPLATE),
        ("templates/dockerfiles/roll.Dockerfile.j2", f"{UNUSED}; {SHARED}"),
        ("templates/dockerfiles/redis.Dockerfile.j2", f"{UNUSED}; redis has no Dockerfile: it is used as it is"),
        ("catalogue/1.3.yml", CATALOGUE),
        ("catalogue/1.3.0.yaml", CATALOGUE),
    ],
)
def test_a_file_that_nothing_reads(project_dir: Path, name: str, said: str) -> None:
    put(project_dir, name)
    assert warnings(project_dir) == [f"{name}: {said}"]


@pytest.mark.parametrize(("wrong", "right"), [("template", "templates"), ("catalog", "catalogue")])
def test_a_directory_that_nothing_reads(project_dir: Path, wrong: str, right: str) -> None:
    for name in ("egg.Dockerfile.j2", "1.3.yaml"):
        put(project_dir, f"{wrong}/{name}")
    assert warnings(project_dir) == [f"{wrong}/: is never read; did you mean {right}/?"]


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


CHANGED = "line: '1.3'\nextends: packaged\nimages:\n  roll:\n    with: {%s: x}\n"


def test_a_value_that_no_template_uses(project_dir: Path) -> None:
    put(project_dir, "catalogue/1.3.yaml", CHANGED % "directry")
    expected = "with: the template of roll does not use directry; did you mean directory?"
    assert warnings(project_dir) == [f"catalogue/1.3.yaml:5: {expected}"]


def test_a_value_that_only_the_packaged_template_below_uses_is_used(project_dir: Path) -> None:
    put(project_dir, "catalogue/1.3.yaml", CHANGED % "directory")
    template = "dockerfiles/java.Dockerfile.j2"
    put(project_dir, f"templates/{template}", f'{{% extends "packaged/{template}" %}}')
    assert warnings(project_dir) == []


@pytest.fixture
def override(project_dir: Path, fategen: Run) -> Run:
    return partial(fategen, "override", "-C", project_dir)


def test_a_packaged_file_becomes_the_projects_own(project_dir: Path, override: Run) -> None:
    code, out, _ = override("templates/macros.j2", "roll")
    assert code == 0
    java = "templates/dockerfiles/java.Dockerfile.j2"
    assert f"copied {java}, for federation, proxy, roll, meta-service, fateboard" in out
    for name in ("templates/macros.j2", java):
        assert (project_dir / name).read_text() == (packaged_data("templates").parent / name).read_text()
    assert warnings(project_dir) == []
    put(project_dir, "templates/macros.j2", "{# mine #}")
    listed = override()[1].splitlines()
    assert max(map(len, listed)) <= 80
    states = {line.split()[0]: line.split()[1:3] for line in listed}
    assert states["templates/macros.j2"] == ["own"]
    assert states[java][0] == "unchanged"
    assert states["templates/dockerfiles/egg.Dockerfile.j2"] == ["packaged", "egg"]


def test_a_catalogue_comes_with_the_schema_that_it_names_for_editors(project_dir: Path, override: Run) -> None:
    assert override("catalogue/1.3.yaml")[0] == 0
    assert (project_dir / "catalogue/schema.json").is_file()


def test_nothing_is_copied_where_one_name_is_wrong_or_there_already(project_dir: Path, override: Run) -> None:
    put(project_dir, "templates/macros.j2", "mine")
    code, _, said = override("egg", "templates/macros.j2", "templates/dockerfiles/jawa.Dockerfile.j2", "redis")
    assert code == 2
    assert "templates/macros.j2: already exists and was not changed" in said
    assert "did you mean templates/dockerfiles/java.Dockerfile.j2?" in said
    assert "redis: no packaged file, and no image with a packaged template" in said
    assert (project_dir / "templates/macros.j2").read_text() == "mine"
    assert not (project_dir / "templates/dockerfiles").exists()


def test_where_the_disk_refuses_it_is_said(project_dir: Path, override: Run) -> None:
    put(project_dir, "templates")
    code, _, said = override("egg")
    assert (code, f"{project_dir / 'templates'}" in said, "cannot be written: Not a dir" in said) == (3, True, True)


def test_all_or_none_are_copied_where_the_disk_is_full(
    project_dir: Path, override: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        if (project_dir / "templates/macros.j2").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert override("templates/macros.j2", "egg")[0] == 3
    assert not (project_dir / "templates").exists()
    assert override("templates/macros.j2", "egg")[0] == 0, "the same command, with room again"


def test_the_packaged_ones_of_fategens_own_checkout_are_edited_where_they_are(
    project_dir: Path, override: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(packaged_data("templates"), project_dir / "templates")
    shutil.copytree(packaged_data("catalogue"), project_dir / "catalogue")
    for module in ("project", "render.overrides"):
        monkeypatch.setattr(f"generator.{module}.packaged_data", lambda kind: project_dir / kind)
    code, _, said = override("egg")
    assert (code, "is the packaged file itself" in said) == (2, True)


def test_a_template_extends_the_packaged_one_of_its_name_block_by_block(project_dir: Path) -> None:
    packaged = load(Project(project_dir)).tree["dockerfiles/roll/Dockerfile"]
    java = "dockerfiles/java.Dockerfile.j2"
    text = f'{{% extends "packaged/{java}" %}}\n{{% block final %}}\n{{{{ super() -}}}}\nUSER 1000\n{{% endblock %}}\n'
    put(project_dir, f"templates/{java}", text)
    workspace = load(Project(project_dir))
    assert workspace.tree["dockerfiles/roll/Dockerfile"] == packaged + "USER 1000\n"
    assert workspace.warnings == ()
