"""The wheel alone, in an empty environment: it has its templates and its catalogue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of a wheel that was built from this checkout and installed into a new environment."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(directory), str(ROOT), cwd=directory)
    run(sys.executable, "-m", "venv", str(directory / "venv"), cwd=directory)
    (wheel,) = directory.glob("*.whl")
    run(str(directory / "venv/bin/python"), "-m", "pip", "install", "--quiet", str(wheel), cwd=directory)
    return directory / "venv" / "bin" / "fategen"


def run(*args: str, cwd: Path) -> str:
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_init_of_the_wheel_renders_what_the_checkout_renders(installed: Path, tmp_path: Path) -> None:
    run(str(installed), "init", cwd=tmp_path)
    for file in ("out/docker-bake.hcl", "dockerfiles/egg/Dockerfile"):
        assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes()


def test_the_module_is_the_command_too(installed: Path, tmp_path: Path) -> None:
    assert run(str(installed.parent / "python"), "-m", "generator", "--version", cwd=tmp_path).startswith("fategen, ")


def test_the_wheel_holds_no_test_and_no_sample(installed: Path) -> None:
    packages = next(installed.parent.parent.glob("lib/python*/site-packages"))
    assert not (packages / "tests").exists()
    for file in ("1.3.yaml", "schema.json"):  # the first line of the one names the other
        assert (packages / "generator" / "data" / "catalogue" / file).is_file()
