"""``fategen bake``: build images with ``docker buildx bake``, and push or load them."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import change_options, directory_option, open_project, say_warnings
from generator.cli.complete import images_and_groups
from generator.docker.engine import asking
from generator.docker.process import find_docker
from generator.errors import InputError, Problem
from generator.progress import say

if TYPE_CHECKING:
    from generator.bake.job import Output
    from generator.bake.phases import Configs


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=images_and_groups)
@click.option("--push", is_flag=True, help="Publish to PREFIX, once everything is built.")
@click.option("--load", is_flag=True, help="Put the images into the local engine, once everything is built.")
@click.option("--verify", is_flag=True, help="Hold the images against their contract before they are published.")
@click.option("--platform", "platforms", multiple=True, metavar="P", help="Only this platform; may be repeated.")
@click.option("--builder", default="", metavar="B", help="A buildx builder; default: docker's current one.")
@click.option("--base", type=click.Choice(["build", "published"]), default="build", show_default=True,
              help="Build base-image, or build on the one that PREFIX has.")  # fmt: skip
@click.option("--print", "show", is_flag=True, help="Print what bake would build, as JSON; build nothing.")
@click.option("--no-cache", is_flag=True, help="Run every step again.")
@click.option("--allow-dirty", is_flag=True, help="Push local sources with uncommitted changes to the release's tag.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", is_flag=True, help="The output of every step.")
@directory_option
@change_options
def command(
    names: tuple[str, ...],
    push: bool,
    load: bool,
    verify: bool,
    platforms: tuple[str, ...],
    builder: str,
    base: str,
    show: bool,
    no_cache: bool,
    allow_dirty: bool,
    form: str,
    quiet: bool,
    verbose: bool,
    directory: Path,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
) -> None:
    """Build images and groups (default: the components); without --push and --load they stay in the build cache."""
    if push and load:
        raise InputError(Problem("--load", "--push and --load exclude each other: bake twice, the second is cached"))
    output: Output = "push" if push else "load" if load else "none"
    project = open_project(directory)
    docker = find_docker().at(project.root)
    with contextlib.ExitStack() as held:
        # docker needs a tenth of a second to answer: the rest is imported, and the project read, in that time
        with contextlib.nullcontext() if show else asking(docker, builder) as answers:
            from generator import bake as baking
            from generator.bake.job import not_built
            from generator.cli.layouts import alone

            options = baking.Options(output, platforms, builder, no_cache, base == "published", allow_dirty)
            if not show or sets or sources:
                held.enter_context(alone(project))
            workspace, recipe = baking.open_workspace(project, sets, sources, say)
            say_warnings(workspace.warnings)
            if answers is None:
                printed = baking.resolved(docker, workspace, recipe, names, options, process=os.environ, say=say)
                click.echo(printed, nl=False)
                return
            session = baking.make_session(
                docker,
                workspace,
                recipe,
                names,
                options,
                process=os.environ,
                view=lambda job: baking.make_view(job, quiet=quiet, verbose=verbose),
                say=say,
                answers=answers,
            )
        if missing := not_built(workspace.plan, names):
            say(missing)
        if not quiet:
            plan = workspace.plan
            builder_name = f"{session.facts.builder.name} ({session.facts.builder.driver})"
            say(f"FATE {plan.release} → {plan.settings.prefix}   tag {plan.settings.tag}   builder {builder_name}")

        def verified() -> Configs:
            from generator.cli.gate import gate

            return gate(session, workspace, form, quiet)

        built = baking.bake(session, verified if verify else None)
    click.echo(json.dumps([one.as_json() for one in built], indent=2) if form == "json" else baking.result_table(built))
