"""The checks before a build, in one list: bake stops at those that fail, ``fategen doctor`` prints them all.

A check looks at one thing and gives a ``Check``: the row that the doctor prints, and the problems that stop this build.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
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
from generator.docker.credentials import mapping, read_config
from generator.docker.engine import BUILDX_NEEDED, BUILDX_UNKNOWN, Answers, Facts, asking
from generator.docker.git import Checkout, uncommitted
from generator.docker.hints import GET_BUILDX, GET_DAEMON, GET_DOCKER
from generator.docker.process import find_docker
from generator.errors import EngineError, FategenError, InputError, Problem, did_you_mean
from generator.plan.plan import Plan, PlannedSource, Target
from generator.project import find_project, template_name
from generator.render.dockerfile import copied, runs_on_target
from generator.text import show_version
from generator.workspace import Workspace, load

State = Literal["ok", "note", "missing"]

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

OFFLINE = "render, images, bundle inspect and verify"
"""What needs no engine at all."""
WITHOUT_PROJECT = "bundle inspect, verify and load"
DISK_NEEDED = 10_000_000_000
"""Bytes that a full build may take: bases, Maven's and pip's caches, layers and their exported copies."""
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
    output = build.job.options.output
    for target in build.job.targets:
        if output == "push" and target.kind == "third-party":
            instead = "bundle it with fategen bundle save third-party, or mirror it and set BASE_REGISTRY"
            yield Problem(target.name, f"a third-party image keeps its own name and is never pushed; {instead}")
        if output != "none" and target.kind == "builder":
            wrong = f"it is a build-only image without a tag, so it cannot be {output}ed: remove --{output}"
            yield Problem(target.name, wrong)
        if build.job.options.published_base and target.kind == "base":
            yield Problem("--published-base", f"{target.name} is not built; name the components instead")


def file_checks(build: Build) -> list[Check]:
    """The files of this machine that the project names: local sources, build secrets, requirements."""
    settings = build.workspace.plan.settings
    sources = {source.name: source for t in build.job.involved for source in t.sources if source.local}
    files = secret_files(build.workspace.plan) | build.workspace.plan.files
    missing = [
        Problem(settings.where(name), f"{name}: {path} is not a file")
        for name, path in files.items()
        if not (build.workspace.project.root / path).is_file()
    ]
    for path in ca_files(build.workspace):
        try:
            has_any = re.search(b"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----", path.read_bytes())
            wrong = "" if has_any else "has no certificate in PEM form"
        except OSError as error:
            wrong = f"cannot be read: {error.strerror}"
        if wrong:
            missing.append(Problem(settings.where("CA_BUNDLE"), f"CA_BUNDLE: {settings.ca_bundle} {wrong}"))
    locations = [source.location for source in sources.values()]
    get = "correct the path in .env or .env.local, or check out the right commit there"
    checks = []
    for name, paths, needed, problems in (
        ("sources", locations, "the paths that the Dockerfiles copy", tuple(_source_problems(build, sources.values()))),
        ("files", [*files.values()], "readable files", tuple(missing)),
    ):
        if problems:
            found, without = "; ".join(map(str, problems)), "images that do not need them"
            checks.append(Check(name, "missing", found, needed, get, without, problems))
        elif paths:
            checks.append(Check(name, "ok", ", ".join(paths), needed))
    return checks


def secret_files(plan: Plan) -> dict[str, str]:
    """The files that the build mounts as secrets, by their keys."""
    names = {"CA_BUNDLE", *(own.name for own in plan.family.keys if own.secret)}
    return {v.name: v.value for v in plan.variables if v.name in names and v.value}


def ca_files(workspace: Workspace) -> tuple[Path, ...]:
    """The file that CA_BUNDLE names, if there is one: authorities to trust besides the system's and docker's."""
    file = workspace.project.root / workspace.plan.settings.ca_bundle
    return (file,) if file.is_file() else ()


def _source_problems(build: Build, sources: Iterable[PlannedSource]) -> Iterator[Problem]:
    """Each local source that is missing, empty, or without paths that a Dockerfile copies from it."""
    dockerfiles = {t.dockerfile: build.workspace.tree.get(t.dockerfile, "") for t in build.job.involved}
    for source in sources:
        directory = build.workspace.project.root / source.location
        if not directory.is_dir():
            wrong = "is not a directory"
        elif not os.access(directory, os.R_OK | os.X_OK):
            wrong = "cannot be read: check its owner and permissions"
        elif not any(directory.iterdir()):
            wrong = "is empty: a checkout is expected"
        else:
            copies = ((path, file) for file, text in dockerfiles.items() for path in copied(text, source.name))
            missing = {path: file for path, file in copies if path and not any(directory.glob(path))}
            for path, file in [*missing.items()]:
                if problem := _own_mistake(build, source, path, file):
                    yield problem
                    del missing[path]
            if not missing:
                continue
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            files = " and ".join(dict.fromkeys(missing.values()))
            paths = ", ".join([*missing][:SHOWN])
            wrong = f"has no {paths}{more}, for {files}: check out the right commit, or correct your template"
        # a shell may be elsewhere than in the project
        full = f" ({directory.resolve()})" if source.where == "--source" else ""
        yield Problem(source.where, f"{key_of(source.name, '_SOURCE')}: {source.location}{full} {wrong}")


def _own_mistake(build: Build, source: PlannedSource, path: str, dockerfile: str) -> Problem | None:
    """The problem of a template of the project's own that copies what is not there; None for a packaged template."""
    target = next(target for target in build.job.involved if target.dockerfile == dockerfile)
    template = template_name(build.workspace.template(target))
    if template.startswith("packaged "):
        return None
    parent, name = posixpath.split(path)
    directory = build.workspace.project.root / source.location / parent
    near = did_you_mean(name, [file.name for file in directory.glob("*")])
    lines = enumerate(build.workspace.tree[dockerfile].splitlines(), 1)
    number = next((number for number, line in lines if f"--from={source.name}" in line and path in line), 1)
    what = f"COPY --from={source.name}: {source.location} has no {path}{near} (rendered from {template})"
    return Problem(f"{dockerfile}:{number}", what)


