"""What a delta leans on: its bases and the layers that it leaves to them, as they stand in the record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from generator.images.strictjson import Malformed, digest, fields, items, text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""what a bundle may be called"""


def short_root(root: str) -> str:
    """A root digest short enough to read over a telephone (48 bits): against damage, not against an attacker."""
    hexadecimal = root.partition(":")[2]
    return "-".join(hexadecimal[i : i + 4] for i in (0, 4, 8))


@dataclass(frozen=True)
class Base:
    """A bundle that a delta leans on."""

    name: str
    root: str

    @property
    def label(self) -> str:
        """What tells it from another of the same name, in messages."""
        return f"{self.name} (root digest {short_root(self.root)})"


@dataclass(frozen=True)
class Absent:
    """A layer that is not in the file: a base has it. ``manifests`` are those of the base's images that need it."""

    digest: str
    manifests: tuple[str, ...]


def read_base(value: object) -> tuple[tuple[Base, ...], tuple[Absent, ...]]:
    """The bases and the absent layers of a delta; ``Malformed`` where they are not what ``base_json`` makes."""
    found = fields(value, "base", ("bundles", "absent"), closed=True)
    bases, absent = [], []
    for number, entry in enumerate(items(found["bundles"], "base.bundles")):
        one = fields(entry, f"base.bundles[{number}]", ("name", "root"), closed=True)
        name = text(one["name"], "a base's name")
        if not NAME.fullmatch(name):
            raise Malformed(f"{name[:40]!r} is not a bundle name")
        bases.append(Base(name, digest(one["root"], "a base's root")))
    for number, entry in enumerate(items(found["absent"], "base.absent")):
        where = f"base.absent[{number}]"
        one = fields(entry, where, ("digest", "manifests"), closed=True)
        users = tuple(digest(user, f"{where}.manifests") for user in items(one["manifests"], f"{where}.manifests"))
        absent.append(Absent(digest(one["digest"], where), users))
    for what, given in (("bundles", [b.root for b in bases]), ("absent", [a.digest for a in absent])):
        if not given or given != sorted(set(given)):
            raise Malformed(f"base.{what} is not a sorted list")
    return tuple(bases), tuple(absent)


def base_json(bases: Sequence[Base], absent: Sequence[Absent]) -> dict[str, object]:
    """Their place in the record."""
    return {
        "bundles": [{"name": base.name, "root": base.root} for base in bases],
        "absent": [{"digest": one.digest, "manifests": list(one.manifests)} for one in absent],
    }
