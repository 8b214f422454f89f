"""fategen on a terminal (a pty): the picture while it builds, and Ctrl-C."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from tests.picture import on_terminal


def test_ctrl_c_leaves_a_clean_terminal(own_sample: Path) -> None:
    source = own_sample.parent / "sources/eggroll/storage/storage-service-cxx/src/Stores.cc"
    source.write_text(source.read_text(encoding="utf-8") + f"\n// {time.time()}\n", encoding="utf-8")
    code, written = on_terminal(
        [sys.executable, "-m", "generator", "bake", "egg"],
        own_sample,
        columns=80,
        typed=("egg .*storage .*compile", "\x03"),
        TERM="xterm",
        LANG="C.UTF-8",
        NO_COLOR="1",
    )
    drawn = written.decode().replace("\r\n", "\n")
    assert code == 130, drawn
    assert "Traceback" not in drawn
    last = drawn[drawn.rindex("stopping") :]
    assert re.search(r"egg +· not finished\n", last)
    assert last.splitlines()[-1] == "stopped", "on a line of its own, below the picture"