def dirty_problems(build: Build, states: Mapping[str, Checkout]) -> Iterator[Problem]:
    """Uncommitted sources must not become the release that ``.env`` names; a push to another tag may have them."""
    options, settings = build.job.options, build.workspace.plan.settings
    if options.output != "push" or options.allow_dirty:
        return
    for key, tag in (("BASE_TAG", settings.base_tag), ("TAG", settings.tag)):
        tagged = [t for t in build.job.targets if t.tags and (t.kind == "base") == (key == "BASE_TAG")]
        for source in uncommitted({name for target in tagged for name in build.job.sources(target)}, states):
            users = [target for target in tagged if source in build.job.sources(target)]
            fixed = sorted({tag for target in users for tag in target.tag_patterns if "${tag}" not in tag})
            own = settings.where(key) == "--set"
            if own and not fixed:
                continue
            # a tag of its own would not keep the push from a tag that every push writes
            step = "" if fixed else f"push to another tag (--set {key}=…), "
            release = f"{', '.join([tag, *fixed])}, the release's tag{'s' if fixed else ''}"
            what = f"{', '.join(fixed)}, which --set {key} does not change" if own else release
            state = states[source]
            message = f"{state.describe()}; not pushed as {what}: commit the changes, {step}or add --allow-dirty"
            yield Problem(state.source.where, message)


# docker, its engine and the builder


def engine_checks(answers: Answers, build: Build | None) -> list[Check]:
    """Docker, its engine and image store, buildx and the builder, as the doctor prints them."""
    engine, buildx = answers.engine, answers.buildx
    checks = [Check("docker", "ok", engine.client or "yes", "the docker CLI")]
    if engine.problem is None:
        checks.append(Check("engine", "ok", f"{engine.version}, {engine.platform}", "a daemon"))
        without = "one platform at a time with --load and bundle save, several with another builder; bundle load"
        graphdriver = ("", "") if engine.store == "containerd" else (CONTAINERD_STORE, without)
        state: State = "note" if any(graphdriver) else "ok"
        checks.append(Check("image store", state, engine.store, "containerd", *graphdriver))
    else:
        state = "missing" if answers.needs_engine else "note"
        without = OFFLINE if answers.needs_engine else f"{OFFLINE}, bake with and without --push, bundle save"
        get = engine.problem.hint or GET_DAEMON
        checks.append(Check("engine", state, engine.problem.message, "a daemon", get, without))
    if buildx is None or buildx < BUILDX_NEEDED:
        version = "none" if buildx is None else show_version(buildx)
        return [*checks, Check("buildx", "missing", version, "0.13 or later", GET_BUILDX, f"{OFFLINE}, bundle load")]
    version = "built without a version" if buildx == BUILDX_UNKNOWN else show_version(buildx)
    checks.append(Check("buildx", "ok", version, "0.13 or later"))
    try:
        facts = answers.facts()
    except EngineError as error:
        if error is not engine.problem:
            get = "docker buildx ls lists the builders; docker buildx use NAME chooses one"
            checks.append(Check("builder", "missing", error.message, "a builder that answers", get, OFFLINE))
        return checks
    platforms = platform_checks(facts, build) if facts.builder.running else []
    return [*checks, builder_check(facts, build), *platforms]


