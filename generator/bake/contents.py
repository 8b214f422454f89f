"""Whether a local source holds what the Dockerfiles copy from it: a wrong or empty checkout is told before a build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from generator.config.settings import key_of
from generator.errors import Problem
from generator.plan.plan import PlannedSource, Target
from generator.render.dockerfile import copied

SHOWN = 3
"""Missing paths that a message names."""


def source_problems(root: Path, targets: Iterable[Target], tree: Mapping[str, str]) -> Iterator[Problem]:
    """Each local source of these targets that is missing, empty or another thing; ``tree`` has their Dockerfiles."""
    wanted: dict[str, dict[str, str]] = {}
    sources: dict[str, PlannedSource] = {}
    for target in targets:
        for source in target.sources:
            if source.local:
                sources[source.name] = source
                for path in copied(tree.get(target.dockerfile, ""), source.name):
                    wanted.setdefault(source.name, {}).setdefault(path, target.dockerfile)
    for name, source in sources.items():
        said = _wrong(root / source.location, wanted.get(name, {}))
        if said:
            yield Problem(source.where, f"{key_of(name, '_SOURCE')}: {source.location} {said}")


def _wrong(directory: Path, wanted: Mapping[str, str]) -> str:
    if not directory.is_dir():
        return "is not a directory"
    if not any(directory.iterdir()):
        return "is empty: it is to be a checkout"
    lacking = [path for path in wanted if path and not any(directory.glob(path))]
    if not lacking:
        return ""
    more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
    files = " and ".join(dict.fromkeys(wanted[path] for path in lacking))
    return f"is not the checkout that is expected: it has no {', '.join(lacking[:SHOWN])}{more} (for {files})"
