"""Reads Dockerfiles as BuildKit does (frontend/dockerfile/parser): the one reader of what our templates render."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

# flags stand before the first argument, and may be quoted
_FLAG = r"""--(?:[^\s"']|"[^"]*"|'[^']*')+"""
_INSTRUCTION = re.compile(rf"(\w+)\s+((?:{_FLAG}\s+)*)(.*)", re.DOTALL)
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


def names_in(dockerfile: str) -> Iterator[tuple[str, str | None]]:
    """The image, stage (or its number) or context that each ``FROM``, ``COPY --from=`` and ``RUN --mount=…,from=``
    names, and the name in lower case of the stage that a ``FROM`` begins, "" if it has none; None for the others."""
    for instruction in instructions(dockerfile):
        if instruction.keyword == "FROM":
            yield _from(instruction)
        for flag in instruction.flags:
            option, _, value = flag.partition("=")
            if (instruction.keyword, option) == ("COPY", "--from"):
                yield value, None
            elif (instruction.keyword, option) == ("RUN", "--mount"):
                fields = (field.partition("=") for field in value.split(","))
                yield from ((name, None) for key, _, name in fields if key.strip().lower() == "from")


def copied(dockerfile: str, context: str) -> list[str]:
    """What ``COPY --from=CONTEXT PATH… DESTINATION`` takes, as patterns for ``Path.glob``; "" is all of the context."""
    paths: dict[str, None] = {}
    for instruction in instructions(dockerfile):
        if instruction.keyword == "COPY" and f"--from={context}" in map(str.lower, instruction.flags):
            for path in _words(instruction.arguments)[:-1]:
                if "$" not in path and not path.startswith("<<"):
                    # to Go "**" is "*" and "[^a]" is what "[!a]" is here; nothing leads out of the context
                    pattern = re.sub(r"\*+", "*", path).replace("[^", "[!")
                    paths[posixpath.normpath(f"/{pattern}").strip("/")] = None
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
                native_stages.add(stage)
        elif instruction.keyword == "RUN" and not native:
            return True
    return False


def _parsed(line: str) -> Instruction:
    match = _INSTRUCTION.match(line)
    if match is None:
        return Instruction("", (), line)
    flags = tuple(re.sub("[\"']", "", flag) for flag in re.findall(_FLAG, match[2]))
    return Instruction(match[1].upper(), flags, match[3].strip())


def _from(instruction: Instruction) -> tuple[str, str]:
    base, *rest = instruction.arguments.split() or [""]
    return base, rest[1].lower() if len(rest) == 2 and rest[0].upper() == "AS" else ""


def _words(arguments: str) -> list[str]:
    """The arguments of COPY, in words or as a JSON list."""
    try:
        words = json.loads(arguments)
    except (ValueError, RecursionError):
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return [re.sub("[\"']", "", word) for word in arguments.split()]
