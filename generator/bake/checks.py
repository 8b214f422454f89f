"""The checks before a build: one list, of which bake raises what stops a build and ``fategen doctor`` prints all.

A check looks at one thing and gives a ``Check``: the row that the doctor prints, and the problems that stop this build.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from generator import __version__
from generator.bake.job import Job, Options, make_job
from generator.config.reference import mirrored
from generator.config.settings import key_of
from generator.docker.config import docker_config, mapping
from generator.docker.engine import BUILDX_NEEDED, DAEMON_DRIVERS, Answers, Engine, Facts, ask
from generator.docker.git import Checkout, uncommitted
from generator.docker.hints import GET_BUILDX, GET_DAEMON, GET_DOCKER
from generator.docker.process import find_docker
from generator.errors import EngineError, FategenError, InputError, Problem
from generator.plan.plan import Plan, PlannedSource
from generator.project import Project, find_project
from generator.render.dockerfile import copied, runs_on_target
from generator.text import show_version
from generator.workspace import Workspace, load

State = Literal["ok", "note", "missing"]

SECRET_FILES = ("CA_BUNDLE", "MAVEN_SETTINGS", "PIP_NETRC")
"""HCL variables that hold the path of a file, which the build mounts as a secret."""

OFFLINE = "render, images, bundle inspect and verify"
"""What needs no engine at all."""
WITHOUT_PROJECT = "bundle inspect, verify and load"
DISK_NEEDED = 10_000_000_000
"""Bytes that a full build of FATE 1.3 takes: bases, Maven's and pip's caches, layers and their exported copies."""
SHOWN = 3
"""Missing paths that a message names."""
CONTAINERD_STORE = '{"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json, then restart the daemon'
BUILDKIT_IMAGE = "moby/buildkit:buildx-stable-1"
"""What buildx pulls for a docker-container builder unless told otherwise (its driver's default image)."""


@dataclass(frozen=True)
class Check:
    """What one check found. ``missing``: bake does not work; ``note``: something else, or only some images, do not.

    ``get`` says how to get what is needed and ``without`` what works without it. ``problems`` stop the build that is
    asked for.
    """

    name: str
    state: State
    found: str
    needed: str
    get: str = ""
    without: str = ""
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if name != "problems"}


@dataclass(frozen=True)
class Build:
    """What is checked: the project, and what bake is asked to do with it."""

    workspace: Workspace
    job: Job
    options: Options

    @property
    def plan(self) -> Plan:
        return self.workspace.plan

    @property
    def root(self) -> Path:
        return self.workspace.project.root


def build_everything(workspace: Workspace) -> Build:
    """The build that the doctor has in mind: all images, for every platform of the settings."""
    return Build(workspace, make_job(workspace.plan, ("all",), Options()), Options())


def raise_problems(inputs: Sequence[Problem], engine: Sequence[Problem] = ()) -> None:
    """One error for all problems, if there are any; those of the user's files and flags decide its exit code."""
    if inputs:
        raise InputError([*inputs, *engine], hint="fix this and run the same command again; nothing was started")
    if engine:
        message = InputError(engine).message
        raise EngineError(message, hint="nothing was started; fategen doctor shows what this machine has")


# the user's files and flags


def flag_problems(build: Build) -> Iterator[Problem]:
    """Flags that the named images do not go with."""
    options = build.options
    for target in build.job.targets:
        if options.output == "push" and target.kind == "third-party":
            yield Problem(
                target.name,
                "a third-party image keeps its own name and is never pushed; bundle it with "
                "fategen bundle save third-party, or mirror it and set BASE_REGISTRY",
            )
        if options.output != "none" and target.kind == "builder":
            yield Problem(
                target.name,
                f"it is used only during the build and has no tag to {options.output}; remove --{options.output}",
            )
        if options.published_base and target.kind == "base":
            yield Problem(
                "--base published",
                f"{target.name} is not built; name the components instead",
            )


