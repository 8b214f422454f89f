"""Everything that can be known to go wrong before a build starts, listed at once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from generator.bake.contents import source_problems
from generator.bake.job import Job, Options
from generator.config.reference import mirrored
from generator.docker.engine import Facts
from generator.docker.git import Checkout, uncommitted
from generator.errors import EngineError, InputError, Problem
from generator.plan.plan import Plan, Target
from generator.render.dockerfile import runs_on_target

SECRET_FILES = ("CA_BUNDLE", "MAVEN_SETTINGS", "PIP_NETRC")
"""HCL variables that hold the path of a file, which the build mounts as a secret."""

BUILDKIT_IMAGE = "moby/buildkit:buildx-stable-1"
"""What buildx pulls for a docker-container builder unless told otherwise (its driver's default image)."""


def input_problems(job: Job, options: Options, plan: Plan, root: Path, tree: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with the user's files and flags. ``tree`` has the text of each rendered Dockerfile by path."""
    for target in job.targets:
        if options.output == "push" and target.kind == "third-party":
            yield Problem(
                target.name,
                "a third-party image keeps its own name and is never pushed; carry it with "
                "fategen bundle save third-party, or mirror it and set BASE_REGISTRY",
            )
        if options.output != "none" and target.kind == "builder":
            yield Problem(
                target.name, f"only the build uses it: it has no tag to {options.output}; leave --{options.output} out"
            )
        if options.published_base and target.kind == "base":
            yield Problem("--base published", f"{target.name} itself is to be built; name the components instead")
    yield from source_problems(root, job.involved, tree)
    yield from file_problems(plan, root)


def file_problems(plan: Plan, root: Path) -> Iterator[Problem]:
    """Each file that the settings name and that is not there: of a build secret, or the requirements."""
    for name, value in named_files(plan).items():
        if not (root / value).is_file():
            yield Problem(plan.settings.where(name), f"{name}: {value} is not a file")


def named_files(plan: Plan) -> dict[str, str]:
    """Key -> file, of those that the settings name."""
    return secret_files(plan) | ({"REQUIREMENTS": plan.settings.requirements} if plan.settings.requirements else {})


def secret_files(plan: Plan) -> dict[str, str]:
    return {v.name: v.value for v in plan.variables if v.name in SECRET_FILES and v.value}


def ca_file(plan: Plan, root: Path) -> Path | None:
    """The file that CA_BUNDLE names, where there is one."""
    named = next((v.value for v in plan.variables if v.name == "CA_BUNDLE"), "")
    return root / named if named and (root / named).is_file() else None


def dirty_problems(job: Job, options: Options, plan: Plan, states: Mapping[str, Checkout]) -> Iterator[Problem]:
    """What is not committed must not become the release that ``.env`` names; a tag of one's own may have it."""
    if options.output != "push" or options.allow_dirty:
        return
    found: dict[tuple[str, str], str] = {}
    for target in job.targets:
        key, tag = ("BASE_TAG", plan.settings.base_tag) if target.kind == "base" else ("TAG", plan.settings.tag)
        if target.tags and plan.settings.where(key) != "--set":
            for name in uncommitted(job.sources(target), states):
                found.setdefault((name, key), tag)
    for (name, key), tag in found.items():
        yield Problem(
            states[name].source.where,
            f"{states[name].describe()}; it is not pushed as {tag}, which is the release's tag: commit it, or give the "
            f"push a tag of its own (--set {key}=…), or add --allow-dirty",
        )


def engine_problems(
    job: Job, options: Options, facts: Facts, plan: Plan, dockerfiles: Mapping[str, str]
) -> Iterator[Problem]:
    """What the builder or the engine cannot do. ``dockerfiles`` has the text of each rendered Dockerfile by path."""
    builder, engine = facts.builder, facts.engine
    if facts.too_old:
        yield Problem(
            f"builder {builder.name}",
            f"{facts.too_old} is too old to build (named contexts need Docker 23 or BuildKit 0.10): update it, or\n"
            f"    {create_command(plan)}\n"
            "  and add --builder fategen",
        )
        return
    several = [target for target in job.involved if len(target.platforms) > 1]
    # what the engine cannot keep, no builder helps it to
    several_loaded = [target for target in job.targets if len(target.platforms) > 1 and options.output == "load"]
    if several and not facts.multi_platform and not several_loaded:
        yield Problem(
            f"builder {builder.name}",
            "the docker driver on this image store (graphdriver) builds one platform at a time: create a builder with\n"
            f"    {create_command(plan)}\n"
            f"  and add --builder fategen, or build one platform: --platform {engine.platform}",
        )
    if options.attestations and not facts.multi_platform:
        # buildx says "Attestation is not supported for the docker driver" (0.13.1), whatever is done with the image
        for key in attested(plan):
            without = f"leave it out: --set {key}=false"
            yield Problem(
                plan.settings.where(key),
                f"{key}: the docker driver on this image store (graphdriver) makes no attestations: "
                + (
                    without
                    if options.output == "load"
                    else f"create a builder with\n    {create_command(plan)}\n  and add --builder fategen, or {without}"
                ),
            )
    for platform, names in sorted(emulated(job, facts, dockerfiles).items()):
        yield Problem(
            f"builder {builder.name}",
            f"runs no {platform} program, which {', '.join(names)} needs (it has {' '.join(builder.platforms)}): "
            "install an emulator (apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm "
            f"tonistiigi/binfmt --install {platform.split('/')[1]}), or add a node that has it "
            f"(docker buildx create --append --name {builder.name} …), or leave it out with --platform",
        )
    if options.output == "load":
        if engine.problem is not None:
            yield Problem("--load", f"{engine.problem.message}: {engine.problem.hint}")
        elif engine.store == "graphdriver" and several_loaded:
            name, count = several_loaded[0].name, len(several_loaded[0].platforms)
            yield Problem(
                "--load",
                f"this engine keeps one platform of an image, and {name} has {count}: add "
                f'--platform {engine.platform}, or turn its containerd image store on ({{"features": '
                '{"containerd-snapshotter": true}} in /etc/docker/daemon.json, then restart it)',
            )


def the_engines_own(job: Job, options: Options, facts: Facts) -> str | None:
    """The platform to build where several would be loaded, nobody asked for them, and the engine keeps one."""
    engine = facts.engine
    if options.output != "load" or options.platforms or engine.problem is not None or engine.store != "graphdriver":
        return None
    several = any(len(target.platforms) > 1 for target in job.targets)
    return engine.platform if several and all(engine.platform in t.platforms for t in job.targets) else None


def attested(plan: Plan) -> list[str]:
    """The keys of ``.env`` that ask for an attestation."""
    return [key for key, asked in (("PROVENANCE", plan.settings.provenance), ("SBOM", plan.settings.sbom)) if asked]


def create_command(plan: Plan) -> str:
    """The command that makes a builder which can do everything, at this site."""
    options = []
    if re.match(r"^(localhost|127\.\d+\.\d+\.\d+)(:\d+)?(/|$)", plan.settings.prefix):
        # a builder in a container has a loopback interface of its own
        options.append("network=host")
    if plan.settings.base_registry:
        options.append(f"image={mirrored(BUILDKIT_IMAGE, plan.settings.base_registry)}")
    flags = "".join(f" --driver-opt {shlex.quote(option)}" for option in options)
    return f"docker buildx create --name fategen --driver docker-container{flags} --bootstrap"


def emulated(job: Job, facts: Facts, dockerfiles: Mapping[str, str]) -> dict[str, list[str]]:
    """Platforms for which a step must run and that the builder does not have, with the images that need it."""
    missing: dict[str, list[str]] = {}
    for target in job.involved:
        if not runs_on_target(dockerfiles.get(target.dockerfile, "")):
            continue
        for platform in target.platforms:
            name = job.shown(target.name)
            if platform not in facts.builder.platforms and name not in missing.setdefault(platform, []):
                missing[platform].append(name)
    return {platform: names for platform, names in missing.items() if names}


def raise_problems(inputs: list[Problem], engines: list[Problem]) -> None:
    """One error for everything that was found, if anything; the user's own files and flags decide its exit code."""
    if inputs:
        raise InputError(inputs + engines, hint="correct that and run it again; nothing was started")
    if engines:
        message = InputError(engines).message
        raise EngineError(message, hint="nothing was started; fategen doctor shows what this machine has")


def outside(root: Path, plan: Plan, involved: tuple[Target, ...]) -> list[str]:
    """Paths outside the project that the build reads: newer buildx wants leave for each (``--allow fs.read=…``)."""
    paths = [source.location for target in involved for source in target.sources if source.local]
    paths += secret_files(plan).values()
    root = root.resolve()
    resolved = dict.fromkeys((root / path).resolve() for path in paths)
    return [str(path) for path in resolved if root != path and root not in path.parents]
