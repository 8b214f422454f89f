from __future__ import annotations

import re
from pathlib import Path

import pytest

from generator.project import Project
from generator.render.dockerfile import copied
from generator.workspace import load
from tests.pages import PAGES, ROOT


@pytest.mark.parametrize("name", list(PAGES))
def test_a_file_made_from_the_code_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m tests.pages"


@pytest.mark.parametrize("project", [ROOT, ROOT / "releases/1.11", ROOT / "releases/2.2"], ids=["1.3", "1.11", "2.2"])
def test_the_page_on_checkouts_names_what_the_images_copy(project: Path) -> None:
    workspace = load(Project(project))
    line = ".".join(workspace.plan.release.split(".")[:2])
    page = (ROOT / "docs/patched-checkout.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| {line} \| (\S+) \| (.+) \|$", page, re.MULTILINE)
    used: dict[str, set[str]] = {}
    for target in workspace.plan.targets:
        for source in target.sources:
            paths = copied(workspace.tree[target.dockerfile], source.name)
            used.setdefault(source.name, set()).update(path.split("/")[0] for path in paths)
    assert {name: set(re.findall("`(.+?)`", cell)) or {""} for name, cell in rows} == used
