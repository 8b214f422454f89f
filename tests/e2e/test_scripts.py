"""What the README tells people to run says what it does, and does nothing, when it is asked for help."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", ["demo", "test", "bench", "lint", "picture"])
def test_help_is_the_scripts_first_comment(name: str, flag: str) -> None:
    bare = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([SCRIPTS / name, flag], capture_output=True, text=True, timeout=20, env=bare)
    assert (done.returncode, done.stderr) == (0, "")
    lines = (SCRIPTS / name).read_text(encoding="utf-8").splitlines()[1:]
    comment = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert done.stdout.splitlines() == [line.removeprefix("# ") for line in comment]