def file_checks(build: Build) -> list[Check]:
    """The files of this machine that the project names: local sources, build secrets, requirements."""
    sources = {source.name: source for t in build.job.involved for source in t.sources if source.local}
    locations = [source.location for source in sources.values()]
    files = named_files(build.plan)
    missing = [
        Problem(build.plan.settings.where(name), f"{name}: {path} is not a file")
        for name, path in files.items()
        if not (build.root / path).is_file()
    ]
    return [
        *_file_check(
            "sources", locations, "what the Dockerfiles copy", list(_source_problems(build, sources.values()))
        ),
        *_file_check("files", list(files.values()), "readable files", missing),
    ]


def _file_check(name: str, paths: Sequence[str], needed: str, problems: Sequence[Problem]) -> list[Check]:
    if problems:
        get = "correct the path in .env or .env.local, or check out the right commit there"
        text = "; ".join(map(str, problems))
        return [Check(name, "missing", text, needed, get, "images that do not need them", tuple(problems))]
    return [Check(name, "ok", ", ".join(paths), needed)] if paths else []


def named_files(plan: Plan) -> dict[str, str]:
    """Key -> file, of those that the settings name."""
    return secret_files(plan) | ({"REQUIREMENTS": plan.settings.requirements} if plan.settings.requirements else {})


def secret_files(plan: Plan) -> dict[str, str]:
    return {v.name: v.value for v in plan.variables if v.name in SECRET_FILES and v.value}


def ca_bundle(plan: Plan, root: Path) -> Path | None:
    """The file that CA_BUNDLE names, where there is one."""
    name = secret_files(plan).get("CA_BUNDLE")
    return root / name if name and (root / name).is_file() else None


def _source_problems(build: Build, sources: Iterable[PlannedSource]) -> Iterator[Problem]:
    """Each local source that is missing, empty, or without paths that a Dockerfile copies from it."""
    dockerfiles = dict.fromkeys(target.dockerfile for target in build.job.involved if target.sources)
    for source in sources:
        wanted: dict[str, str] = {}
        for dockerfile in dockerfiles:
            for path in copied(build.workspace.tree.get(dockerfile, ""), source.name):
                wanted.setdefault(path, dockerfile)
        if wrong := _wrong_source(build.root / source.location, wanted):
            yield Problem(source.where, f"{key_of(source.name, '_SOURCE')}: {source.location} {wrong}")


def _wrong_source(directory: Path, wanted: Mapping[str, str]) -> str:
    if not directory.is_dir():
        return "is not a directory"
    if not any(directory.iterdir()):
        return "is empty: a checkout is expected"
    missing = [path for path in wanted if path and not any(directory.glob(path))]
    if not missing:
        return ""
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    files = " and ".join(dict.fromkeys(wanted[path] for path in missing))
    return f"is not the expected checkout: it has no {', '.join(missing[:SHOWN])}{more} (for {files})"


def dirty_problems(build: Build, states: Mapping[str, Checkout]) -> Iterator[Problem]:
    """Uncommitted sources must not become the release that ``.env`` names; a push to another tag may have them."""
    options, settings = build.options, build.plan.settings
    if options.output != "push" or options.allow_dirty:
        return
    tags: dict[tuple[str, str], str] = {}
    for target in build.job.targets:
        key, tag = ("BASE_TAG", settings.base_tag) if target.kind == "base" else ("TAG", settings.tag)
        if target.tags and settings.where(key) != "--set":
            for name in uncommitted(build.job.sources(target), states):
                tags.setdefault((name, key), tag)
    for (name, key), tag in tags.items():
        yield Problem(
            states[name].source.where,
            f"{states[name].describe()}; it is not pushed as {tag}, which is the release's tag: commit it, or give the "
            f"push a tag of its own (--set {key}=…), or add --allow-dirty",
        )


# docker, its engine and the builder


