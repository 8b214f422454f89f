"""fategen on a terminal (a pty): the picture while it builds, what is left of it, and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time
from pathlib import Path

from tests.picture import screen_of


def on_terminal(*args: str, cwd: Path, columns: int = 80, interrupt_at: str = "") -> tuple[int, str]:
    """Runs ``fategen ARGS`` on a terminal; its exit code and all that it drew. Ctrl-C is typed once a text appears."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm", LANG="C.UTF-8", NO_COLOR="1", COLUMNS=str(columns), LINES="24")
        os.execv(sys.executable, [sys.executable, "-m", "generator", *args])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    drawn, typed, end = b"", False, time.monotonic() + 600
    while time.monotonic() < end:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # EIO: the last process on the terminal has gone
            break
        if not chunk:
            break
        drawn += chunk
        if interrupt_at and not typed and re.search(interrupt_at.encode(), drawn):
            os.write(terminal, b"\x03")
            typed = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), drawn.decode("utf-8").replace("\r\n", "\n")


def test_a_build_is_a_picture_that_makes_way_for_the_result(pushed: Path) -> None:
    code, drawn = on_terminal("bake", "roll", cwd=pushed, columns=60)
    assert code == 0, drawn
    assert "  roll      ✓  cached  amd64 arm64" in drawn
    left = [line.split() for line in screen_of(drawn).display]
    assert [words[0] for words in left if words][-2:] == ["IMAGE", "roll"] and "building" not in str(left)
    picture = drawn.partition("\x1b[?25l")[2].partition("IMAGE")[0]
    picture_lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", picture).splitlines()
    assert max(map(len, picture_lines)) <= 60, max(picture_lines, key=len)
    assert drawn.rpartition("\x1b[?25")[2].startswith("h"), "the cursor is shown again"


def test_ctrl_c_leaves_a_clean_terminal(own_sample: Path) -> None:
    source = own_sample.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc"
    source.write_text(source.read_text(encoding="utf-8") + f"\n// {time.time()}\n", encoding="utf-8")
    code, drawn = on_terminal("bake", "egg", cwd=own_sample, interrupt_at="egg .*storage .*RUN")
    assert code == 130, drawn
    assert "Traceback" not in drawn
    last = drawn[drawn.rindex("stopping") :]
    assert re.search(r"egg +· not finished\n", last)
    assert last.splitlines()[-1] == "stopped", "on a line of its own, below the picture"


def test_a_bundles_line_goes_when_it_is_done(pushed: Path, tmp_path: Path) -> None:
    file = tmp_path / "roll.fate.tar"
    code, drawn = on_terminal("bundle", "save", "--image", "roll", "-o", str(file), cwd=pushed)
    assert code == 0, drawn
    assert re.search(r"\x1b\[Ksaving +\d+ %  [\d.]+ k?M?B of \d+ MB", drawn)
    assert drawn.rpartition("\x1b[K")[2].startswith("IMAGE")
