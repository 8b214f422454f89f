"""``python -m tests.picture PROJECT FILE.svg``: real commands in a pseudo terminal, and what it shows at the end.

scripts/picture calls it. The live view moves the cursor up and rewrites its lines, so the bytes go through a terminal
emulator (pyte); rich makes SVG of its screen.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 112, 40
COMMANDS = ("fategen render", "fategen bake --load", "fategen bundle save")


def screen_of(written: bytes | str, width: int = 200, height: int = 10 * HEIGHT) -> pyte.Screen:
    """What a terminal of that size shows in the end; ``display`` are its lines."""
    screen = pyte.Screen(width, height)
    pyte.ByteStream(screen).feed(written.encode() if isinstance(written, str) else written)
    return screen


def on_terminal(
    command: Sequence[str],
    directory: Path,
    *,
    columns: int = WIDTH,
    typed: tuple[str, str] = ("", ""),
    **environment: str,
) -> tuple[int, bytes]:
    """Runs a command on a terminal; its exit code and what it drew. ``typed``: a pattern, and what is typed once that
    is there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ.update(environment)
        # the size is the terminal's own before the command asks for it
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, columns, 0, 0))
        os.execvp(command[0], command)
    pattern, text = (value.encode() for value in typed)
    drawn = b""
    # OSError is Linux's way to say that the other side is closed
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            drawn += data
            if pattern and re.search(pattern, drawn):
                os.write(terminal, text)
                pattern = b""
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), drawn


def picture(commands: Sequence[str], directory: Path) -> str:
    """What commands write to a terminal of WIDTH by HEIGHT, as SVG. SystemExit where one fails."""
    runs = []
    for command in commands:
        code, drawn = on_terminal(["sh", "-c", f"exec {command}"], directory, TERM="xterm-256color")
        if code:
            sys.exit(f"{command}: exit code {code}\n{drawn.decode(errors='replace')}")
        runs.append(f"\x1b[1;32m$\x1b[0m {command}\r\n".encode() + drawn)
    screen = screen_of(b"\r\n".join(runs), WIDTH)
    lines = [[screen.buffer[row][column] for column in range(WIDTH)] for row in range(screen.cursor.y + 1)]
    text = Text("\n").join(Text.assemble(*((char.data, style(char.fg, char.bold)) for char in line)) for line in lines)
    text.rstrip()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(text, soft_wrap=True)
    # without the web fonts that rich's own template asks a server for, and with ids that do not change each time
    svg = console.export_svg(title="fategen", unique_id="fategen")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def style(color: str, bold: bool) -> str:
    """pyte calls the color that terminals write as 33 brown."""
    name = "" if color == "default" else {"brown": "yellow"}.get(color, color)
    return f"{'bold ' if bold else ''}{name}".strip()


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(picture(COMMANDS, Path(sys.argv[1])), encoding="utf-8")