def engine_checks(answers: Answers | EngineError, workspace: Workspace | None) -> list[Check]:
    """Docker, its engine and image store, buildx and the builder, as the doctor prints them."""
    if isinstance(answers, EngineError):
        return [Check("docker", "missing", answers.message, "docker's command line", GET_DOCKER, OFFLINE)]
    engine, buildx, builder = answers.engine, answers.buildx, answers.builder
    checks = [Check("docker", "ok", engine.client or "yes", "docker's command line")]
    needs_daemon = builder is None or builder.driver in DAEMON_DRIVERS
    if engine.problem is not None:
        state: State = "missing" if needs_daemon else "note"
        without = OFFLINE if needs_daemon else f"{OFFLINE}, bake with and without --push, bundle save"
        get = engine.problem.hint or GET_DAEMON
        checks.append(Check("engine", state, engine.problem.message, "a daemon", get, without))
    else:
        checks += [Check("engine", "ok", f"{engine.version}, {engine.platform}", "a daemon"), _store_check(engine)]
    if buildx is None or buildx < BUILDX_NEEDED:
        version = "none" if buildx is None else show_version(buildx)
        return [*checks, Check("buildx", "missing", version, "0.13 or later", GET_BUILDX, f"{OFFLINE}, bundle load")]
    checks.append(Check("buildx", "ok", show_version(buildx), "0.13 or later"))
    if (facts := facts_of(answers)) is not None:
        build = build_everything(workspace) if workspace else None
        return [*checks, builder_check(facts, build), *platform_checks(facts, build)]
    if engine.problem is None or not needs_daemon:
        error = answers.inspection.last_line if builder is None else builder.error
        get = "docker buildx ls lists the builders; docker buildx use NAME chooses one"
        checks.append(Check("builder", "missing", error, "a builder that answers", get, OFFLINE))
    return checks


def facts_of(answers: Answers | EngineError) -> Facts | None:
    """What a build would meet; None where there is nothing to build with."""
    if isinstance(answers, EngineError) or answers.buildx is None or answers.buildx < BUILDX_NEEDED:
        return None
    builder = answers.builder
    return None if builder is None or builder.error else Facts(answers.engine, answers.buildx, builder)


def _store_check(engine: Engine) -> Check:
    if engine.store == "containerd":
        return Check("image store", "ok", engine.store, "containerd")
    without = "one platform at a time with --load and bundle save, several with another builder; bundle load"
    return Check("image store", "note", engine.store, "containerd", CONTAINERD_STORE, without)


def builder_check(facts: Facts, build: Build | None) -> Check:
    """Whether the builder builds what is asked for: several platforms at once, attestations."""
    builder = facts.builder
    where = f"builder {builder.name}"
    create = create_command(build.plan) if build else "docker buildx create --name fategen --bootstrap"
    instead = f"create a builder with\n    {create}\n  and add --builder fategen"
    if facts.too_old:
        message = (
            f"{facts.too_old} is too old to build (named contexts need Docker 23 or BuildKit 0.10): update it, or "
            f"{instead}"
        )
        return Check(
            "builder",
            "missing",
            f"{builder.name}, {facts.too_old}",
            "Docker 23 or BuildKit 0.10, or later",
            f"a newer Docker, or {create}, then --builder fategen",
            f"{OFFLINE}, bundle load",
            (Problem(where, message),),
        )
    nodes = len(builder.nodes)
    found = f"{builder.name}, driver {builder.driver}, {nodes} node{'s' if nodes != 1 else ''}"
    found += "" if builder.running else ", not running (bake starts it)"
    versions = sorted({node.buildkit for node in builder.nodes if node.buildkit and "unknown" not in node.buildkit})
    found += f", BuildKit {' '.join(versions)}" if versions else ""
    needed = "several platforms at once, OCI layouts"
    if facts.multi_platform:
        return Check("builder", "ok", found, needed)
    problems = []
    several = build is None or any(len(target.platforms) > 1 for target in build.job.involved)
    if build and several and not _several_loaded(build):
        message = "the docker driver on this image store (graphdriver) builds one platform at a time: "
        problems.append(
            Problem(where, f"{message}{instead}, or build one platform: --platform {facts.engine.platform}")
        )
    for key in _attested(build.plan) if build and build.options.attestations else ():
        # buildx says "Attestation is not supported for the docker driver" (0.13.1), whatever is done with the image
        message = f"{key}: the docker driver on this image store (graphdriver) makes no attestations: "
        without = f"turn it off: --set {key}=false"
        other = without if build and build.options.output == "load" else f"{instead}, or {without}"
        problems.append(Problem(build.plan.settings.where(key) if build else "", message + other))
    return Check(
        "builder",
        "missing" if several or problems else "note",
        found,
        needed,
        f"{create}, then --builder fategen (or the containerd image store)",
        "one platform at a time with --platform; bundle save of the engine's own",
        tuple(problems),
    )


