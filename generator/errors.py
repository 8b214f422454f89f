"""The error types, their exit codes, and how a message is built: where, what, what to do next.

Exit codes: 1 a check or a build failed, 2 the user's files or flags, 3 engine, registry or disk, 4 a corrupt or
unsafe archive. The command line turns each into ``error: …`` on stderr; nothing else prints one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, at one place.

    ``where`` is ``file:line``, a flag or an image name ("" if there is none); ``message`` says what was found and
    what was expected.
    """

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class FategenError(Exception):
    """Base of every error that a user sees; ``hint`` is the next step."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def render(self) -> str:
        return f"error: {self.message}" + (f"\n  next: {self.hint}" if self.hint else "")


class DriftError(FategenError):
    """The committed files are not what the templates, the catalogue and .env render."""


class BuildError(FategenError):
    """A build or another check of the user's own images failed."""


class InputError(FategenError):
    """The user's files or flags are wrong; carries every problem found, not just the first."""

    exit_code = 2

    def __init__(self, problems: Problem | Sequence[Problem], *, subject: str = "", hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if len(self.problems) == 1:
            message = str(self.problems[0])
        else:
            lines = "".join(f"\n  {p}" for p in self.problems)
            message = f"{len(self.problems)} problems{f' in {subject}' if subject else ''}{lines}"
        super().__init__(message, hint=hint)


class EngineError(FategenError):
    """Docker, buildx, a registry or the disk did not do what was asked."""

    exit_code = 3


class BundleError(FategenError):
    """An archive is corrupt or unsafe. Nothing of it was loaded."""

    exit_code = 4


def raise_all(problems: Sequence[Problem], *, hint: str = "") -> None:
    """Raises InputError with the problems, if there are any, by file and line; those without a line are last."""

    def place(problem: Problem) -> tuple[bool, str, int]:
        file, _, line = problem.where.rpartition(":")
        return not file, file, int(line) if file else 0

    if problems:
        places = {problem.where.rpartition(":")[0] or problem.where for problem in problems}
        subject = places.pop() if len(places) == 1 else ""
        raise InputError(sorted(problems, key=place), subject=subject, hint=hint)


def refused(error: OSError) -> EngineError:
    """The error for an OSError that ended a command: its reason, and the file if known."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        # any write: a log, a temporary file, a rendered one, stdout
        hint = "free some space there and in the temporary directory (TMPDIR), then run the same command again"
        return EngineError(f"{error.filename or 'a file'} cannot be written: {reason}", hint=hint)
    hint = "check its owner and permissions" if error.errno in (errno.EACCES, errno.EPERM) else ""
    return EngineError(str(Problem(str(error.filename or ""), reason)), hint=hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"``, or ``""`` if nothing known is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
