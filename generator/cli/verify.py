"""``fategen verify``: hold images against their contract in the catalogue."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import directory_option, open_project, say_warnings
from generator.cli.complete import images_and_groups
from generator.docker.process import find_docker
from generator.errors import InputError, Problem
from generator.progress import say
from generator.workspace import load

if TYPE_CHECKING:
    from generator.plan.plan import Plan
    from generator.verify.origins import Origin
    from generator.workspace import Workspace


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=images_and_groups)
@click.option("--from", "origin", type=click.Choice(["engine", "registry"]), default="engine", show_default=True,
              help="Where they are; in a registry every platform is looked at, the engine's own started.")  # fmt: skip
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE",
              help="What a bundle holds; nothing of it is loaded, so nothing is started.")  # fmt: skip
@click.option("--platform", "platforms", multiple=True, metavar="P",
              help="Default: the engine's own; a bundle's; in a registry the plan's. Repeatable.")  # fmt: skip
@click.option("--tag", default="", metavar="T", help="Another tag than .env's or a bundle's own, of base-image too.")
@click.option("--prefix", default="", metavar="R/NS", help="Another registry and namespace than .env's.")
@click.option("--no-start", is_flag=True, help="Only what can be told without starting a container.")
@click.option("--stack", is_flag=True,
              help="Instead: start two whole parties with Docker Compose; check who reaches whom.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@directory_option
def command(
    names: tuple[str, ...],
    origin: str,
    bundle: Path | None,
    platforms: tuple[str, ...],
    tag: str,
    prefix: str,
    no_start: bool,
    stack: bool,
    form: str,
    quiet: bool,
    directory: Path,
) -> None:
    """Check images against the contract that the catalogue has for each (default: all).

    What an image holds is read once and remembered by its digest; then each image is started alone, and ended, and
    started again. Exit code 1 where a check failed.
    """
    from generator.bake import lock_project
    from generator.cli.held import hold, tell

    if bundle and origin != "engine":
        raise InputError(Problem("--bundle", "and --from exclude each other"))
    if stack and (names or bundle or origin != "engine" or platforms or no_start):
        raise InputError(
            Problem("--stack", "starts every component as the engine has it: only --tag and --prefix go with it")
        )
    other = [f"TAG={tag}", f"BASE_TAG={tag}"] if tag else []
    other += [f"PREFIX={prefix}"] if prefix else []
    project = open_project(directory)
    workspace = load(project, sets=other)
    if bundle and not tag:
        from generator.verify.origins import tags_in

        if own := tags_in(bundle, workspace.plan):
            say(f"{', '.join(own)}: by the names in {bundle.name}, not as .env says")
            workspace = load(project, sets=[*other, *own])
    say_warnings(workspace.warnings)
    if stack:
        from generator.verify.stack import verify_stack

        docker = find_docker().at(workspace.project.root)
        tell(verify_stack(docker, workspace, (lambda _: None) if quiet else say), form)
        return
    names = names or ("all",)
    _check_held(workspace.plan, names)
    with contextlib.ExitStack() as held:
        if origin == "registry":
            held.enter_context(lock_project(workspace.project))
            found = _from_registry(workspace, names, platforms, quiet)
        else:
            found = _as_they_are(workspace, names, platforms, bundle)
        if bundle and not no_start and not quiet:
            say("nothing of a bundle is started: fategen bundle load, then verify")
        starter = find_docker() if not no_start and found.started else None
        results = hold(found, workspace.project, starter, quiet)
    tell(results, form)


def _check_held(plan: Plan, names: Sequence[str]) -> None:
    """InputError for an image or group that no contract holds: nothing checked would look like all well."""
    problems = []
    for name in names:
        targets = plan.select([name])
        if not any(target.tags for target in targets):
            problems.append(Problem(name, "only the build uses it: there is no image to verify"))
        elif not any(target.contract.where for target in targets):
            problems.append(Problem(name, "has no contract in the catalogue: nothing would be checked"))
    if problems:
        raise InputError(
            problems, hint="fategen verify alone takes all that have one; contract: in a catalogue gives one"
        )


def _as_they_are(workspace: Workspace, names: Sequence[str], platforms: Sequence[str], bundle: Path | None) -> Origin:
    from generator.verify.origins import Wanted, from_bundle, from_engine

    targets = workspace.plan.select(names)
    wanted = Wanted(targets, tuple(target.name for target in targets if target.name in names), tuple(platforms))
    return from_bundle(bundle, wanted, say) if bundle else from_engine(find_docker(), wanted, say)


def _from_registry(workspace: Workspace, names: Sequence[str], platforms: Sequence[str], quiet: bool) -> Origin:
    """Every platform that the plan has of each image, unless some are asked for."""
    from generator.bake import Options, fetching_layouts, make_job
    from generator.verify.origins import from_layouts

    job = make_job(workspace.plan, names, Options(platforms=tuple(platforms)))
    for left in job.left_out:
        say(f"{left.image} is not verified for {left.platform}: {left.reason}")
    wanted = platforms or workspace.plan.settings.platforms
    with fetching_layouts(workspace, job, wanted, os.environ, quiet) as fetch:
        sources = fetch.images
    return from_layouts(job.targets, sources, workspace.project.make_state("verify"))