def platform_checks(facts: Facts, build: Build | None) -> list[Check]:
    """Each platform that is built for: only a RUN step on it needs a builder that has it."""
    builder = facts.builder
    if not builder.running or facts.too_old:
        return []
    if build is None:
        return [Check("platforms", "ok", " ".join(builder.platforms), "")]
    platforms = build.options.platforms or build.plan.settings.platforms
    return [platform_check(platform, facts, emulated(build, platform)) for platform in platforms]


def platform_check(platform: str, facts: Facts, images: Sequence[str]) -> Check:
    """``images`` have RUN steps on the platform; what only copies is built without it."""
    builder = facts.builder
    if platform in builder.platforms:
        return Check(platform, "ok", "native or emulated", "in PLATFORMS")
    message = (
        f"cannot run {platform} programs, which {', '.join(images)} needs (it has {' '.join(builder.platforms)}): "
        "install an emulator (apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm "
        f"tonistiigi/binfmt --install {platform.split('/')[1]}), or add a node that has it "
        f"(docker buildx create --append --name {builder.name} …), or leave it out with --platform"
    )
    return Check(
        platform,
        "missing" if images else "note",
        "no",
        f"for RUN steps of {', '.join(images)}" if images else "for RUN steps on it, which no image has",
        "apt-get install qemu-user-static binfmt-support, or a node of that platform (docker buildx create --append)",
        "images whose steps on that platform only copy",
        (Problem(f"builder {builder.name}", message),) if images else (),
    )


def emulated(build: Build, platform: str) -> list[str]:
    """The images that have a RUN step on this platform."""
    job, tree = build.job, build.workspace.tree
    targets = (t for t in job.involved if platform in t.platforms and runs_on_target(tree.get(t.dockerfile, "")))
    return list(dict.fromkeys(job.shown(target.name) for target in targets))


def load_problems(build: Build, facts: Facts) -> Iterator[Problem]:
    """What keeps the local engine from taking the images."""
    engine = facts.engine
    if build.options.output != "load":
        return
    if engine.problem is not None:
        yield Problem("--load", f"{engine.problem.message}: {engine.problem.hint}")
    elif engine.store == "graphdriver" and (several := _several_loaded(build)):
        name, count = several
        yield Problem(
            "--load",
            f"this engine keeps one platform of an image, and {name} has {count}: add "
            f"--platform {engine.platform}, or turn on its containerd image store ({CONTAINERD_STORE})",
        )


def _several_loaded(build: Build) -> tuple[str, int] | None:
    """The first image that is loaded for several platforms, and how many: no builder helps an engine to keep them."""
    several = ((target.name, len(target.platforms)) for target in build.job.targets if len(target.platforms) > 1)
    return next(several, None) if build.options.output == "load" else None


def build_problems(build: Build, facts: Facts) -> list[Problem]:
    """Everything that the builder or the engine cannot do of what is asked for."""
    checks = (builder_check(facts, build), *platform_checks(facts, build))
    problems = [problem for check in checks for problem in check.problems]
    return problems if facts.too_old else [*problems, *load_problems(build, facts)]


