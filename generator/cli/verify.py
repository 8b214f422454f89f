"""``fategen verify``: check images against their contracts in the catalogue."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import directory_option, open_project, say_warnings
from generator.cli.complete import images_and_groups
from generator.errors import BuildError, InputError, Problem
from generator.progress import say
from generator.workspace import load

if TYPE_CHECKING:
    from generator.verify.origins import Origin
    from generator.verify.results import Result
    from generator.workspace import Workspace


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=images_and_groups)
@click.option("--from", "origin", type=click.Choice(["engine", "registry"]), default="engine", show_default=True,
              help="Where the images are; in a registry, all platforms are checked, the engine's started.")  # fmt: skip
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE",
              help="Check the images in a bundle, without loading or starting them.")  # fmt: skip
@click.option("--platform", "platforms", multiple=True, metavar="P",
              help="Default: the engine's own; in a bundle, all; in a registry, the plan's. Repeatable.")  # fmt: skip
@click.option(
    "--tag", default="", metavar="T", help="Use another tag than that in .env or the bundle, also for base-image."
)
@click.option("--prefix", default="", metavar="R/NS", help="Use another registry and namespace than PREFIX.")
@click.option("--no-start", is_flag=True, help="Run only the checks that start no container.")
@click.option("--stack", is_flag=True,
              help="Instead, start two parties with Docker Compose and run smoke commands in them.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Do not show progress.")
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
    """Check images against their contracts in the catalogue (default: all).

    The content of an image is read once and cached by its digest. Then each image is started on its own, stopped, and
    started again. Exit code 1 if a check fails.
    """
    if bundle and origin != "engine":
        raise InputError(Problem("--bundle", "and --from cannot be combined"))
    if stack and (names or bundle or origin != "engine" or platforms or no_start):
        raise InputError(Problem("--stack", "starts every component: it can be combined only with --tag and --prefix"))
    sets = [f"TAG={tag}", f"BASE_TAG={tag}"] if tag else []
    sets += [f"PREFIX={prefix}"] if prefix else []
    project = open_project(directory)
    workspace = load(project, sets=sets)
    if bundle and not tag:
        from generator.verify.origins import tags_in

        if tags := tags_in(bundle, workspace.plan):
            say(f"{', '.join(tags)}: by the names in {bundle.name}, not as .env says")
            workspace = load(project, sets=[*sets, *tags])
    say_warnings(workspace.warnings)
    if stack:
        from generator.docker.process import find_docker
        from generator.verify.stack import verify_stack

        docker = find_docker().at(workspace.project.root)
        print_results(verify_stack(docker, workspace, (lambda _: None) if quiet else say), form)
        return
    print_results(_check(workspace, names or ("all",), origin, bundle, platforms, not no_start, quiet), form)


def _check(
    workspace: Workspace,
    names: Sequence[str],
    origin: str,
    bundle: Path | None,
    platforms: Sequence[str],
    start: bool,
    quiet: bool,
) -> list[Result]:
    from generator.docker.process import find_docker
    from generator.verify.origins import Wanted, from_bundle, from_engine
    from generator.verify.run import check_images, require_contracts

    targets = workspace.plan.select(names)
    require_contracts(workspace.plan, names)
    wanted = Wanted(targets, tuple(target.name for target in targets if target.name in names), tuple(platforms))
    with contextlib.ExitStack() as locks:
        if origin == "registry":
            found = _from_registry(workspace, names, platforms, quiet, locks)
        else:
            found = from_bundle(bundle, wanted) if bundle else from_engine(find_docker(), wanted)
        if bundle and start and not quiet:
            say("images in a bundle are not started: run fategen bundle load, then verify")
        docker = find_docker() if start and found.started else None
        return check_images(found, workspace.project, docker, quiet)


def _from_registry(
    workspace: Workspace, names: Sequence[str], platforms: Sequence[str], quiet: bool, locks: contextlib.ExitStack
) -> Origin:
    """Every platform that the plan has of each image, unless some are asked for."""
    from generator.bake import Options, lock_project, make_job
    from generator.bake.registry import fetching_layouts
    from generator.verify.origins import from_layouts

    locks.enter_context(lock_project(workspace.project))
    job = make_job(workspace.plan, names, Options(platforms=tuple(platforms)))
    for left in job.left_out:
        say(f"{left.image} is not verified for {left.platform}: {left.reason}")
    wanted = platforms or workspace.plan.settings.platforms
    with fetching_layouts(workspace, job, wanted, os.environ, quiet) as fetch:
        sources = fetch.images
    return from_layouts(job.targets, sources, workspace.project.make_state("verify"))


def print_results(results: Sequence[Result], form: str, *, only_failures: bool = False, consequence: str = "") -> None:
    """Prints the results; BuildError, with its ``consequence``, where a check has failed."""
    from generator.verify.results import REPORTS, failures

    failed = failures(results)
    if failed or not only_failures:
        click.echo(REPORTS[form](results))
    if failed:
        images = ", ".join(dict.fromkeys(result.image for result in failed))
        raise BuildError(
            f"{len(failed)} of {len(results)} checks failed ({images})" + (f"; {consequence}" if consequence else ""),
            hint="each failure names the line of the catalogue that requires it: fix the image, or that line",
        )
