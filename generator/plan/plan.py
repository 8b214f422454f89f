"""What a plan is: targets, groups, variables and sources, fully resolved; ``planner.make_plan`` makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from generator.catalogue.contract import Contract, filled
from generator.catalogue.line import Kind
from generator.catalogue.party import Party
from generator.catalogue.schema import Param
from generator.config.settings import Settings
from generator.errors import InputError, Problem, did_you_mean


@dataclass(frozen=True)
class Variable:
    """One HCL variable and the value that bake gets for it; ``secret`` values are never printed."""

    name: str
    value: str
    doc: str
    secret: bool = False


@dataclass(frozen=True)
class Context:
    """One entry of a bake target's ``contexts``.

    ``target`` is the target that it is linked to ("" for a source); ``variable`` is the HCL variable whose value
    replaces that link, or that has the source's location ("" where nothing can replace it); ``value`` is a fixed
    directory.
    """

    name: str
    target: str = ""
    variable: str = ""
    value: str = ""


@dataclass(frozen=True)
class SkippedPlatform:
    """A platform that the settings ask for and the image does not have, and why."""

    platform: str
    reason: str
    origin: str
    """the image whose limit it is: this one or one that it is built from"""


@dataclass(frozen=True)
class Base:
    """A base image of the catalogue as this project pulls it: overridden or behind BASE_REGISTRY.

    ``upstream`` is what that is a copy of: the catalogue's own reference, or the override itself.
    """

    name: str
    reference: str
    upstream: str


@dataclass(frozen=True)
class PlannedSource:
    """Where a source comes from. ``location`` is a git URL with ``#ref``, or a local directory (``local``).

    ``url`` is its repository (the catalogue's, for a local one) and ``revision`` the ref in it ("" for a local one).
    ``release_commit`` is the commit that the release has of it. ``fetch_in`` is the image in which a build stage
    fetches the revision, "" where BuildKit's git context does.
    """

    name: str
    location: str
    local: bool
    url: str
    revision: str
    release_commit: str
    fetch_in: str
    where: str


@dataclass(frozen=True)
class Target:
    """One bake target. A builder has no tags and is never pushed; third-party images keep their own names.

    ``dockerfile`` is the rendered file's path in the project, "" for a third-party image (an inline ``FROM``).
    ``parents`` are the images that it is linked to, in build order; ``inherits`` names the target that this one repeats
    for fewer platforms (bake before buildx 0.20 links only targets with equal platform sets).
    """

    name: str
    kind: Kind
    description: str
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    skipped: tuple[SkippedPlatform, ...]
    contexts: tuple[Context, ...]
    sources: tuple[PlannedSource, ...]
    main_source: PlannedSource | None
    """the source whose repository and revision the labels name"""
    bases: tuple[Base, ...]
    parents: tuple[str, ...]
    dockerfile: str
    template: str
    inherits: str
    params: tuple[tuple[str, Param], ...]
    contract_as_written: Contract
    """the contract as the catalogue writes it, with names such as ``${tag}``"""
    words: tuple[tuple[str, str], ...]
    """the values of those names in this image"""

    @cached_property
    def contract(self) -> Contract:
        """What the image must have and do; filled in when ``verify`` asks for it."""
        return filled(self.contract_as_written, dict(self.words))

    @property
    def reference(self) -> str:
        """The name to start it by: its tag, or for a third-party image the reference that this project pulls."""
        return self.bases[0].reference if self.kind == "third-party" else self.tags[0]


def linked(
    targets: Iterable[Target], names: Iterable[str], follows: Callable[[Context], bool] = lambda _: True
) -> tuple[Target, ...]:
    """Of ``targets``: those of these names and, through links that are followed, all that they are built from."""
    by_name = {target.name: target for target in targets}
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in reached:
            reached.add(name)
            waiting += [context.target for context in by_name[name].contexts if context.target and follows(context)]
    return tuple(target for target in by_name.values() if target.name in reached)


GROUPS: Mapping[str, tuple[Kind, ...]] = {
    "default": ("component",),
    "base": ("base",),
    "components": ("component",),
    "third-party": ("third-party",),
    "all": ("base", "component"),
}
"""The kinds of images in each group. A plan's own groups are without the images that it has no platform for."""


@dataclass(frozen=True)
class Group:
    name: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What will be rendered, built, pushed and carried. ``targets`` are in build order, parents first."""

    settings: Settings
    line: str
    release: str
    variables: tuple[Variable, ...]
    targets: tuple[Target, ...]
    unavailable: tuple[Target, ...]
    """images that have none of the settings' platforms; they are in no group and are not rendered"""
    groups: tuple[Group, ...]
    sbom_scanner: Base | None
    """the image that BuildKit makes an SBOM with, where one is asked for"""
    party: Party | None
    """None where the line has none, or where one of its images has none of the settings' platforms"""

    def target(self, name: str) -> Target:
        return next(t for t in self.targets if t.name == name)

    def select(self, names: Iterable[str]) -> tuple[Target, ...]:
        """The targets of these images and groups, in build order. Raises InputError for names that are neither."""
        groups = {g.name: g.targets for g in self.groups}
        known = {t.name for t in self.targets if not t.inherits}
        wanted: set[str] = set()
        problems = []
        for name in names:
            if name in groups:
                wanted.update(groups[name])
            elif name in known:
                wanted.add(name)
            elif lacking := [t for t in self.unavailable if t.name == name]:
                reasons = "; ".join(f"{k.platform}: {k.reason}" for k in lacking[0].skipped)
                problems.append(Problem(name, f"not built for {' '.join(self.settings.platforms)} ({reasons})"))
            else:
                near = did_you_mean(name, [*known, *groups])
                problems.append(Problem(name, f"no image and no group of FATE {self.release}{near}"))
        if problems:
            raise InputError(problems, hint="fategen images lists them")
        return tuple(t for t in self.targets if t.name in wanted)
