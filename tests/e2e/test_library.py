"""The program of "docs/library.md", as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bundle.layouts import simple
from tests.e2e.conftest import docker
from tests.e2e.console import Session, steps

ROOT = Path(__file__).parents[2]


def test_the_program_of_the_page_does_what_the_page_shows(registry: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    namespace = f"docs-library-{os.getpid()}"
    names = {"10.0.0.5:8443/federatedai": f"{registry}/{namespace}"}
    simple(tmp_path / "layouts/egg", "egg")
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    session = Session(tmp_path, env, names)
    (tmp_path / "carry.py").write_text(session.here(program), encoding="utf-8")
    try:
        for step in steps(page):
            session.run(step)
        checked = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "carry.py")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout
    finally:
        session.close()
        docker("image", "rm", "--force", f"{registry}/{namespace}/egg:1.3.0", check=False)
