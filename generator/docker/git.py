"""The state of a local source in git: the commit that is checked out, and uncommitted changes."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.docker.process import Completed, find_program
from generator.errors import EngineError
from generator.plan.plan import PlannedSource, Target


@dataclass(frozen=True)
class Checkout:
    """A local source. ``commit`` is "" for a directory that is no checkout of its own, or that git does not read.

    ``changed`` are paths whose content is not committed: untracked ones too, since the build reads them, but not what
    git ignores. ``unknown`` says why git could not tell. ``versioned``: it is in a checkout, if not one of its own.
    ``same_files``: the commit is not the release's, but has the same files. ``time`` is when the commit was made, in
    seconds since 1970, if everything is committed.
    """

    source: PlannedSource
    commit: str = ""
    changed: tuple[str, ...] = ()
    unknown: str = ""
    versioned: bool = True
    same_files: bool = False
    time: str = ""

    @property
    def dirty(self) -> bool:
        return bool(self.changed or self.unknown)

    def describe(self) -> str:
        """``library: ../library at commit 1a2b3c4d5e6f, not the release's e8a4a8c6d16d; uncommitted: a.py, b.py``."""
        text = f"{self.source.name}: {self.source.location}"
        if self.commit:
            text += f" at commit {self.commit[:12]}"
            if self.source.release_commit not in ("", self.commit) and not self.same_files:
                text += f", not the release's {self.source.release_commit[:12]}"
        if self.changed:
            text += f"; uncommitted: {', '.join(self.changed[:3])}"
            text += f" and {len(self.changed) - 3} more" if len(self.changed) > 3 else ""
        return text + (f"; cannot tell whether everything is committed: {self.unknown}" if self.unknown else "")


def checkouts(root: Path, targets: Iterable[Target]) -> dict[str, Checkout]:
    """The state of each local source of these targets, by name. ``root`` is what relative locations start from."""
    sources = {s.name: s for target in targets for s in target.sources if s.local}
    return {name: look(root / source.location, source) for name, source in sources.items()}


def look(directory: Path, source: PlannedSource) -> Checkout:
    """Asks git about one directory.

    A directory inside a larger checkout is no checkout of its own: its commit is not the source's, unless the catalogue
    names that directory, but its uncommitted changes are.
    """
    top = (directory / ".git").exists()
    if not top and not any((above / ".git").exists() for above in directory.resolve().parents):
        return Checkout(source, versioned=False)
    try:
        done = _git(directory, *_STATUS)
    except EngineError as error:
        return Checkout(source, unknown=error.message)
    if not done.ok:
        return Checkout(source, unknown=done.last_line)
    checkout = Checkout(source, *parse_status(done.stdout))
    if source.release_commit and not top:
        return replace(checkout, commit="")
    # nothing depends on the answers to these: in a partial clone git may wait for a network
    with contextlib.suppress(EngineError):
        if checkout.commit and not checkout.dirty:
            shown = _git(directory, "show", "--no-patch", "--no-show-signature", "--format=%ct", checkout.commit)
            checkout = replace(checkout, time=shown.stdout.strip())
        if source.release_commit not in ("", checkout.commit):
            same = _git(directory, "diff-tree", "--quiet", source.release_commit, "HEAD")
            checkout = replace(checkout, same_files=same.ok)
    return checkout


_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--", ".")


def changes(directory: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Those at or below these paths whose content is not committed; none if git cannot tell, or has no checkout."""
    with contextlib.suppress(EngineError):
        done = _git(directory, *_STATUS[:-1], *paths)
        return parse_status(done.stdout)[1] if done.ok else ()
    return ()


def _git(directory: Path, *args: str) -> Completed:
    # the user's index is not refreshed, and no hook or file-system monitor of the checkout's own is started
    flags = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    # GIT_DIR and its like, as a hook has them, would make git look elsewhere; GIT_CONFIG_… may grant safe.directory
    env = {name: value for name, value in os.environ.items() if not re.match("GIT_(?!CONFIG)", name)}
    return find_program("git").at(directory).run((*flags, *args), env=env, timeout=60)


def parse_status(text: str) -> tuple[str, tuple[str, ...]]:
    """The commit, and the paths that differ from it.

    Reads ``git status --porcelain=v2 --branch -z`` (git-status(1), "Porcelain Format Version 2").
    """
    # how many fields stand before an entry's path, by its kind
    before_path = {"1": 7, "2": 8, "u": 9, "?": 0}
    commit, changed = "", []
    entries = iter(text.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if entry.startswith("# branch.oid "):
            commit = entry.split(" ")[2].replace("(initial)", "")
        elif kind in before_path:
            changed.append(rest.split(" ", before_path[kind])[-1])
            if kind == "2":
                next(entries, "")  # where a renamed file was before
    return commit, tuple(changed)


def uncommitted(names: Iterable[str], states: Mapping[str, Checkout]) -> tuple[str, ...]:
    """Of these sources: those with uncommitted changes, or if git cannot tell."""
    return tuple(sorted(name for name in names if name in states and states[name].dirty))


def commit_time(target: Target, sources: Iterable[str], states: Mapping[str, Checkout]) -> str:
    """When the commit of its main source was made; "" if it is no local checkout or any of ``sources`` has changes."""
    main = states.get(target.main_source.name) if target.main_source else None
    return main.time if main and not uncommitted(sources, states) else ""
