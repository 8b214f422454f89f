"""``fategen bundle``: one file that carries images to a site without internet, and loads there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.archive import Reads
from generator.bundle.check import inspect, stdin, verify
from generator.bundle.damage import not_whole
from generator.bundle.layout import SourceImage
from generator.bundle.load import load
from generator.bundle.model import BundleIndex, short_root
from generator.bundle.reference import familiar
from generator.bundle.report import as_json, rows
from generator.bundle.save import save
from generator.cli.common import change_options, directory_option, open_project, say_warnings
from generator.cli.complete import images_of_bundle
from generator.cli.terminal import Bar, progress_view, say
from generator.errors import EngineError, InputError, Problem, did_you_mean
from generator.table import table
from generator.text import human

if TYPE_CHECKING:
    from generator.bake import Options, Recipe
    from generator.plan import Plan
    from generator.workspace import Workspace

GROUPS = {"fate": ("components",), "third-party": ("third-party",), "all": ("components", "third-party")}

format_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def _bundle_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """One of the bundles; an image's name in its place is a slip with an answer."""
    if value not in GROUPS:
        wrong = f"no bundle has this name{did_you_mean(value, GROUPS)}; there are {', '.join(GROUPS)}"
        raise InputError(Problem(value, wrong), hint=f"for one image: fategen bundle save --image {value}")
    return value


@click.group()
def command() -> None:
    """Carry images to a site without internet: one file, checked byte for byte, that plain docker load takes too."""


@command.command("save")
@click.argument(
    "name",
    metavar=f"[{'|'.join(GROUPS)}]",
    default="fate",
    callback=_bundle_name,
    shell_complete=lambda _context, _parameter, begun: [name for name in GROUPS if name.startswith(begun)],
)
@click.option("--platform", "platforms", multiple=True, metavar="P", help="Default: the engine's own. Repeatable.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Only this image of the bundle. Repeatable.",
              shell_complete=images_of_bundle)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Default: NAME-TAG.fate.tar in this directory, with the names of --image in it.",
)
@click.option("--builder", default="", metavar="B", help="A buildx builder; default: docker's current one.")
@directory_option
@change_options
@format_option
@quiet_option
def save_command(
    name: str,
    platforms: tuple[str, ...],
    images: tuple[str, ...],
    output: Path | None,
    builder: str,
    directory: Path,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
    form: str,
    quiet: bool,
) -> None:
    """Build a set of images, or take them as they are built, and write them into one file.

    "fate" (the default) holds the components, "third-party" mysql and redis, "all" both. The same images give the same
    file, byte for byte. FILE.sha256 is written beside it, for sha256sum -c.
    """
    from generator import bake as baking

    workspace, recipe = baking.open_workspace(open_project(directory), sets, sources, say)
    say_warnings(workspace.warnings)
    names = _chosen(workspace.plan, name, images)
    options = baking.Options(platforms=platforms or (_engine_platform(),), builder=builder)
    title = "-".join((name, *images, workspace.plan.settings.tag))
    output = output or Path(f"{title}.fate.tar")
    if not output.parent.is_dir():
        raise InputError(Problem("-o", f"{output.parent} is not a directory"), hint=f"mkdir -p {output.parent}")
    layouts = _layouts(workspace, recipe, names, options, quiet)
    with Bar("saving", quiet) as bar:
        result = save(layouts, output, name=title, progress=bar)
    if form == "json":
        extra = {"file": str(result.path), "sha256": result.sha256, "not_written_twice": result.shared}
        click.echo(json.dumps({**extra, **as_json(result.index, result.size)}, indent=2))
        return
    click.echo(_table(result.index))
    click.echo(f"\n{result.path}  {human(result.size)}  root digest {short_root(result.root)}")
    click.echo(f"sha256 {result.sha256}  (in {result.path.name}.sha256)")
    if result.shared:
        click.echo(f"layers that images share are in it once: {human(result.shared)} less than one file for each image")


@command.command("inspect")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@format_option
def inspect_command(file: Path, form: str) -> None:
    """List what a bundle holds, from its first bytes alone ("-": from a pipe); the rest is for verify to check."""
    found = inspect(_source(file))
    if form == "json":
        click.echo(json.dumps(as_json(found.index, found.size), indent=2))
    else:
        click.echo(_table(found.index))
        click.echo(f"\n{found.index.name}  {human(found.size)}  root digest {short_root(found.index.root)}")
        click.echo(found.index.root)
    if found.file_size not in (None, found.size):
        click.echo(f"warning: {not_whole(found.name, found.file_size or 0, found.size)}", err=True)


