"""Which lines of a failed step's output say why it failed: a table of what each tool prints.

The patterns are tried on logs of the tools themselves, in tests/bake/data/causes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from generator.text import shorten

SHOWN, FIRST = 10, 7
"""Lines that are shown at most, and how many of them are the first ones: a compiler's first error is the cause."""
WIDTH = 300
LAST = 20
"""Lines that are shown of an output in which no tool's pattern is found."""


@dataclass(frozen=True)
class Tool:
    """``cause`` finds the lines that say why, but for those that ``noise`` finds too; both from a line's first letter.

    ``last``: the line before a match of this says why. ``past``: a match says that the tool went on in spite of what it
    said before.
    """

    name: str
    cause: str
    noise: str = ""
    last: str = ""
    past: str = ""


TOOLS = (
    Tool(
        "maven",
        r"\[(?:ERROR|FATAL)\]\s+\S|(?:symbol|location): +\S",
        # help, and the class path of a plugin in which something was not found
        r"\[ERROR\]\s+(?:\[ERROR\] Some problems|The build could not|The project .* has \d+ error|"
        r"\[Help \d+\]|-> \[Help|To see the full|Re-run Maven|For more information|After correcting|"
        r"COMPILATION ERROR|realm =|strategy =|urls\[|Number of \w+ imports|import: Entry|-+$|  mvn <)",
    ),
    Tool(
        "pip",
        r"(?:ERROR: |error: )\S|Could not find a version that satisfies|No matching distribution|"
        r"The user requested |\S+ \S+ depends on |Expected (?:sha256|md5|or)|Got        |.*\(NewConnectionError|"
        r".*after connection broken by|Running setup\.py \w+ for \S+: finished with status 'error'",
        r"error: (?:subprocess-exited-with-error|metadata-generation-failed|legacy-install-failure)|"
        # the last of its tries says it
        r"ERROR: (?:ResolutionImpossible|Exception:)|WARNING: Retrying \(Retry\(total=[1-9]",
        r"\[end of output\]",
        # one of several indexes may not answer
        r"Collecting \S|Installing collected packages: ",
    ),
    Tool("apt", r"E: |W: Failed to fetch|Err:\d+ |W: GPG error|\S+ : (?:Depends|Breaks|Conflicts|PreDepends): "),
    Tool(
        "gcc",
        r"(?:\S+:\d+(?::\d+)?|<command-line>): (?:fatal )?error: |\d+ \| +\S|"
        r"(?:\S*: )?(?:undefined reference to|multiple definition of)|"
        r"\S+:\(\S+\): undefined reference to|\S*\bld(?:\.\w+)?: (?:cannot find|.*error)|(?:cc1\S*|g\S+): .*error",
        r"collect2: ",
    ),
    Tool("make", r"make(?:\[\d+\])?: \*\*\* .*(?:No rule|missing separator|Segmentation|Killed)|CMake Error"),
    Tool(
        "npm",
        r"npm (?:ERR!|error) \S",
        r"npm (?:ERR!|error) (?:A complete log|For a full report|\w+$|code \w+$|errno |syscall |404 (?:Note|tarball)|"
        r"network (?:This is|In most|If you|'proxy' config)|Fix the upstream|\S*/_logs/|node_modules/\S+$|path /|"
        r"command sh|[Ll]ifecycle|Error: command failed|Exit status|This is probably not a problem|"
        r".*There is likely additional logging|"
        r"gyp (?:info|verb) |gyp ERR! (?:System |command |cwd |node |node-gyp |not ok|stack +at ))",
    ),
    Tool(
        "node",
        r"(?:gyp ERR! (?:stack Error|find \w+ \S)|Module not found|ERROR in )|\S+\(\d+,\d+\): error TS\d+: ",
        r"gyp ERR! stack\s+at ",
    ),
    Tool("git", r"fatal: |error: pathspec "),
    # the last line of a traceback in Python, an exception in Java, a thrown error in JavaScript
    Tool("exception", r"(?:Caused by: |Exception in thread .* )?(?:\w+\.)*(?:[A-Z]\w*)?(?:Error|Exception)(?:: |$)"),
    Tool("shell", r"\S+: (?:line )?\d+: .*: (?:not found|No such file|Permission denied|command not found)"),
)


_EMPTY = re.compile(
    r"^(?:\[(?:ERROR|FATAL)\]\s+)+(?:-+: )?|(?<=: )Execution \S+ of goal \S+ failed: |<[\w.]+ object at 0x\w+>: ?"
)
"""What a line says nothing with: Maven's level and its goal again, Python's addresses."""


def cause(lines: Sequence[str]) -> list[str]:
    """What to show of a failed step's output: the lines that say why, else its last lines."""
    why = list(dict.fromkeys(shorten(_EMPTY.sub("", line.strip()), WIDTH) for line in _causes(lines)))
    if not why:
        return [*lines][-LAST:]
    if len(why) <= SHOWN:
        return why
    last = SHOWN - FIRST
    return [*why[:FIRST], f"… {len(why) - SHOWN} more", *why[-last:]]


def _causes(lines: Sequence[str]) -> list[str]:
    causes: list[tuple[Tool, str]] = []
    for number, line in enumerate(lines):
        text = line.strip()
        for tool in TOOLS:
            if tool.past and re.match(tool.past, text):
                causes = [(by, told) for by, told in causes if by is not tool]
            elif tool.last and number and re.match(tool.last, text):
                causes.append((tool, lines[number - 1]))
            elif re.match(tool.cause, text) and not (tool.noise and re.match(tool.noise, text)):
                causes.append((tool, line))
                break
    return [told for _, told in causes]
