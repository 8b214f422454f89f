"""The wheel: it has its templates and its catalogues. That it installs and works alone is the README's quick start."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_its_data_and_no_test_and_no_sample(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"generator", "fategen"}
    for kind in ("templates", "catalogue", "examples/three-images"):
        files = (file for file in (ROOT / kind).rglob("*") if file.suffix in (".j2", ".yaml", ".json", ".sh"))
        assert {f"generator/data/{file.relative_to(ROOT)}" for file in files} <= names