def builder_check(facts: Facts, build: Build | None) -> Check:
    """Whether the builder supports this build: several platforms at once, attestations."""
    builder = facts.builder
    where, count = f"builder {builder.name}", len(builder.buildkits)
    create = create_command(build.workspace.plan) if build else "docker buildx create --name fategen --bootstrap"
    instead = f"create a builder with\n    {create}\n  and add --builder fategen"
    if facts.too_old:
        needed, get = "Docker 23 or BuildKit 0.10, or later, for named contexts", f"update it, or {instead}"
        problem = Problem(where, f"{facts.too_old} is too old to build (needed: {needed}): {get}")
        found, without = f"{builder.name}, {facts.too_old}", f"{OFFLINE}, bundle load"
        return Check("builder", "missing", found, needed, get, without, (problem,))
    nodes = f"{count} node{'s' if count != 1 else ''}"
    buildkits = sorted({version for version in builder.buildkits if version and "unknown" not in version})
    found = ", ".join([builder.name, f"driver {builder.driver}", nodes])
    found += "" if builder.running else ", not running (bake starts it)"
    found += f", BuildKit {' '.join(buildkits)}" if buildkits else ""
    needed = "several platforms at once, OCI layouts"
    several = build is None or any(len(target.platforms) > 1 for target in build.job.involved)
    if facts.multi_platform and several and count > 1:
        get = "name one platform with --platform, or a builder of one node with --builder"
        return Check("builder", "note", found, needed, get, "--verify and bundle save of several platforms")
    if facts.multi_platform:
        return Check("builder", "ok", found, needed)
    problems = _graphdriver_problems(build, facts, where, instead, several=several) if build else []
    get, without = f"{instead}, or use the containerd image store", "one platform at a time with --platform"
    return Check("builder", "missing" if several or problems else "note", found, needed, get, without, tuple(problems))


def _graphdriver_problems(build: Build, facts: Facts, where: str, instead: str, *, several: bool) -> list[Problem]:
    """What the engine's own builder cannot do on a graphdriver; ``instead`` says how to get another builder."""
    settings, problems = build.workspace.plan.settings, []
    driver = "the docker driver on this image store (graphdriver)"
    if several and not several_loaded(build, facts):
        message = f"{driver} builds one platform at a time: {instead}, or build one platform: --platform "
        problems.append(Problem(where, message + facts.engine.platform))
    for key, asked in (("PROVENANCE", settings.provenance), ("SBOM", settings.sbom)):
        if asked and build.job.options.attestations:
            # buildx: "Attestation is not supported for the docker driver" (0.13.1), whatever is done with the image
            off = f"turn it off: --set {key}=false"
            other = off if build.job.options.output == "load" else f"{instead}, or {off}"
            problems.append(Problem(settings.where(key), f"{key}: {driver} makes no attestations: {other}"))
    return problems


def platform_checks(facts: Facts, build: Build | None) -> list[Check]:
    """Each platform that is built for: only a RUN step on it needs a builder that has it; what copies does not."""
    builder = facts.builder
    # a builder that does not run yet names none
    if not builder.platforms or facts.too_old:
        return []
    if build is None:
        return [Check("platforms", "ok", " ".join(builder.platforms), "")]
    job, tree, checks = build.job, build.workspace.tree, []
    running = [target for target in job.involved if runs_on_target(tree.get(target.dockerfile, ""))]
    for platform in build.job.options.platforms or build.workspace.plan.settings.platforms:
        if platform in builder.platforms:
            checks.append(Check(platform, "ok", "native or emulated", "in PLATFORMS"))
            continue
        images = ", ".join(dict.fromkeys(job.shown(t.name) for t in running if platform in t.platforms))
        get = (
            "install an emulator (apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm "
            f"tonistiigi/binfmt --install {platform.split('/')[1]}), or add a node that has it "
            f"(docker buildx create --append --name {builder.name} …)"
        )
        has, without = " ".join(builder.platforms), "images whose steps on that platform only copy"
        wrong = f"cannot run {platform} programs, which {images} needs (it has {has}): {get}, or leave it out with "
        problems = (Problem(f"builder {builder.name}", f"{wrong}--platform"),) if images else ()
        needed = f"for RUN steps of {images}" if images else "for RUN steps on it, which no image has"
        checks.append(Check(platform, "missing" if images else "note", "no", needed, get, without, problems))
    return checks


