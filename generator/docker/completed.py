"""What a process left when it had ended."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Completed:
    """What a process left: its arguments (the program first), its exit code, its output as UTF-8 text."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def last_line(self) -> str:
        """The engine's own last word: of stderr, else of stdout, without its ``ERROR:`` in front."""
        for text in (self.stderr, self.stdout):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return re.sub(r"^(?:ERROR|error|Error)(?: response from daemon)?: ", "", lines[-1])
        return f"exit code {self.code}, no message"
