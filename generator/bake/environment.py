"""The environment and the arguments of one bake run: values from the plan, never from someone's shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.bake.job import Job, Options
from generator.docker.engine import BUILDX_ALLOW
from generator.text import Version

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_CHANGE_THE_BUILD = (
    "SOURCE_DATE_EPOCH",  # becomes a build argument of every target
    "BUILDX_NO_DEFAULT_ATTESTATIONS",  # PROVENANCE in .env decides
    "BUILDX_GIT_LABELS",  # adds labels to every image
    "BUILDX_GIT_INFO",
    "BUILDX_GIT_CHECK_DIRTY",
    "BUILDKIT_SYNTAX",
)
"""Variables of buildx that change what comes out (docs/reference/building/variables of docker's manual)."""

_CHANGE_THE_METADATA = ("BUILDX_METADATA_PROVENANCE", "BUILDX_METADATA_WARNINGS")


@dataclass(frozen=True)
class Environment:
    """``values`` for bake's process, and what the user should know of what was left out of them."""

    values: Mapping[str, str]
    notes: tuple[str, ...]


def bake_environment(
    process: Mapping[str, str], values: Mapping[str, str], secret: frozenset[str], *, provenance: bool = False
) -> Environment:
    """The caller's environment, with the plan's ``values`` for every HCL variable in place of what it had.

    An environment variable overrides an HCL variable of its name without a word; here it is ignored with one.
    ``secret`` names variables whose values are never shown. Without ``provenance`` nothing records the state of the
    project's git checkout, and buildx need not start seven git processes for each target.
    """
    env = dict(process)
    notes = []
    for name, value in values.items():
        stray = env.pop(name, None)
        if name in _PROXIES:
            # buildx itself goes through the caller's proxy (to registries); Go reads the lower-case names as well
            if stray and not value:
                env.setdefault(name.lower(), stray)
        elif stray is not None and stray != value:
            says = f".env says {name}={value}" if value else f".env does not set {name}"
            shown = f"{name}=***" if name in secret else f"{name}={stray}"
            says = f".env sets {name}" if name in secret and value else says
            notes.append(f"{shown} in the environment is ignored: {says}; use --set {name}=…")
        env[name] = value
    for name in [*(n for n in env if n.startswith("BUILDX_BAKE_")), *_CHANGE_THE_BUILD]:
        stray = env.pop(name, None)
        if stray is not None and name not in values:
            notes.append(f"{name} in the environment is ignored: it would change what is built")
    for name in _CHANGE_THE_METADATA:
        env.pop(name, None)
    env["BUILDX_METADATA_PROVENANCE"] = "disabled"
    if not provenance:
        env["BUILDX_GIT_INFO"] = "false"
    return Environment(env, tuple(notes))


@dataclass(frozen=True)
class Recipe:
    """The bake file of a run and the overrides (``target.key=value``) that belong to it. Paths start at the project."""

    file: str = "out/docker-bake.hcl"
    overrides: tuple[str, ...] = ()


def arguments(
    job: Job,
    options: Options,
    recipe: Recipe,
    buildx: Version,
    names: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
    readable: Sequence[str] = (),
    writable: Sequence[str] = (),
) -> list[str]:
    """``buildx bake …`` for these targets. ``-f`` is always given: bake would merge whatever files it finds.

    ``readable`` and ``writable`` are paths outside of the project; buildx asks leave for them from 0.20 on.
    """
    args = ["buildx", *(["--builder", options.builder] if options.builder else []), "bake", "-f", recipe.file, *flags]
    narrowed = [
        f"{target.name}.platform={','.join(target.platforms)}"
        for target in job.involved
        if job.narrowed and target.platforms
    ]
    if not options.attestations:
        args += ["--provenance=false", "--sbom=false"]
    for override in (*recipe.overrides, *narrowed, *job.relinked, *overrides):
        args += ["--set", override]
    if buildx >= BUILDX_ALLOW:
        args += [f"--allow=fs.read={path}" for path in readable]
        args += [f"--allow=fs.write={path}" for path in writable]
    return [*args, *names]
