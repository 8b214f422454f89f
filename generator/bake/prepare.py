"""From a project's workspace and the flags to a session that can build; everything that can be checked is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from generator.bake.cache import NOT_WRITTEN, cannot_write
from generator.bake.environment import Environment, Recipe, arguments, bake_environment
from generator.bake.job import Job, Options, make_job, variables
from generator.bake.preflight import (
    ca_file,
    dirty_problems,
    engine_problems,
    file_problems,
    input_problems,
    outside,
    raise_problems,
    the_engines_own,
)
from generator.bake.progress import View
from generator.bake.run import Session
from generator.config.reference import parse_reference
from generator.docker.credentials import HUB
from generator.docker.engine import BUILDX_NEEDED, Answers, ask, inspect
from generator.docker.git import Checkout, checkouts, revision
from generator.docker.process import Docker
from generator.errors import DriftError, EngineError, Problem
from generator.plan.plan import Plan
from generator.project import Project
from generator.render.tree import Change, compare, write
from generator.workspace import Workspace, load

Say = Callable[[str], None]


def open_workspace(project: Project, sets: Sequence[str], sources: Sequence[str], say: Say) -> tuple[Workspace, Recipe]:
    """The workspace to build, and where its bake file is. Raises DriftError where the committed files are stale.

    With flags that change what is rendered, that is written below ``.fategen``; the committed files stay as they are.
    """
    workspace = load(project)
    refuse_drift(workspace.drift())
    if not sets and not sources:
        return workspace, Recipe()
    changed = load(project, sets=sets, sources=sources)
    if changed.tree == workspace.tree:
        return changed, Recipe()
    directory = project.make_state("tree")
    write(compare(changed.tree, directory), directory)
    say("--set or --source changes what is rendered: building from .fategen/tree; the committed files stay as they are")
    return changed, temporary_recipe(changed.plan, f"{project.state.name}/tree")


def refuse_drift(changes: Sequence[Change]) -> None:
    """Raises DriftError that lists the files: what is built must be what is committed and reviewed."""
    if changes:
        listed = "".join(f"\n  {change.sign} {change.path}   {change.kind}" for change in changes)
        count = "1 generated file is" if len(changes) == 1 else f"{len(changes)} generated files are"
        raise DriftError(
            f"{count} not what .env, the catalogue and the templates render; nothing was started{listed}",
            hint="fategen render --diff shows the difference; fategen render writes it, over edits made by hand",
        )


def temporary_recipe(plan: Plan, directory: str) -> Recipe:
    """The recipe for a tree in another directory. Its bake file's paths still start at the project's root."""
    overrides = [
        f"{target.name}.context={directory}/{Path(target.dockerfile).parent}"
        for target in plan.targets
        if target.dockerfile
    ]
    return Recipe(f"{directory}/out/docker-bake.hcl", tuple(overrides))


def revision_labels(job: Job, states: Mapping[str, Checkout]) -> Iterator[str]:
    """Overrides that name the commits of local sources in the labels; the committed bake file cannot know them."""
    for target in job.involved:
        if target.tags and target.dockerfile and (commit := revision(target, job.sources(target), states)):
            yield f"{target.name}.labels.org.opencontainers.image.revision={commit}"


def attestation(plan: Plan) -> list[str]:
    """An override where a proxy has a password: a provenance of mode "max" would publish every build argument.

    (docs.docker.com/build/metadata/attestations/slsa-provenance: "min" leaves their values out.)
    """
    return ["*.attest=type=provenance,mode=min"] if plan.settings.provenance and passwords(plan) else []


def make_environment(plan: Plan, options: Options, process: Mapping[str, str]) -> Environment:
    """The environment of bake's process: the plan's values, whatever the caller's environment says."""
    secret = frozenset(variable.name for variable in plan.variables if variable.secret)
    values = variables(plan, published_base=options.published_base)
    return bake_environment(process, values, secret, provenance=plan.settings.provenance)


