"""Turns a project and flags into a ``BakeContext``, after checking everything that can be checked before a build."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from generator.bake.checks import (
    PROXIES,
    Build,
    build_problems,
    ca_files,
    create_command,
    dirty_problems,
    file_checks,
    flag_problems,
    raise_problems,
    secret_files,
    several_loaded,
)
from generator.bake.job import Job, Options, make_job, variables
from generator.bake.run import NO_CACHE_EXPORT, BakeContext
from generator.bake.view import make_view
from generator.config.settings import key_of
from generator.docker.engine import BUILDX_ALLOW, BUILDX_NEEDED, Answers, inspect
from generator.docker.git import Checkout, changes, checkouts, uncommitted
from generator.docker.process import Docker
from generator.errors import EngineError, Problem
from generator.files import lock
from generator.plan.plan import Plan, Target
from generator.progress import say
from generator.project import Project
from generator.render.tree import BAKE_FILE, GENERATED, compare, write
from generator.text import Version, printable
from generator.workspace import Workspace, load

_CHANGE_THE_BUILD = (
    "SOURCE_DATE_EPOCH",  # becomes a build argument of every target
    "BUILDX_NO_DEFAULT_ATTESTATIONS",  # PROVENANCE in .env decides
    "BUILDX_GIT_LABELS",  # adds labels to every image
    "BUILDX_GIT_INFO",
    "BUILDX_GIT_CHECK_DIRTY",
    "BUILDKIT_SYNTAX",
    "BUILDX_NO_DEFAULT_OCI_ARTIFACT",  # the form of attestations
    "BUILDX_DEFAULT_POLICY",  # refuses or replaces sources
    "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",  # the same, for BuildKit
)
"""Variables of buildx that change what comes out (docs/reference/building/variables of docker's manual)."""


def lock_project(project: Project) -> AbstractContextManager[object]:
    """While the block runs, no other fategen builds in this project or fills its layouts; waits for one."""
    return lock(project.make_state("layouts") / ".lock", lambda: say("waiting for another fategen in this project"))


def open_workspace(project: Project, sets: Sequence[str], sources: Sequence[str]) -> Workspace:
    """The workspace to build. Raises DriftError if the committed files are stale.

    With flags that change what is rendered, that is written below ``.fategen``; the committed files stay as they are.
    """
    workspace = load(project)
    workspace.require_current()
    if not sets and not sources:
        return workspace
    changed = load(project, sets=sets, sources=sources)
    if changed.tree == workspace.tree:
        return changed
    directory = project.make_state("tree")
    write(compare(changed.tree, directory), directory)
    say("--set or --source changes rendered files: building from .fategen/tree, without changing the committed files")
    return replace(changed, bake_file=f"{directory.relative_to(project.root)}/{BAKE_FILE}")


def bake_command(
    job: Job, bake_file: str, buildx: Version, *, overrides: Sequence[str] = (), readable: Sequence[str] = ()
) -> tuple[str, ...]:
    """``buildx … bake`` without targets and their platforms. ``-f`` is always given: bake would merge what it finds.

    ``readable`` are paths outside of the project, for which newer buildx requires --allow.
    """
    builder = ("--builder", job.options.builder) if job.options.builder else ()
    # paths in a bake file start at the project's root, wherever the file is
    tree = bake_file.removesuffix(BAKE_FILE)
    contexts = [f"{t.name}.context={tree}{Path(t.dockerfile).parent}" for t in job.involved if t.dockerfile and tree]
    allowed = [f"--allow=fs.read={path}" for path in readable] if buildx >= BUILDX_ALLOW else []
    sets = [word for override in (*contexts, *overrides) for word in ("--set", override)]
    return ("buildx", *builder, "bake", "-f", bake_file, *sets, *allowed)


def make_context(
    docker: Docker,
    workspace: Workspace,
    names: Sequence[str],
    options: Options,
    answers: Callable[[], Answers],
    *,
    quiet: bool = False,
    verbose: bool = False,
) -> BakeContext:
    """Checks everything and builds nothing. Raises InputError or EngineError with every problem at once.

    ``answers`` waits for what docker and buildx were asked before.
    """
    plan, root = workspace.plan, workspace.project.root
    docker = docker.at(root).with_secrets(*passwords(plan))
    build = Build(workspace, make_job(plan, names, options))
    states = checkouts(root, build.job.involved)
    inputs = [
        *flag_problems(build),
        *(problem for check in file_checks(build) for problem in check.problems),
        *dirty_problems(build, states),
    ]
    env, notes = make_environment(plan, os.environ, published_base=options.published_base)
    used = {key_of(source.name, "_SOURCE") for target in build.job.involved for source in target.sources}
    given = [key for key, where in plan.settings.origins if where == "--source" and key not in used]
    notes += [f"warning: --source: {key}: no image of this build uses it" for key in given]
    access = None
    try:
        facts = inspect(docker, answers())
        if options.output == "push":
            # only here: its HTTP library takes longer to import than docker to answer
            from generator.bake.publish import push_access

            access = push_access(workspace, env, facts.engine.insecure)
    except EngineError as error:
        raise_problems(inputs, [Problem("", error.message)] if inputs else [])
        raise
    platform = facts.engine.platform
    if several_loaded(build, facts) and not options.platforms and platform in plan.settings.platforms:
        say(f"for {platform} only: this engine's image store (graphdriver) keeps one platform of an image")
        options = replace(options, platforms=(platform,))
        build = Build(workspace, make_job(plan, names, options))
    problems = build_problems(build, facts)
    state, authorities = workspace.project.make_state(), ca_files(workspace)
    if access is not None:
        from generator.bake.publish import check_tags, client_trust, media_type_note, push_problems
        from generator.registry.publish import movable_tags

        if edited := [printable(path) for path in changes(root, (".env", "catalogue", "templates", *GENERATED))]:
            more = f" and {len(edited) - 3} more" if len(edited) > 3 else ""
            notes.append(f"warning: this project has uncommitted changes: {', '.join(edited[:3])}{more}")
        prefix = plan.settings.where("PREFIX")
        refused = [Problem(prefix, f"PREFIX: {r.problem}") for r in push_problems(build.job.targets, access)]
        problems += refused
        if not refused and not options.untagged:
            movable = movable_tags(plan.settings.movable_tags.split(), options.overwrite)
            lost, fixed = check_tags(build.job.targets, access, movable)
            inputs += lost
            exist = f"already in the registry: {', '.join(fixed)}; pushing a different image there needs --overwrite"
            notes += [exist] if fixed else []
        notes += filter(None, [media_type_note(access.host, plan.settings.media_types)])
        env = {**env, **client_trust(access.host, env, authorities, state)}
    # the catalogue knows the platforms of its own bases, and a base of another platform than the engine's does not run
    # there; what is published is looked at in any case
    others = any(platform != facts.engine.platform for target in build.job.involved for platform in target.platforms)
    if options.output == "push" or (others and (plan.files or plan.settings.images)):
        from generator.bake.publish import base_problems

        wrong = base_problems(build.job.involved, env, authorities, facts.engine.insecure)
        if options.output == "push":
            inputs += wrong
        else:
            notes += [f"warning: {problem}" for problem in wrong]
    raise_problems(inputs, problems)
    for note in notes:
        say(docker.redact(note))
    for note in build.job.left_out:
        say(note)
    for checkout in states.values():
        if checkout.commit or checkout.dirty:
            say(checkout.describe())
        elif not checkout.versioned and options.output == "push":
            say(f"{checkout.describe()} is not a git checkout: the published images cannot be traced to a commit")
    readable = outside(root, plan, build.job.involved)
    overrides = [*revision_labels(build.job, states)]
    if options.attestations and plan.settings.provenance and passwords(plan):
        # one of mode "max" publishes every build argument
        say("provenance has mode=min, without build arguments, because they contain the proxy's password")
        overrides.append("*.attest=type=provenance,mode=min")
    if plan.settings.cache_to and not facts.multi_platform:
        # buildx would refuse the whole build
        why = "the docker driver on this image store (graphdriver) cannot write caches"
        step = f"create a builder that can: {create_command(plan)}, then --builder fategen"
        where = plan.settings.where("CACHE_TO")
        say(docker.redact(f"{where}: CACHE_TO is ignored in this run: {why}; {step}"))
        overrides.append(NO_CACHE_EXPORT)
    return BakeContext(
        docker=docker,
        workspace=workspace,
        job=build.job,
        command=bake_command(build.job, workspace.bake_file, facts.buildx, overrides=overrides, readable=readable),
        facts=facts,
        env=env,
        view=make_view(build.job, quiet=quiet, verbose=verbose),
        quiet=quiet,
        states=states,
        access=access,
    )


def resolved(docker: Docker, workspace: Workspace, names: Sequence[str], options: Options) -> str:
    """What bake makes of its file with the plan's values (``bake --print``), as JSON. Asks no builder."""
    plan = workspace.plan
    docker = docker.at(workspace.project.root).with_secrets(*passwords(plan))
    job = make_job(plan, names, options)
    env, notes = make_environment(plan, os.environ, published_base=options.published_base)
    for note in notes:
        say(docker.redact(note))
    command = bake_command(job, workspace.bake_file, BUILDX_NEEDED, overrides=job.overrides)
    args = [*command, "--print", *(target.name for target in job.targets)]
    return docker.redact(docker.check(args, env=env).stdout)


def make_environment(
    plan: Plan, process: Mapping[str, str], *, published_base: bool = False
) -> tuple[dict[str, str], list[str]]:
    """The environment of bake's process: the plan's value for every HCL variable, whatever the caller has; and notes.

    To bake an environment variable silently overrides an HCL variable of its name; here it is ignored with a note.
    """
    env, notes = dict(process), []
    for name, value in variables(plan, published_base=published_base).items():
        stray = env.pop(name, None)
        if name in PROXIES:
            # buildx itself goes through the caller's proxy (to registries); Go reads the lower-case names as well
            if stray and not value:
                env.setdefault(name.lower(), stray)
        elif stray is not None and stray != value:
            expected = f".env says {name}={value}" if value else f".env does not set {name}"
            # its value may be a secret of something else
            notes.append(f"{name} in the environment is ignored: {expected}; use --set {name}=…")
        env[name] = value
    for name in [name for name in env if name.startswith("BUILDX_BAKE_") or name in _CHANGE_THE_BUILD]:
        del env[name]
        notes.append(f"{name} in the environment is ignored: it would change what is built")
    env.pop("BUILDX_METADATA_WARNINGS", None)
    env["BUILDX_METADATA_PROVENANCE"] = "disabled"
    if not plan.settings.provenance:
        # else buildx would start seven git processes for each target, for what only a provenance shows
        env["BUILDX_GIT_INFO"] = "false"
    return env, notes


def revision_labels(job: Job, states: Mapping[str, Checkout]) -> Iterator[str]:
    """Overrides that name the commits of local sources in the labels; the committed bake file cannot know them.

    It is the commit of an image's main source, with ``-dirty`` if any source of the image has uncommitted changes.
    """
    for target in job.involved:
        source, dirty = target.main_source, uncommitted(job.sources(target), states)
        if source and target.tags and target.dockerfile and (source.name in states or dirty):
            commit = states[source.name].commit if source.name in states else source.revision
            if commit:
                yield f"{target.name}.labels.org.opencontainers.image.revision={commit}{'-dirty' if dirty else ''}"


def passwords(plan: Plan) -> list[str]:
    """The passwords in the plan's secret URLs, as written and decoded."""
    written = [urlsplit(variable.value).password or "" for variable in plan.variables if variable.secret]
    return [text for password in written if password for text in {password, unquote(password)}]


def outside(root: Path, plan: Plan, involved: Sequence[Target]) -> list[str]:
    """Paths outside the project that the build reads."""
    paths = [source.location for target in involved for source in target.sources if source.local]
    paths += secret_files(plan).values()
    paths += [context.value for target in involved for context in target.contexts if context.value]
    root = root.resolve()
    absolute = dict.fromkeys((root / path).resolve() for path in paths)
    return [str(path) for path in absolute if root != path and root not in path.parents]
