"""``fategen verify``: check images against their contracts in the catalogue."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import (
    directory_option,
    names_argument,
    open_project,
    platform_option,
    quiet_option,
    say_warnings,
)
from generator.errors import BuildError, InputError, Problem
from generator.progress import say
from generator.workspace import load

if TYPE_CHECKING:
    from generator.verify.origins import Origin
    from generator.verify.results import Result
    from generator.workspace import Workspace


@click.command()
@names_argument
@click.option("--from", "origin", type=click.Choice(["engine", "registry"]), default="engine", show_default=True,
              help="Where the images are. From a registry, all platforms are checked, but only the engine's is "
              "started.")  # fmt: skip
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE",
              help="Check the images in a bundle, without loading or starting them.")  # fmt: skip
@platform_option(
    "Check this platform; default: the engine's own; for a bundle, all; for a registry, the plan's. Repeatable."
)
@click.option("--tag", default="", metavar="T",
              help="Use this tag instead of the one in .env or the bundle, also for base images.")  # fmt: skip
@click.option("--prefix", default="", metavar="R/NS", help="Use this registry and namespace instead of PREFIX.")
@click.option("--no-start", is_flag=True, help="Run only the checks that start no container.")
@click.option("--within", type=click.IntRange(min=0), default=0, metavar="SECONDS",
              help="Wait this long for a service to listen; default: as in its contract, or 120. With --stack: give "
              "each smoke command at least as long.")  # fmt: skip
@click.option("--stack", is_flag=True,
              help="Instead, start two parties with Docker Compose and run smoke commands in them.")  # fmt: skip
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True
)
@quiet_option
@directory_option
def command(
    names: tuple[str, ...],
    origin: str,
    bundle: Path | None,
    platforms: tuple[str, ...],
    tag: str,
    prefix: str,
    no_start: bool,
    within: int,
    stack: bool,
    output_format: str,
    quiet: bool,
    directory: Path,
) -> None:
    """Check images against their contracts in the catalogue (default: all).

    First, verify checks the content of each image and caches the results by digest. Then it starts each image on its
    own, stops it, and starts it again. It exits with 1 if a check fails.
    """
    if bundle and origin != "engine":
        raise InputError(Problem("--bundle", "cannot be combined with --from"))
    others = {"--bundle": bundle, "--from": origin != "engine", "--platform": platforms, "--no-start": no_start}
    if stack and (wrong := [*names, *(flag for flag, given in others.items() if given)]):
        message = f"starts every component: {', '.join(wrong)} cannot be combined with it"
        raise InputError(Problem("--stack", message), hint="it takes --tag, --prefix and --within")
    from generator.docker.process import find_docker
    from generator.verify import origins
    from generator.verify.run import check_images, require_contracts
    from generator.verify.stack import verify_stack

    sets = [f"TAG={tag}", f"BASE_TAG={tag}"] if tag else []
    sets += [f"PREFIX={prefix}"] if prefix else []
    project = open_project(directory)
    workspace = load(project, sets=sets)
    if bundle and not tag and (tags := origins.tags_in(bundle, workspace.plan)):
        say(f"{', '.join(tags)}: by the names in {bundle.name}, not as .env says")
        workspace = load(project, sets=[*sets, *tags])
    say_warnings(workspace.warnings)
    if stack:
        notes = (lambda _: None) if quiet else say
        print_results(verify_stack(find_docker().at(project.root), workspace, notes, within=within), output_format)
        return
    names = names or ("all",)
    require_contracts(workspace.plan, names)
    wanted = origins.asked_for(workspace.plan, names, platforms)
    with contextlib.ExitStack() as locks:
        if origin == "registry":
            images = _from_registry(workspace, names, platforms, quiet, locks)
        elif bundle:
            images = origins.from_bundle(bundle, wanted)
            if not (no_start or quiet):
                say("images in a bundle are not started: run fategen bundle load, then verify")
        else:
            images = origins.from_engine(find_docker(), wanted)
        docker = None if no_start or bundle else find_docker()
        print_results(check_images(images, project, docker, quiet, within=within), output_format)


def _from_registry(
    workspace: Workspace, names: Sequence[str], platforms: Sequence[str], quiet: bool, locks: contextlib.ExitStack
) -> Origin:
    """Every platform that the plan has of each image, or the requested ones."""
    from generator.bake.job import Options, make_job
    from generator.bake.prepare import lock_project
    from generator.bake.publish import fetching_layouts
    from generator.verify.origins import from_layouts

    locks.enter_context(lock_project(workspace.project))
    job = make_job(workspace.plan, names, Options(platforms=tuple(platforms)))
    for note in job.left_out:
        say(note)
    wanted = platforms or workspace.plan.settings.platforms
    with fetching_layouts(workspace, job, wanted, quiet) as fetch:
        return from_layouts(job.named, fetch.images, workspace.project.make_state("verify"))


def print_results(
    results: Sequence[Result], output_format: str, *, only_failures: bool = False, consequence: str = ""
) -> None:
    """Prints the results. Raises BuildError, which names the ``consequence``, if a check failed."""
    from generator.verify.results import REPORTS, failures

    failed = failures(results)
    if failed or not only_failures:
        click.echo(REPORTS[output_format](results))
    if failed:
        images = ", ".join(dict.fromkeys(result.image for result in failed))
        raise BuildError(
            f"{len(failed)} of {len(results)} checks failed ({images})" + (f"; {consequence}" if consequence else ""),
            hint="each failure names the line of the catalogue that requires it: fix the image, or that line",
        )