def build_problems(build: Build, facts: Facts) -> list[Problem]:
    """Everything in this build that the builder or the engine cannot do."""
    engine = facts.engine
    checks = (builder_check(facts, build), *platform_checks(facts, build))
    problems = [problem for check in checks for problem in check.problems]
    if build.job.options.output != "load" or facts.too_old:
        return problems
    if engine.problem is not None:
        problems.append(Problem("--load", f"{engine.problem.message}: {engine.problem.hint}"))
    elif several := several_loaded(build, facts):
        message = (
            f"this engine keeps one platform of an image, and {several.name} has {len(several.platforms)}: add "
            f"--platform {engine.platform}, or turn on its containerd image store ({CONTAINERD_STORE})"
        )
        problems.append(Problem("--load", message))
    return problems


def several_loaded(build: Build, facts: Facts) -> Target | None:
    """The first image that would be loaded for several platforms into an engine that keeps one; no builder helps."""
    engine = facts.engine
    if build.job.options.output != "load" or engine.problem is not None or engine.store != "graphdriver":
        return None
    return next((target for target in build.job.targets if len(target.platforms) > 1), None)


def create_command(plan: Plan) -> str:
    """The command that makes a builder which can do everything, at this site."""
    options = []
    if re.match(r"(?i)(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(/|$)", plan.settings.prefix):
        # a builder in a container has a loopback interface of its own
        options.append("network=host")
    if plan.settings.base_registry:
        options.append(f"image={mirrored(BUILDKIT_IMAGE, plan.settings.base_registry)}")
    flags = "".join(f" --driver-opt {shlex.quote(option)}" for option in options)
    return f"docker buildx create --name fategen --driver docker-container{flags} --bootstrap"


# the doctor


def examine(start: Path, environment: Mapping[str, str]) -> list[Check]:
    """Every check of this machine and of the project at or above ``start``. Raises nothing that a machine can cause."""
    workspace, project_check = _project(start)
    python = f"{__version__}, Python {sys.version.split()[0]}"
    checks = [Check("fategen", "ok", python, "Python 3.10 or later"), project_check]
    build = Build(workspace, make_job(workspace.plan, ("all",), Options())) if workspace else None
    facts: Facts | None = None
    try:
        with asking(find_docker()) as ask:
            answers = ask()
    except EngineError as error:
        checks.append(Check("docker", "missing", error.message, "the docker CLI", GET_DOCKER, OFFLINE))
    else:
        checks += engine_checks(answers, build)
        with contextlib.suppress(EngineError):
            facts = answers.facts()
    # where the project is; a daemon elsewhere may have another disk
    free, needed = shutil.disk_usage(start).free, f"{DISK_NEEDED / 1e9:.0f} GB for a full build and a bundle"
    get = "docker buildx prune frees build caches; you can delete .fategen/layouts and .fategen/logs"
    scarce = () if free >= DISK_NEEDED else (get, "small builds")
    checks.append(Check("disk", "note" if scarce else "ok", f"{free // 10**9} GB free", needed, *scarce))
    git, needed = shutil.which("git"), "to keep the rendered files under review"
    without_git = () if git else ("apt-get install git", "every command")
    checks.append(Check("git", "ok" if git else "note", git or "none", needed, *without_git))
    if build is not None:
        from generator.bake.publish import registry_checks

        checks += file_checks(build)
        checks += registry_checks(facts, build.workspace, environment)
    return [*checks, proxy_check(read_config(environment)[0], environment)]


def _project(start: Path) -> tuple[Workspace | None, Check]:
    needed = "a directory with a .env"
    try:
        project = find_project(start)
    except FategenError:
        return None, Check("project", "note", "none", needed, "fategen init", WITHOUT_PROJECT)
    try:
        workspace = load(project)
    except FategenError as error:
        return None, Check("project", "missing", error.message, "a .env without errors", error.hint, WITHOUT_PROJECT)
    plan = workspace.plan
    found = f"{plan.title} → {plan.settings.prefix}, tag {plan.settings.tag}"
    if stale := len(workspace.drift()):
        found += f"; {stale} generated file{'s' if stale > 1 else ''} not up to date"
        needed, without = "the files that .env renders", "everything except bake"
        return workspace, Check("project", "missing", found, needed, "fategen render", without)
    return workspace, Check("project", "ok", found, needed)


def proxy_check(config: Mapping[str, Any], environment: Mapping[str, str]) -> Check:
    """The proxies that docker and the builds would use; always ok, since any value or none is fine."""
    names = [name for name in PROXIES if environment.get(name) or environment.get(name.lower())]
    found = [f"{' '.join(names)} in the environment (for docker itself)"] if names else []
    if mapping(config, "proxies"):
        found.append("proxies in docker's config.json (reach every build)")
    return Check("proxies", "ok", "; ".join(found) or "none", "a build behind a proxy: HTTP_PROXY, HTTPS_PROXY in .env")