def engine_platform_alone(build: Build, facts: Facts) -> str:
    """The platform to build where several would be loaded, none was asked for, and the engine keeps one; else ""."""
    engine = facts.engine
    if build.options.platforms or engine.problem or engine.store != "graphdriver" or not _several_loaded(build):
        return ""
    return engine.platform if all(engine.platform in target.platforms for target in build.job.targets) else ""


def _attested(plan: Plan) -> list[str]:
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


# the doctor


def examine(start: Path, environment: Mapping[str, str]) -> list[Check]:
    """Every check of this machine and of the project at or above ``start``. Raises nothing that a machine can cause."""
    project, workspace, project_check = _project(start)
    python = f"{__version__}, Python {sys.version.split()[0]}"
    checks = [Check("fategen", "ok", python, "Python 3.10 or later"), project_check]
    answers: Answers | EngineError | None = None
    try:
        docker = find_docker()
    except EngineError:
        checks.append(Check("docker", "missing", "none", "docker's command line", GET_DOCKER, OFFLINE))
    else:
        try:
            answers = ask(docker)
        except EngineError as error:
            answers = error
        checks += engine_checks(answers, workspace)
    checks.append(disk_check(shutil.disk_usage(project.root if project else start).free))
    git = shutil.which("git")
    get = "" if git else "apt-get install git"
    needed = "to keep the rendered files under review"
    checks.append(Check("git", "ok" if git else "note", git or "none", needed, get, "" if git else "every command"))
    if workspace is not None:
        from generator.bake.registry import registry_checks

        checks += file_checks(build_everything(workspace))
        checks += registry_checks(facts_of(answers) if answers else None, workspace, environment)
    return [*checks, proxy_check(docker_config(environment), environment)]


def _project(start: Path) -> tuple[Project | None, Workspace | None, Check]:
    try:
        project = find_project(start)
    except FategenError:
        needed = "a directory with a .env"
        return None, None, Check("project", "note", "none", needed, "fategen init", WITHOUT_PROJECT)
    try:
        workspace = load(project)
    except FategenError as error:
        needed = "a .env without errors"
        return project, None, Check("project", "missing", error.message, needed, error.hint, WITHOUT_PROJECT)
    plan = workspace.plan
    found = f"FATE {plan.release} → {plan.settings.prefix}, tag {plan.settings.tag}"
    if not (stale := len(workspace.drift())):
        return project, workspace, Check("project", "ok", found, "a directory with a .env")
    found += f"; {stale} generated file{'s' if stale > 1 else ''} not up to date"
    return (
        project,
        workspace,
        Check("project", "missing", found, "the files that .env renders", "fategen render", "everything except bake"),
    )


def disk_check(free: int) -> Check:
    """``free`` bytes where the project is; a daemon elsewhere may have another disk."""
    found, needed = f"{free / 1e9:.0f} GB free", f"{DISK_NEEDED / 1e9:.0f} GB for a full build and a bundle"
    if free >= DISK_NEEDED:
        return Check("disk", "ok", found, needed)
    get = "docker buildx prune frees build caches; you can delete .fategen"
    return Check("disk", "note", found, needed, get, "small builds")


def proxy_check(config: Mapping[str, Any], environment: Mapping[str, str]) -> Check:
    """The proxies that docker and the builds would use; nothing is wrong with any or none."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    set_names = [name for name in names if environment.get(name) or environment.get(name.lower())]
    found = [f"{' '.join(set_names)} in the environment (for docker itself)"] if set_names else []
    if mapping(config, "proxies"):
        found.append("proxies in docker's config.json (reach every build)")
    return Check("proxies", "ok", "; ".join(found) or "none", "a build behind a proxy: HTTP_PROXY, HTTPS_PROXY in .env")
