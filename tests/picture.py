"""``python -m tests.picture PROJECT FILE.svg``: real commands in a pseudo terminal, and what it shows at the end.

scripts/picture calls it. The live view moves the cursor up and rewrites its lines, so the bytes go through a terminal
emulator (pyte); rich makes SVG of its screen.
"""

from __future__ import annotations

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


def record(command: str, directory: Path) -> bytes:
    """What a command writes to a terminal of WIDTH by HEIGHT. SystemExit where it fails."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.environ.update(TERM="xterm-256color")
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            os.environ.pop(name, None)
        # the size is the terminal's own before the command asks for it
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        os.execvp("sh", ["sh", "-c", f"exec {command}"])
    written = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not data:
            break
        written += data
    _, status = os.waitpid(process, 0)
    if status:
        sys.exit(f"{command}: exit code {os.waitstatus_to_exitcode(status)}\n{written.decode(errors='replace')}")
    return written


def picture(commands: Sequence[str], directory: Path) -> str:
    runs = (f"\x1b[1;32m$\x1b[0m {command}\r\n".encode() + record(command, directory) for command in commands)
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
