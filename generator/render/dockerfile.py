"""Reads Dockerfiles as BuildKit does (frontend/dockerfile/parser): the one reader of what our templates render."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

# flags stand before the first argument, and may be quoted
_INSTRUCTION = re.compile(r"""(\w+)\s+((?:--(?:[^\s"']|"[^"]*"|'[^']*')+\s+)*)(.*)""", re.DOTALL)
_ESCAPE_DIRECTIVE = re.compile(r"(?:#\s*\w+\s*=.*\n)*?#\s*escape\s*=\s*`", re.IGNORECASE)
# what is quoted begins no here-document
_HEREDOC = re.compile(r""""[^"]*"|'[^']*'|\s\d*<<(-?)(["']?)([^\s<"']+)\2""")


@dataclass(frozen=True)
class Instruction:
    """``keyword`` is in capitals; ``flags`` are without their quotes; ``arguments`` is the rest of the line."""

    keyword: str
    flags: tuple[str, ...]
    arguments: str


def instructions(dockerfile: str) -> Iterator[Instruction]:
    """Each instruction, without comments, line continuations and here-documents."""
    escape = "`" if _ESCAPE_DIRECTIVE.match(dockerfile) else r"\\"
    lines, joined = iter(dockerfile.split("\n")), ""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        joined += line if joined else line.lstrip()
        joined, continued = re.subn(rf"(?<!{escape}){escape}\s*$", "", joined)
        if continued:
            continue
        yield _parsed(joined)
        if re.match(r"(?:ONBUILD\s+)?(?:ADD|COPY|RUN)\s", joined, re.IGNORECASE):
            for strip_tabs, _, end in _HEREDOC.findall(joined):
                while end and next(lines, end).strip("\t\r" if strip_tabs else "\r") != end:
                    pass
        joined = ""
    yield _parsed(joined)


def names_in(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The image, stage or context that each ``FROM``, ``COPY --from=`` and ``RUN --mount=…,from=`` names, and the stage
    that a ``FROM … AS`` begins ("" for the others)."""
    for instruction in instructions(dockerfile):
        if instruction.keyword == "FROM":
            yield _from(instruction)
        elif instruction.keyword in ("COPY", "RUN"):
            flags = " ".join(instruction.flags)
            yield from ((name, "") for name in re.findall(r"--(?:mount=(?:\S*?,)?)?from=([^\s,]+)", flags))


def copied(dockerfile: str, context: str) -> list[str]:
    """The paths that ``COPY --from=CONTEXT PATH… DESTINATION`` takes, without a "/" at either end; "" is all of it."""
    paths: dict[str, None] = {}
    for instruction in instructions(dockerfile):
        if instruction.keyword == "COPY" and f"--from={context}" in instruction.flags:
            paths.update((path.strip("/"), None) for path in _words(instruction.arguments)[:-1] if "$" not in path)
    return list(paths)


def runs_on_target(dockerfile: str) -> bool:
    """Whether a stage of the target's own platform has a RUN step.

    A stage on ``$BUILDPLATFORM`` needs no emulation, nor does one that is built FROM such a stage.
    """
    native_stages: set[str] = set()
    native = False
    for instruction in instructions(dockerfile):
        if instruction.keyword == "FROM":
            base, stage = _from(instruction)
            native = base.lower() in native_stages or any(
                re.fullmatch(r"--platform=\$\{?BUILDPLATFORM\}?", flag) for flag in instruction.flags
            )
            if native and stage:
                native_stages.add(stage.lower())
        elif instruction.keyword == "RUN" and not native:
            return True
    return False


def _parsed(line: str) -> Instruction:
    match = _INSTRUCTION.match(line)
    if match is None:
        return Instruction("", (), line)
    flags = re.sub("[\"']", "", match[2])
    return Instruction(match[1].upper(), tuple(flags.split()), match[3].strip())


def _from(instruction: Instruction) -> tuple[str, str]:
    base, *rest = instruction.arguments.split() or [""]
    return base, rest[1] if len(rest) == 2 and rest[0].upper() == "AS" else ""


def _words(arguments: str) -> list[str]:
    """The arguments of COPY, in words or as a JSON list."""
    try:
        words = json.loads(arguments)
    except ValueError:
        return arguments.split()
    return [str(word) for word in words] if isinstance(words, list) else arguments.split()
