"""``fategen bake``: build images with ``docker buildx bake``, and push or load them."""

from __future__ import annotations

import contextlib
import os.path
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from generator.cli.common import (
    change_options,
    directory_option,
    format_option,
    names_argument,
    open_project,
    platform_option,
    quiet_option,
    say_warnings,
)
from generator.docker.engine import asking
from generator.docker.process import find_docker
from generator.errors import InputError, Problem
from generator.progress import say
from generator.stdio import show

if TYPE_CHECKING:
    from generator.bake.job import Output
    from generator.bake.run import BakeContext
    from generator.images.layout import SourceImage


@click.command()
@names_argument
@click.option("--push", is_flag=True, help="Push to PREFIX; write no tag until everything is built.")
@click.option("--load", is_flag=True, help="Load the images into the local engine.")
@click.option("--verify", is_flag=True, help="Check the images against their contract before they are published.")
@click.option("--within", type=click.IntRange(min=0), default=0, metavar="SECONDS",
              help="With --verify: wait this long for a service to listen; default: as in its contract, or 120.",
              )  # fmt: skip
@platform_option("Build only this platform. Repeatable.")
@click.option("--builder", default="", metavar="B", help="The buildx builder; default: the current one.")
@click.option("--published-base", is_flag=True, help="Do not build base images: use the published ones in PREFIX.")
@click.option("--print", "only_print", is_flag=True, help="Print what bake would build, as JSON, and exit.")
@click.option("--no-cache", is_flag=True, help="Run every step again, without the cache.")
@click.option("--digests", metavar="FILE", type=click.Path(path_type=Path),
              help="With --push: upload without tags, and write FILE for fategen join.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Let a push move tags that point to other images.")
@click.option("--allow-dirty", is_flag=True, help="Push local sources with uncommitted changes to the release's tag.")
@format_option
@quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Show the output of every step.")
@directory_option
@change_options
def command(
    names: tuple[str, ...],
    push: bool,
    load: bool,
    verify: bool,
    within: int,
    only_print: bool,
    digests: Path | None,
    output_format: str,
    quiet: bool,
    verbose: bool,
    directory: Path,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
    **flags: Any,
) -> None:
    """Build images and groups (default: the components). Without --push or --load, they stay in the build cache."""
    if push and load:
        raise InputError(
            Problem("--load", "--push and --load cannot be combined: run bake twice; the second run is cached")
        )
    if digests and not push:
        raise InputError(Problem("--digests", "works only with --push: FILE lists the uploaded images"))
    if digests and not digests.parent.is_dir():
        raise InputError(Problem("--digests", f"{digests.parent} is not a directory"))
    if digests and (str(digests) == "-" or os.path.lexists(digests)):
        # the images of an earlier file have no other name
        wrong = "is not a file name" if str(digests) == "-" else "exists"
        raise InputError(Problem("--digests", f"{digests} {wrong}"), hint="choose another file name, or delete it")
    if within and not verify:
        raise InputError(Problem("--within", "works only with --verify, which starts the services"))
    output: Output = "push" if push else "load" if load else "none"
    project = open_project(directory)
    docker = find_docker().at(project.root)
    with contextlib.ExitStack() as stack:
        # docker needs a tenth of a second to answer: the rest is imported, and the project read, in that time
        with contextlib.nullcontext() if only_print else asking(docker, flags["builder"]) as answers:
            from generator.bake.build import bake, result_table
            from generator.bake.job import Options, not_built
            from generator.bake.prepare import lock_project, make_context, open_workspace, resolved

            options = Options(output, untagged=digests is not None, **flags)
            if not only_print or sets or sources:
                stack.enter_context(lock_project(project))
            workspace = open_workspace(project, sets, sources)
            say_warnings(workspace.warnings)
            plan = workspace.plan
            if answers is None:
                click.echo(resolved(docker, workspace, names, options), nl=False)
                return
            context = make_context(docker, workspace, names, options, answers, quiet=quiet, verbose=verbose)
        for note in not_built(plan, names):
            say(note)
        prefix = plan.settings.prefix
        if not quiet:
            used = context.facts.builder
            say(f"{plan.title} → {prefix}   tag {plan.settings.tag}   builder {used.name} ({used.driver})")
        if digests:
            from generator.bake.join import source_commits, write_digests

            commits = source_commits(context)
        begun = time.monotonic()
        built = bake(context, partial(_verify, context, output_format, within) if verify else None)
        if digests:
            lacking = write_digests(digests, workspace, commits, built, options.published_base)
            needed = f"; still needed: {'; '.join(lacking)}" if lacking else ""
            say(f"uploaded without tags{needed}\nto publish: fategen join {digests}{' …' if lacking else ''}")
        elif push and not quiet:
            for state, said in (("pushed", "pushed to"), ("was there", "already in")):
                shown = [name.removeprefix(f"{prefix}/") for b in built if b.state == state for name in b.references]
                if shown:
                    say(f"{said} {prefix}: {' '.join(shown)}")
    show(output_format, [image.as_json() for image in built], result_table(built, time.monotonic() - begun))


def _verify(context: BakeContext, output_format: str, within: float, sources: Sequence[SourceImage]) -> None:
    """Checks every platform against its contract, and starts the engine's own platform if there is an engine."""
    from generator.cli.verify import print_results
    from generator.verify.origins import from_layouts
    from generator.verify.run import check_images

    targets, problem = context.job.named, context.facts.engine.problem
    if problem is not None:
        say(f"nothing is started: {problem.message}")
    origin = from_layouts(targets, sources, context.state / "verify")
    docker = None if problem else context.docker
    results = check_images(origin, context.workspace.project, docker, context.quiet, start_failed=False, within=within)
    consequence = "nothing was published" if context.job.options.output == "push" else ""
    print_results(results, output_format, only_failures=True, consequence=consequence)
    if bare := [target.name for target in targets if not target.contract.where]:
        say(f"warning: not verified, since the catalogue has no contract for it: {', '.join(bare)}")
    if not context.quiet and results:
        names = ", ".join(target.name for target in targets if target.name not in bare)
        say(f"verified: {len(results)} checks of {names}")
