"""``fategen bundle save``: a set of images into one file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.index import open_files, short_root
from generator.bundle.output import check_place
from generator.bundle.reader import inspect
from generator.cli.bundle.save_arguments import (
    DEFAULT,
    ORIGINS,
    check_bundle,
    check_name,
    check_pipe,
    chosen,
    default_name,
    engines_platform,
    in_order,
    known_origin,
    own_platform,
    plan_there,
    root_there,
    say_left_out,
)
from generator.cli.bundle.shared import GROUPS, format_option, quiet_option
from generator.cli.common import change_options, directory_option, open_project, say_warnings
from generator.cli.complete import images_of_bundle
from generator.docker.engine import asking
from generator.docker.process import find_docker
from generator.errors import InputError, Problem
from generator.progress import Bar, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from generator.bake import Options, Recipe
    from generator.bundle.index import BundleIndex
    from generator.docker.engine import Answers
    from generator.images.layout import SourceImage
    from generator.registry.fetch import Fetch
    from generator.workspace import Workspace


@click.command()
@click.argument(
    "name",
    metavar=f"[{'|'.join(GROUPS)}]",
    default=DEFAULT,
    shell_complete=lambda _context, _parameter, begun: [name for name in GROUPS if name.startswith(begun)],
)
@click.option(
    "--from",
    "origin",
    default="bake",
    show_default=True,
    metavar="|".join(ORIGINS),
    callback=known_origin,
    help="What bake builds from its cache; what the engine has; what was pushed; OCI layouts: DIR/IMAGE, or DIR.",
)
@click.option("--platform", "platforms", multiple=True, metavar="P", help="Default: the engine's own. Repeatable.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Only this image of the bundle. Repeatable.",
              shell_complete=images_of_bundle)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Default: NAME-TAG.fate.tar here; --image, --platform and --base are in the name. "-": to standard output.',
)
@click.option("--add", "others", multiple=True, metavar="REFERENCE",
              help="With --from registry: another image too, its digest kept. Repeatable.")  # fmt: skip
@click.option("--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
              help="A delta: without the layers that this bundle has. Repeatable.")  # fmt: skip
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="PATH",
              help="Put this small file in too: a compose file, a chart. Repeatable.")  # fmt: skip
@click.option("--with-loader", is_flag=True,
              help="Put fategen-load.pyz beside it, for a host with Python alone, and a page about it.")  # fmt: skip
@click.option("--builder", default="", metavar="B", help="A buildx builder; default: docker's current one.")
@directory_option
@change_options
@format_option
@quiet_option
def command(
    name: str,
    origin: str,
    platforms: tuple[str, ...],
    images: tuple[str, ...],
    output: Path | None,
    others: tuple[str, ...],
    bases: tuple[Path, ...],
    files: tuple[Path, ...],
    with_loader: bool,
    builder: str,
    directory: Path,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
    form: str,
    quiet: bool,
) -> None:
    """Write a set of images into one file: as bake builds them, or as something has them already.

    "fate" (the default) holds the components, "third-party" mysql and redis, "all" both and base-image (the group "all"
    of bake and images is what is built: without mysql and redis). The same images give the same file, byte for byte.
    FILE.sha256 is written beside it, for sha256sum -c. With --base it is a delta: it loads where OLD was loaded, or
    together with OLD. With -o - the bundle goes to standard output, and what is said of it to standard error.
    """
    check_bundle(name, lambda: plan_there(directory, sets, sources))
    if builder and origin != "bake":
        raise InputError(Problem("--builder", f"is for --from bake; nothing is built from {origin}"))
    if others and origin != "registry":
        raise InputError(Problem("--add", "only a registry is asked for other images"), hint="--from registry")
    piped = str(output) == "-"
    if piped:
        check_pipe(with_loader)
    elif output:
        check_place(output)
        check_name(output)
    contents = open_files(files)
    olds = [inspect(base).index for base in bases]
    project = open_project(directory)
    # docker needs a tenth of a second to answer: the rest is imported, and the project read, in that time
    asked = origin in ("bake", "engine") or not platforms
    with contextlib.ExitStack() as held:
        with asking(find_docker().at(project.root), builder) if asked else contextlib.nullcontext() as answers:
            from generator import bake as baking
            from generator.bundle.report import bundle_json, delta_note, images_table, summary
            from generator.bundle.save import save, save_to
            from generator.loader import build
            from generator.text import human

            held.enter_context(baking.lock_project(project))
            workspace, recipe = baking.open_workspace(project, sets, sources)
            say_warnings(workspace.warnings)
            plan = workspace.plan
            names = chosen(plan, name, images)
            if not images and (missing := baking.not_built(plan, GROUPS[name])):
                say(missing)
            title = "-".join((name, *images, plan.settings.tag, *(["delta"] if bases else [])))
            output = output or default_name(title, platforms)
            platforms = in_order(platforms, plan)
            for base in bases:
                if base.resolve() == output.resolve():
                    message = f"{base} is what would be written, and the delta leans on it"
                    raise InputError(Problem("--base", message), hint="-o names another file")
            if answers is not None and not platforms:
                platforms = (own_platform(engines_platform(answers, plan), plan),)
                one = origin == "engine" or (origin == "bake" and answers().engine.store == "graphdriver")
                say_left_out(plan, names, platforms[0], asked=not one)
            options = baking.Options(platforms=platforms, builder=builder, attestations=False)
            fetch: Fetch | None = None
            if answers is not None and origin == "bake":
                layouts = _from_bake(workspace, recipe, names, options, answers, quiet)
            else:
                layouts, fetch = _as_they_are(workspace, origin, names, others, olds, options, quiet, held)
        before = None if piped else root_there(output)
        with Bar("saving", quiet) as bar:
            write = partial(save_to, stream=sys.stdout.buffer) if piped else partial(save, output=output)
            progress = bar if fetch is None else fetch.after(bar)
            result = write(layouts, name=title, bases=olds, files=contents, progress=progress, fetching=fetch)
            if piped:
                sys.stdout.flush()
    if before not in (None, result.root):
        what = f"held another bundle (root digest {short_root(before)})" if before else "was no bundle"
        say(f"replaced {output}, which {what}")
    placed = build.place(result.path, result.index) if with_loader else None
    if form == "json":
        extra = {"file": str(result.path), "sha256": result.sha256, "not_written_twice": result.shared}
        extra.update({"loader": str(placed.loader), "loader_sha256": placed.sha256} if placed else {})
        click.echo(json.dumps({**extra, **bundle_json(result.index, result.size)}, indent=2), err=piped)
        return
    where = title if piped else str(result.path)
    lines = [images_table(result.index), "", summary(where, result.index, result.size)]
    lines.append(f"sha256 {result.sha256}" + ("" if piped else f"  (in {result.path.name}.sha256)"))
    if olds:
        lines.append(delta_note(result.index, olds))
    elif result.shared:
        lines.append(
            f"layers that images share are in it once: {human(result.shared)} less than one file for each image"
        )
    if placed:
        lines.append(f"{placed.loader.name}  sha256 {placed.sha256}, and {placed.readme.name}")
    click.echo("\n".join(lines), err=piped)


def _from_bake(
    workspace: Workspace,
    recipe: Recipe,
    names: Sequence[str],
    options: Options,
    answers: Callable[[], Answers],
    quiet: bool,
) -> tuple[SourceImage, ...]:
    """Has bake build these images and groups and write their OCI layouts."""
    from generator import bake as baking

    session = baking.make_session(
        find_docker(),
        workspace,
        recipe,
        names,
        options,
        process=os.environ,
        quiet=quiet,
        answers=answers,
    )
    return baking.build_layouts(session, workspace.plan, options.platforms)


def _as_they_are(
    workspace: Workspace,
    origin: str,
    names: Sequence[str],
    others: Sequence[str],
    olds: Sequence[BundleIndex],
    options: Options,
    quiet: bool,
    held: contextlib.ExitStack,
) -> tuple[tuple[SourceImage, ...], Fetch | None]:
    """Builds nothing: the images under the plan's names, where ``origin`` has them.

    Those of a registry come while they are saved, until ``held`` ends.
    """
    from generator import bake as baking
    from generator.bundle import sources as origins

    job = baking.make_job(workspace.plan, names, options)
    for left in job.left_out:
        say(f"{left.image} has no {left.platform}: {left.reason}")
    kind, _, place = origin.partition(":")
    if kind == "layout":
        return origins.from_layouts(Path(place), job, options.platforms), None
    if kind == "registry":
        fetch = held.enter_context(
            baking.fetching_layouts(workspace, job, options.platforms, os.environ, quiet, others, olds)
        )
        return fetch.images, fetch
    with Bar("reading", quiet) as bar:
        state = workspace.project.make_state()
        return origins.from_engine(find_docker(), job, options.platforms, state, bar), None