def resolved(
    docker: Docker,
    workspace: Workspace,
    recipe: Recipe,
    names: Sequence[str],
    options: Options,
    *,
    process: Mapping[str, str],
    say: Say,
) -> str:
    """What bake makes of its file with the plan's values (``bake --print``), as JSON. Asks no builder."""
    plan = workspace.plan
    docker = docker.at(workspace.project.root).with_secrets(*passwords(plan))
    job = make_job(plan, names, options)
    raise_problems(list(file_problems(plan, workspace.project.root)), [])
    environment = make_environment(plan, options, process)
    for note in environment.notes:
        say(docker.redact(note))
    targets = [target.name for target in job.targets]
    args = arguments(job, options, recipe, BUILDX_NEEDED, targets, flags=["--print"])
    return docker.redact(docker.check(args, env=environment.values).stdout)


def passwords(plan: Plan) -> list[str]:
    """The passwords in the plan's secret URLs, as written and decoded."""
    found = [urlsplit(variable.value).password or "" for variable in plan.variables if variable.secret]
    return [text for password in found if password for text in {password, unquote(password)}]


def make_session(
    docker: Docker,
    workspace: Workspace,
    recipe: Recipe,
    names: Sequence[str],
    options: Options,
    *,
    process: Mapping[str, str],
    view: Callable[[Job], View],
    say: Say,
    answers: Callable[[], Answers] | None = None,
) -> Session:
    """Checks everything and builds nothing. Raises InputError or EngineError with every problem at once.

    ``answers`` waits for what docker and buildx were asked before; without it they are asked now.
    """
    plan, root = workspace.plan, workspace.project.root
    docker = docker.at(root).with_secrets(*passwords(plan))
    job = make_job(plan, names, options)
    states = checkouts(root, job.involved)
    inputs = [*input_problems(job, options, plan, root, workspace.tree), *dirty_problems(job, options, plan, states)]
    try:
        known = inspect(docker, answers() if answers else ask(docker, options.builder))
    except EngineError as error:
        raise_problems(inputs, [Problem("", error.message)] if inputs else [])
        raise
    if (own := the_engines_own(job, options, known)) is not None:
        say(f"for {own} alone: this engine's image store (graphdriver) keeps one platform of an image")
        options = replace(options, platforms=(own,))
        job = make_job(plan, names, options)
    engines = list(engine_problems(job, options, known, plan, workspace.tree))
    environment = make_environment(plan, options, process)
    env, directory = environment.values, workspace.project.make_state()
    tagged_before: Mapping[str, str] = {}
    if options.output == "push":
        # only here: its HTTP library takes longer to import than docker to answer
        from generator.bake.registry import client_trust, push_problems, tagged_digests

        ca = ca_file(plan, root)
        engines += push_problems(docker, job.targets, known, env, ca, say)
        tagged_before = {} if inputs or engines else tagged_digests(job.targets, known, env)
        host = parse_reference(f"{plan.settings.prefix}/image").domain or HUB
        env = {**env, **client_trust(host, env, ca, directory)}
    raise_problems(inputs, engines)
    for note in environment.notes:
        say(docker.redact(note))
    for left in job.left_out:
        say(f"{left.image} is not built for {left.platform}: {left.reason}")
    attest = attestation(plan) if options.attestations else []
    if attest:
        say("the provenance is of mode min, without build arguments: the proxy's password is one of them")
    for state in states.values():
        if state.commit or state.dirty:
            say(state.describe())
        elif not state.versioned and options.output == "push":
            say(f"{state.describe()}, no git checkout: nobody will be able to tell what of it was published")
    if no_cache := cannot_write(known, plan):
        say(docker.redact(no_cache))
        recipe = replace(recipe, overrides=(*recipe.overrides, NOT_WRITTEN))
    return Session(
        docker=docker,
        state=directory,
        job=job,
        options=options,
        recipe=replace(recipe, overrides=(*recipe.overrides, *revision_labels(job, states), *attest)),
        states=states,
        tagged_before=tagged_before,
        facts=known,
        env=env,
        view=view(job),
        readable=tuple(outside(root, plan, job.involved)),
    )
