"""What bake is to build: the named images, the targets that they depend on, their platforms and tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from generator.errors import InputError, Problem, did_you_mean
from generator.plan.names import image_variable
from generator.plan.plan import Plan, Target, lacking, linked

Output = Literal["none", "push", "load"]


@dataclass(frozen=True)
class Options:
    """The flags of ``fategen bake``. Empty text and empty tuples mean "as the plan or docker says"."""

    output: Output = "none"
    platforms: tuple[str, ...] = ()
    builder: str = ""
    no_cache: bool = False
    published_base: bool = False
    allow_dirty: bool = False
    overwrite: bool = False
    untagged: bool = False
    """whether a push only uploads, for ``fategen join``"""
    attestations: bool = True
    """whether PROVENANCE and SBOM count; a bundle carries no attestations"""


@dataclass(frozen=True)
class Job:
    """One run. ``targets`` were asked for, ``involved`` adds what they are linked to; both in build order.

    Their platforms are final: with ``--platform`` they may be fewer than the file's, and ``overrides`` tell bake.
    ``left_out`` says what a group has and this run does not build.
    """

    targets: tuple[Target, ...]
    involved: tuple[Target, ...]
    options: Options
    overrides: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[Target, ...]:
        """The targets that are images with names: no builders."""
        return tuple(target for target in self.targets if target.tags)

    @cached_property
    def _by_name(self) -> dict[str, Target]:
        return {target.name: target for target in self.involved}

    def shown(self, name: str) -> str:
        """The image that a target belongs to: a copy for fewer platforms is reported as its original."""
        target = self._by_name.get(name)
        return (target and target.inherits) or name

    def sources(self, target: Target) -> set[str]:
        """The names of the sources that a target is built from in this run, its parents' included."""
        parts = linked(self.involved, [target.name])
        labeled = {part.main_source.name for part in parts if part.main_source is not None}
        return labeled | {source.name for part in parts for source in part.sources}

    def platform(self, name: str, platform: str) -> str:
        """A step's platform; BuildKit leaves it out if the target has only one."""
        target = self._by_name.get(name)
        return platform or (target.platforms[0] if target and len(target.platforms) == 1 else "")


def variables(plan: Plan, *, published_base: bool = False) -> dict[str, str]:
    """The value of every HCL variable in this run; ``published_base`` links to what the registry has."""
    values = {variable.name: variable.value for variable in plan.variables}
    if published_base:
        for target in plan.targets:
            if target.kind == "base" and not target.inherits:
                values[image_variable(target.name)] = f"docker-image://{target.tags[0]}"
    return values


def make_job(plan: Plan, names: Sequence[str], options: Options) -> Job:
    """Decides what is built. Raises InputError for unknown names and for a platform that a named image lacks."""
    names, known = names or ("default",), plan.settings.platforms
    problems = [
        Problem("--platform", f"{platform} is not among PLATFORMS ({' '.join(known)}){did_you_mean(platform, known)}")
        for platform in options.platforms
        if platform not in known
    ]
    selected = plan.select(names)
    for target in (target for target in selected if target.name in names):
        missing = (skipped for skipped in target.skipped if skipped.platform in options.platforms)
        problems += [Problem(target.name, f"has no {skipped.platform}: {skipped.reason}") for skipped in missing]
    kept = {t.name for t in selected if not options.platforms or set(t.platforms) & set(options.platforms)}
    if not problems and not kept:
        problems.append(Problem("--platform", f"no image of {' '.join(names)} has {' '.join(options.platforms)}"))
    if problems:
        raise InputError(problems, hint="fategen images lists every image's platforms, and why it lacks one")
    values = variables(plan, published_base=options.published_base)
    needed = linked(plan.targets, kept, lambda c: not c.variable or values[c.variable].startswith("target:"))
    if not options.platforms:
        return Job(tuple(target for target in needed if target.name in kept), needed, options)
    narrowed = {
        target.name: replace(target, platforms=tuple(p for p in target.platforms if p in options.platforms))
        for target in needed
    }
    # a copy of a target for fewer platforms may now have the platforms of its original: that is built once
    copies = {
        target.name: target.inherits
        for target in narrowed.values()
        if target.inherits in narrowed and target.platforms == narrowed[target.inherits].platforms
    }
    involved = tuple(
        replace(target, contexts=tuple(replace(c, target=copies.get(c.target, c.target)) for c in target.contexts))
        for target in narrowed.values()
        if target.name not in copies
    )
    overrides = [f"{target.name}.platform={','.join(target.platforms)}" for target in involved]
    originals = set(copies.values())
    for target in involved:
        links = (context for context in target.contexts if context.target in originals)
        overrides += [f"{target.name}.contexts.{context.name}=target:{context.target}" for context in links]
    left_out = lacking((target for target in selected if target.name not in names), options.platforms)
    return Job(tuple(t for t in involved if t.name in kept), involved, options, tuple(overrides), tuple(left_out))


def not_built(plan: Plan, names: Sequence[str]) -> list[str]:
    """What images of these groups lack that have none of the settings' platforms."""
    members = {image for name in names or ("default",) for image in plan.members.get(name, ())}
    return lacking(target for target in plan.unavailable if target.name in members)