@command.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@format_option
@quiet_option
def verify_command(file: Path, form: str, quiet: bool) -> None:
    """Check every byte of a bundle, and name every damaged place. Exit code 4: damaged or unsafe."""
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        result = verify(_source(file), progress=bar)
    if form == "json":
        click.echo(json.dumps({**as_json(result.index, result.size), "blobs": result.blobs, "whole": True}, indent=2))
        return
    seconds = time.monotonic() - start
    images = len(result.index.images)
    click.echo(
        f"{result.path} is whole: {images} image{'s' * (images > 1)}, {result.blobs} blobs, {human(result.size)}, "
        f"{seconds:.1f} s\nroot digest {short_root(result.index.root)}: compare it with the sender's"
    )


@command.command("load")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--only", multiple=True, metavar="NAME", help="Load this image alone. Repeatable.")
@click.option("--platform", default="", metavar="P", help="Load this platform; default: the engine's own.")
@format_option
@quiet_option
def load_command(file: Path, only: tuple[str, ...], platform: str, form: str, quiet: bool) -> None:
    """Load a bundle into Docker while checking it. When anything is wrong, no image and no tag appears or changes."""
    from generator.bundle.targets import DockerLoader
    from generator.engine import find_docker

    with Bar("loading", quiet) as bar:
        result = load(_source(file), DockerLoader(find_docker()), only=only, platform=platform, progress=bar)
    if form == "json":
        images = [
            {"reference": i.reference, "id": i.id, "platform": i.platform, "state": i.state, "before": i.before}
            for i in result.images
        ]
        click.echo(json.dumps({"root": result.index.root, "platform": result.platform, "images": images}, indent=2))
        return
    state = {"new": "new", "same": "was there", "replaced": "replaced "}
    click.echo(
        table(
            ("IMAGE", "PLATFORM", "ID", ""),
            [
                (
                    familiar(i.reference),
                    i.platform,
                    _short(i.id),
                    state[i.state] + (_short(i.before) if i.state == "replaced" else ""),
                )
                for i in result.images
            ],
        )
    )


def _layouts(
    workspace: Workspace, recipe: Recipe, names: Sequence[str], options: Options, quiet: bool
) -> tuple[SourceImage, ...]:
    """Has bake build these images and groups and write their OCI layouts: the one place where bundles meet bake."""
    from generator import bake as baking
    from generator.bundle.classic import fill_layouts
    from generator.engine import find_docker

    session = baking.make_session(
        find_docker(),
        workspace,
        recipe,
        names,
        options,
        process=os.environ,
        view=lambda job: progress_view(job, quiet=quiet),
        say=say,
    )
    classic = not session.facts.multi_platform
    if classic:
        say(
            "through the engine: its image store (graphdriver) writes no OCI layouts, so the images are loaded into it "
            "and read back with docker save"
        )
    written = baking.load_for_layouts(session, workspace.plan) if classic else baking.export_layouts(session)
    session.view.clear()
    if classic:
        with Bar("reading it back", quiet) as bar:
            fill_layouts(session.docker, {t.tags[0]: written[t.name] for t in session.job.targets}, bar)
    order = {platform: number for number, platform in enumerate(options.platforms)}
    return tuple(
        SourceImage(target.tags, written[target.name], tuple(sorted(target.platforms, key=order.__getitem__)))
        for target in session.job.targets
    )


def _chosen(plan: Plan, name: str, images: Sequence[str]) -> tuple[str, ...]:
    """The names to build: the bundle's groups, or some of their images. InputError for one that is not in them."""
    there = [target.name for target in plan.select(GROUPS[name])]
    wrong = [image for image in images if image not in there]
    if wrong:
        raise InputError(
            [Problem("--image", f"{w} is not in the {name} bundle{did_you_mean(w, there)}") for w in wrong],
            hint=f"it holds {', '.join(there)}",
        )
    return tuple(images) or GROUPS[name]


def _engine_platform() -> str:
    from generator.bundle.targets import DockerLoader
    from generator.engine import find_docker

    loader = DockerLoader(find_docker())
    try:
        return loader.platform()
    except EngineError as error:
        # a remote builder needs no engine here, only to be told for what to build
        hint = f"{error.hint}; or, with a builder that needs no daemon, name the platform: --platform linux/amd64"
        raise EngineError(error.message, hint=hint) from error


def _source(file: Path) -> Path | Reads:
    return stdin() if str(file) == "-" else file


def _table(index: BundleIndex) -> str:
    return table(("IMAGE", "PLATFORMS", ">SIZE", ">ITS OWN", ">SHARED"), rows(index))


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]
