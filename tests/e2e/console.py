"""Runs the console blocks of a page as they stand: what a reader types is what is run, what is shown must come.

In a block that is fenced as ``console``,

- ``$ COMMAND`` is run by bash, all of a page in one session; ``> `` continues it;
- the lines below it are what it prints, stdout and stderr as a terminal mixes them; none: they are not looked at;
- ``…`` in such a line stands for any text, on a line of its own for any lines; spaces in a row count as one, since
  tables are as wide as their names;
- a command whose lines have one that begins with "error:" must fail, every other must end well.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MARK = "--- done with exit code"


@dataclass
class Step:
    """A command of a page, the line that it is on, and the output that is shown below it."""

    line: int
    command: str
    shown: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        return any(line.startswith("error:") for line in self.shown)


def steps(text: str) -> list[Step]:
    """Every command of a page, in order."""
    found: list[Step] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Step(number, line[2:]))
        elif inside and (line == ">" or line.startswith("> ")) and not found[-1].shown:
            found[-1].command += "\n" + line[2:]
        elif inside and (line or found[-1].shown):
            found[-1].shown.append(line)
    return found


_OUTSIDE = re.compile(
    r"(?<![\w.~-])(?:/etc|/usr|/var|/opt)/|(?<![\w.-])(?:10\.0\.0\.\d+|(?:[\w-]+\.)*example\.com)\b"
    r"|github\.com/(?!FederatedAI/FATE\.git\b)"
)


def outside(command: str) -> str:
    """What in a command leads to this machine's own files or to a host that is not there; "" where nothing does.

    A page with such a name that stands for nothing here must not be run at all: pages are written for other machines.
    """
    found = _OUTSIDE.search(command)
    return found[0] if found else ""


def matches(shown: list[str], output: str) -> bool:
    """Whether this is the output that the page shows."""
    expected = "\n".join(shown).strip().split("\n")
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line.strip() == "…" else re.escape(_plain(line)).replace("…", r"[^\n]*") + r"\n"
        for line in expected
    )
    lines = [_plain(line) for line in output.strip().split("\n")]
    return re.fullmatch(pattern, "\n".join(lines) + "\n") is not None


def _plain(line: str) -> str:
    return re.sub(" +", " ", line).rstrip()


class Session:
    """One bash for a page's commands. ``names`` says what a public name is here: it is put in its place everywhere."""

    def __init__(self, directory: Path, env: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._names = dict(sorted(names.items(), key=lambda pair: -len(pair[0])))
        self._script = Path(env["HOME"]) / ".command"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def here(self, text: str) -> str:
        for name, there in self._names.items():
            text = text.replace(name, there)
        return text

    def run(self, step: Step, timeout: float = 900) -> str:
        """The output; an AssertionError where it is not the one shown, or the command did not end as it should."""
        assert self._bash.stdin and self._bash.stdout
        self._script.write_text(self.here(step.command) + "\n", encoding="utf-8")
        self._bash.stdin.write(f". {self._script} < /dev/null; printf '\\n{MARK} %s\\n' $?\n")
        self._bash.stdin.flush()
        late = threading.Timer(timeout, self._end)
        late.start()
        output, code = "", None
        for line in self._bash.stdout:
            if line.startswith(MARK):
                code = int(line.removeprefix(MARK))
                break
            output += line
        late.cancel()
        said = f"{step.line}: $ {step.command}\n{output}"
        assert code is not None, f"{said}bash ended, after at most {timeout} s"
        assert (code != 0) == step.fails, f"{said}exit code {code}"
        if step.shown:
            shown = [self.here(line) for line in step.shown]
            assert matches(shown, output), f"{said}is not what the page shows:\n" + "\n".join(shown)
        return output

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)

    def close(self) -> None:
        self._end()
        self._bash.communicate()
