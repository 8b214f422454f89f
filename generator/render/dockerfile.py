"""What a Dockerfile says, read as BuildKit reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator


def names_in(dockerfile: str) -> Iterator[tuple[str, str]]:
    """What each ``FROM``, ``COPY --from=`` and ``RUN --mount=…,from=`` names, and the stage that a ``FROM … AS`` begins
    ("" for the others)."""
    # flags stand before the first argument, and may be quoted
    pattern = r"""(FROM|COPY|RUN)\s+((?:--(?:[^\s"']|"[^"]*"|'[^']*')+\s+)*)(\S+)(?:\s+AS\s+(\S+))?"""
    for instruction in instructions(dockerfile):
        if (found := re.match(pattern, instruction, re.IGNORECASE)) and found[1].upper() == "FROM":
            yield found[3], found[4] or ""
        elif found:
            flags = re.sub("[\"']", "", found[2])
            yield from ((name, "") for name in re.findall(r"--(?:mount=(?:\S*?,)?)?from=([^\s,]+)", flags))


def instructions(dockerfile: str) -> Iterator[str]:
    """Each instruction on one line, without comments and here-documents (BuildKit, frontend/dockerfile/parser)."""
    escape = "`" if re.match(r"(?:#\s*\w+\s*=.*\n)*?#\s*escape\s*=\s*`", dockerfile, re.IGNORECASE) else r"\\"
    lines, whole = iter(dockerfile.split("\n")), ""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole += line if whole else line.lstrip()
        if (joined := re.sub(rf"(?<!{escape}){escape}\s*$", "", whole)) != whole:
            whole = joined
            continue
        yield whole
        if re.match(r"(?:ONBUILD\s+)?(?:ADD|COPY|RUN)\s", whole, re.IGNORECASE):
            # what is quoted begins no here-document
            for tabs, _, end in re.findall(r""""[^"]*"|'[^']*'|\s\d*<<(-?)(["']?)([^\s<"']+)\2""", whole):
                while end and next(lines, end).strip("\t\r" if tabs else "\r") != end:
                    pass
        whole = ""
    yield whole
