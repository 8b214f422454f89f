"""What this machine has and lacks for each command: one row for each requirement, and how to get what is missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from generator import __version__
from generator.bake.contents import source_problems
from generator.bake.job import Options, make_job
from generator.bake.preflight import attested, create_command, emulated, file_problems, named_files
from generator.bake.registry import registry_checks
from generator.bake.requirement import Row, State
from generator.docker.config import docker_config, mapping
from generator.docker.engine import BUILDX_NEEDED, DAEMON_DRIVERS, Answers, Facts, ask
from generator.docker.hints import GET_BUILDX, GET_DAEMON, GET_DOCKER
from generator.docker.process import Docker, find_docker
from generator.errors import EngineError, FategenError
from generator.project import Project, find_project
from generator.text import show_version
from generator.workspace import Workspace, load

OFFLINE = "render, images, bundle inspect and verify"
"""What needs no engine at all."""
DISK_NEEDED = 10_000_000_000
"""Bytes that a full build of FATE 1.3 takes: bases, Maven's and pip's caches, layers and their exported copies."""


def examine(start: Path, environment: Mapping[str, str]) -> list[Row]:
    """Looks at this machine and at the project at or above ``start``. Raises nothing that a machine can cause."""
    project, workspace, rows = _project(start)
    facts = None
    rows.insert(0, Row("fategen", "ok", f"{__version__}, Python {sys.version.split()[0]}", "Python 3.10 or later"))
    try:
        docker = find_docker()
    except EngineError:
        rows.append(Row("docker", "missing", "none", "docker's command line", GET_DOCKER, OFFLINE))
    else:
        answers = _ask(docker)
        rows += engine_rows(answers, workspace)
        facts = facts_of(answers)
    root = project.root if project else start
    rows.append(disk_row(shutil.disk_usage(root).free))
    rows.append(_git_row(shutil.which("git")))
    if project is not None and workspace is not None:
        rows += input_rows(project.root, workspace)
        rows += registry_checks(facts, workspace, environment)
    rows.append(proxy_row(docker_config(environment), environment))
    return rows


def _project(start: Path) -> tuple[Project | None, Workspace | None, list[Row]]:
    try:
        project = find_project(start)
    except FategenError as error:
        row = Row(
            "project", "note", "none", "a directory with a .env", "fategen init", "bundle inspect, verify and load"
        )
        return None, None, [row if "no .env" in error.message else _bad_project(error)]
    try:
        workspace = load(project)
    except FategenError as error:
        return project, None, [_bad_project(error)]
    plan = workspace.plan
    found = f"FATE {plan.release} → {plan.settings.prefix}, tag {plan.settings.tag}"
    stale = len(workspace.drift())
    if stale:
        found += f"; {stale} generated file{'s' if stale > 1 else ''} not up to date"
        return (
            project,
            workspace,
            [Row("project", "missing", found, "what .env renders", "fategen render", "all but bake")],
        )
    return project, workspace, [Row("project", "ok", found, "a directory with a .env")]


def _bad_project(error: FategenError) -> Row:
    return Row(
        "project", "missing", error.message, "a .env without errors", error.hint, "bundle inspect, verify and load"
    )


def _ask(docker: Docker) -> Answers | EngineError:
    try:
        return ask(docker)
    except EngineError as error:
        return error


def facts_of(answers: Answers | EngineError) -> Facts | None:
    """What a build would meet; None where there is nothing to build with."""
    if isinstance(answers, EngineError) or answers.buildx is None or answers.buildx < BUILDX_NEEDED:
        return None
    builder = answers.builder
    return None if builder is None or builder.error else Facts(answers.engine, answers.buildx, builder)


def engine_rows(answers: Answers | EngineError, workspace: Workspace | None) -> list[Row]:
    """The rows of docker, its engine and image store, buildx, its builder and the builder's platforms."""
    if isinstance(answers, EngineError):
        return [Row("docker", "missing", answers.message, "docker's command line", GET_DOCKER, OFFLINE)]
    engine, buildx, builder = answers.engine, answers.buildx, answers.builder
    rows = [Row("docker", "ok", engine.client or "yes", "docker's command line")]
    needs_daemon = builder is None or builder.driver in DAEMON_DRIVERS
    without_engine = OFFLINE if needs_daemon else f"{OFFLINE}, bake with and without --push, bundle save"
    if engine.problem is not None:
        found = engine.problem.message
        get = engine.problem.hint or GET_DAEMON
        rows.append(Row("engine", "missing" if needs_daemon else "note", found, "a daemon", get, without_engine))
    else:
        rows.append(Row("engine", "ok", f"{engine.version}, {engine.platform}", "a daemon"))
        rows.append(_store_row(engine.store))
    if buildx is None or buildx < BUILDX_NEEDED:
        found = "none" if buildx is None else show_version(buildx)
        rows.append(Row("buildx", "missing", found, "0.13 or later", GET_BUILDX, f"{OFFLINE}, bundle load"))
        return rows
    rows.append(Row("buildx", "ok", show_version(buildx), "0.13 or later"))
    facts = facts_of(answers)
    if facts is None:
        error = answers.inspection.last_line if builder is None else builder.error
        if engine.problem is None or not needs_daemon:
            get = "docker buildx ls lists the builders; docker buildx use NAME chooses one"
            rows.append(Row("builder", "missing", error, "a builder that answers", get, OFFLINE))
        return rows
    return rows + builder_rows(facts, workspace)


