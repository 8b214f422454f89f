"""``python -m tests.picture PROJECT FILE.svg``: real commands in a pseudo terminal, and what it shows at the end.

scripts/picture calls it. The live view moves the cursor up and rewrites its lines, so the bytes go through a screen;
rich makes SVG of that.
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

from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 112, 40
COMMANDS = ("fategen render", "fategen bake --load", "fategen bundle save")
_ESCAPE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][0-9A-B]|\x1b[=>78]|([\r\n\b])")


class Screen:
    """The lines of a terminal that never scrolls away: cursor up and down, to the line's start, erase, colours."""

    def __init__(self) -> None:
        self.lines: list[list[tuple[str, str]]] = [[]]
        self._row = self._column = 0
        self._style: tuple[str, ...] = ()

    def feed(self, text: str) -> None:
        at = 0
        for found in _ESCAPE.finditer(text):
            self._put(text[at : found.start()])
            at = found.end()
            if found[3]:
                self._control(found[3])
            elif found[2]:
                self._escape(found[2], found[1])
        self._put(text[at:])

    def _put(self, text: str) -> None:
        for char in text:
            line = self.lines[self._row]
            line.extend([(" ", "")] * (self._column + 1 - len(line)))
            line[self._column] = (char, ";".join(self._style))
            self._column += 1

    def _control(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\b":
            self._column = max(0, self._column - 1)
        else:
            self._move(1)

    def _move(self, rows: int) -> None:
        self._row = max(0, self._row + rows)
        self.lines.extend([] for _ in range(self._row + 1 - len(self.lines)))

    def _escape(self, kind: str, given: str) -> None:
        number = int(given) if given.isdigit() else 0
        if kind in "AF":
            self._move(-(number or 1))
        elif kind in "BE":
            self._move(number or 1)
        elif kind == "C":
            self._column += number or 1
        elif kind == "G":
            self._column = max(0, (number or 1) - 1)
        elif kind == "m":
            codes = [code for code in given.split(";") if code not in ("", "0")]
            self._style = (*self._style, *codes) if codes else ()
        elif kind == "K":
            line = self.lines[self._row]
            if number == 2:
                line.clear()
            elif number == 0:
                del line[self._column :]
        elif kind == "J" and number == 0:
            del self.lines[self._row][self._column :]
            del self.lines[self._row + 1 :]
        elif kind not in "hl":
            raise ValueError(f"the picture does not know ESC [ {given} {kind}")
        if kind in "EF":
            self._column = 0

    def ansi(self) -> str:
        """The lines with their colours alone."""
        return "\n".join("".join(f"\x1b[0;{s}m{c}" if s else f"\x1b[0m{c}" for c, s in line) for line in self.lines)


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
    screen = Screen()
    for command in commands:
        screen.feed(f"\x1b[1;32m$\x1b[0m {command}\r\n")
        screen.feed(record(command, directory).decode("utf-8"))
        screen.feed("\r\n")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.ansi().rstrip()), soft_wrap=True)
    # without the web fonts that rich's own template asks a server for, and with ids that do not change each time
    svg = console.export_svg(title="fategen", unique_id="fategen")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(picture(COMMANDS, Path(sys.argv[1])), encoding="utf-8")
