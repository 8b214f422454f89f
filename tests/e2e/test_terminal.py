"""fategen on a terminal (a pty): the picture while it builds, what is left of it, and Ctrl-C."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from tests.picture import on_terminal, screen_of


def fategen(*args: str, cwd: Path, columns: int = 80, interrupt_at: str = "") -> tuple[int, str]:
    """Runs ``fategen ARGS`` on a terminal; its exit code and all that it drew. Ctrl-C is typed once a text appears."""
    command = [sys.executable, "-m", "generator", *args]
    code, drawn = on_terminal(
        command, cwd, columns=columns, typed=(interrupt_at, "\x03"), TERM="xterm", LANG="C.UTF-8", NO_COLOR="1"
    )
    return code, drawn.decode().replace("\r\n", "\n")


def test_a_build_is_a_picture_that_makes_way_for_the_result(pushed: Path) -> None:
    code, drawn = fategen("bake", "roll", cwd=pushed, columns=60)
    assert code == 0, drawn
    assert "  roll      ✓  cached  amd64 arm64" in drawn
    left = [line.split() for line in screen_of(drawn).display]
    assert [words[0] for words in left if words][-4:] == [
        "IMAGE",
        "packages",
        "roll",
        "total",
    ] and "building" not in str(left)
    picture = drawn.partition("\x1b[?25l")[2].partition("IMAGE")[0]
    picture_lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", picture).splitlines()
    assert max(map(len, picture_lines)) <= 60, max(picture_lines, key=len)
    assert drawn.rpartition("\x1b[?25")[2].startswith("h"), "the cursor is shown again"


def test_ctrl_c_leaves_a_clean_terminal(own_sample: Path) -> None:
    source = own_sample.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc"
    source.write_text(source.read_text(encoding="utf-8") + f"\n// {time.time()}\n", encoding="utf-8")
    code, drawn = fategen("bake", "egg", cwd=own_sample, interrupt_at="egg .*storage .*compile")
    assert code == 130, drawn
    assert "Traceback" not in drawn
    last = drawn[drawn.rindex("stopping") :]
    assert re.search(r"egg +· not finished\n", last)
    assert last.splitlines()[-1] == "stopped", "on a line of its own, below the picture"


def test_a_bundles_line_goes_when_it_is_done(pushed: Path, tmp_path: Path) -> None:
    file = tmp_path / "roll.fate.tar"
    code, drawn = fategen("bundle", "save", "--image", "roll", "-o", str(file), cwd=pushed)
    assert code == 0, drawn
    assert re.search(r"\x1b\[Ksaving +\d+ %  [\d.]+ k?M?B of \d+ MB", drawn)
    assert drawn.rpartition("\x1b[K")[2].startswith("IMAGE")