def _store_row(store: str) -> Row:
    if store == "containerd":
        return Row("image store", "ok", store, "containerd")
    return Row(
        "image store",
        "note",
        store,
        "containerd",
        '{"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json, then restart the daemon',
        "one platform at a time with --load and bundle save; several with a builder of another driver; bundle load",
    )


def builder_rows(facts: Facts, workspace: Workspace | None) -> list[Row]:
    """The builder itself, then each platform of the settings: only a RUN step of that platform needs the builder's."""
    builder = facts.builder
    nodes = len(builder.nodes)
    found = f"{builder.name}, driver {builder.driver}, {nodes} node{'s' if nodes != 1 else ''}"
    found += "" if builder.running else ", not running (bake starts it)"
    versions = sorted({node.buildkit for node in builder.nodes if node.buildkit and "unknown" not in node.buildkit})
    found += f", BuildKit {' '.join(versions)}" if versions else ""
    get = create_command(workspace.plan) if workspace else "docker buildx create --name fategen --bootstrap"
    if facts.too_old:
        needed_version = "Docker 23 or BuildKit 0.10, or later"
        get = f"a newer Docker, or {get}, then --builder fategen"
        return [
            Row(
                "builder", "missing", f"{builder.name}, {facts.too_old}", needed_version, get, f"{OFFLINE}, bundle load"
            )
        ]
    several = workspace is None or len(workspace.plan.settings.platforms) > 1 or bool(attested(workspace.plan))
    if facts.multi_platform:
        rows = [Row("builder", "ok", found, "several platforms at once, OCI layouts")]
    else:
        rows = [
            Row(
                "builder",
                "missing" if several else "note",
                found,
                "several platforms at once, OCI layouts",
                f"{get}, then --builder fategen (or the containerd image store)",
                "one platform at a time with --platform; bundle save of the engine's own",
            )
        ]
    if not builder.running:
        return rows
    if workspace is None:
        return [*rows, Row("platforms", "ok", " ".join(builder.platforms), "")]
    job = make_job(workspace.plan, ("all",), Options())
    needed = emulated(job, facts, workspace.tree)
    return rows + [
        platform_row(platform, platform in builder.platforms, needed.get(platform, ()))
        for platform in workspace.plan.settings.platforms
    ]


def platform_row(platform: str, has: bool, images: Sequence[str]) -> Row:
    """``images`` have RUN steps on a platform that the builder lacks; what only copies is built without it."""
    if has:
        return Row(platform, "ok", "native or emulated", "in PLATFORMS")
    return Row(
        platform,
        "missing" if images else "note",
        "no",
        f"for RUN steps of {', '.join(images)}" if images else "for RUN steps on it, which no image has",
        "apt-get install qemu-user-static binfmt-support, or a node of that platform (docker buildx create --append)",
        "images whose steps on that platform only copy",
    )


def input_rows(root: Path, workspace: Workspace) -> list[Row]:
    """The files of this machine that the project names: local sources, build secrets, requirements. Else no row."""
    plan = workspace.plan
    local = {source.name: source.location for target in plan.targets for source in target.sources if source.local}
    rows = []
    for name, found, needed, problems in (
        ("sources", local.values(), "what the Dockerfiles copy", source_problems(root, plan.targets, workspace.tree)),
        ("files", named_files(plan).values(), "files that can be read", file_problems(plan, root)),
    ):
        wrong = [str(problem) for problem in problems]
        if wrong:
            get = "correct the path in .env or .env.local, or check the right thing out there"
            rows.append(Row(name, "missing", "; ".join(wrong), needed, get, "images that do not need them"))
        elif found:
            rows.append(Row(name, "ok", ", ".join(found), needed))
    return rows


def disk_row(free: int) -> Row:
    """``free`` bytes where the project is; a daemon elsewhere may have another disk."""
    state: State = "ok" if free >= DISK_NEEDED else "note"
    return Row(
        "disk",
        state,
        f"{free / 1e9:.0f} GB free",
        f"{DISK_NEEDED / 1e9:.0f} GB for a full build and a bundle",
        "" if state == "ok" else "docker buildx prune frees build caches; .fategen may be deleted",
        "" if state == "ok" else "small builds",
    )


def _git_row(path: str | None) -> Row:
    get = "" if path else "apt-get install git"
    needed = "to keep the rendered files under review"
    return Row("git", "ok" if path else "note", path or "none", needed, get, "" if path else "every command")


def proxy_row(config: Mapping[str, Any], environment: Mapping[str, str]) -> Row:
    """The proxies that docker and the builds would use; nothing is wrong with any or none."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    seen = [name for name in names if environment.get(name) or environment.get(name.lower())]
    found = [f"{' '.join(seen)} in the environment (for docker itself)"] if seen else []
    if mapping(config, "proxies"):
        found.append("proxies in docker's config.json (reach every build)")
    return Row("proxies", "ok", "; ".join(found) or "none", "a build behind a proxy: HTTP_PROXY, HTTPS_PROXY in .env")


def lacks_for_bake(rows: Sequence[Row]) -> bool:
    """Whether something is missing that bake needs."""
    return any(row.state == "missing" for row in rows)
