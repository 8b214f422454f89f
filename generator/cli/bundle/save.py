"""``fategen bundle save``: save a set of images in one file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.bundle.index import NAME, open_files, short_root
from generator.bundle.reader import inspect
from generator.bundle.save import root_digest, save
from generator.bundle.signature import SUFFIX
from generator.bundle.sources import (
    BUNDLES,
    DEFAULT,
    check_bundle_names,
    check_output,
    default_file,
    default_platform,
    in_order,
    selected,
    without_building,
)
from generator.cli.common import (
    change_options,
    complete_images,
    directory_option,
    format_option,
    open_project,
    plan_or_none,
    platform_option,
    quiet_option,
    say_warnings,
)
from generator.docker.engine import asking
from generator.docker.process import find_docker
from generator.errors import InputError, Problem, did_you_mean
from generator.progress import Bar, say
from generator.stdio import flush, show, stdout_bytes
from generator.text import human

if TYPE_CHECKING:
    from generator.registry.fetch import Fetch

_ORIGINS = ("bake", "engine", "registry", "layout:DIR")


def _check_origin(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value not in _ORIGINS and not (value.startswith("layout:") and value != "layout:"):
        wrong = f"{value} is none of {', '.join(_ORIGINS)}{did_you_mean(value, _ORIGINS)}"
        raise InputError(Problem("--from", wrong))
    return value


@click.command()
@click.argument(
    "bundle_names",
    nargs=-1,
    metavar=f"[{'|'.join(BUNDLES)}]",
    shell_complete=lambda _context, _parameter, begun: [name for name in BUNDLES if name.startswith(begun)],
)
@click.option(
    "--from",
    "origin",
    default="bake",
    show_default=True,
    metavar="|".join(_ORIGINS),
    callback=_check_origin,
    help="Source of the images: a build from the cache, the engine, the registry, or OCI layouts in DIR/IMAGE or DIR.",
)
@platform_option("Save this platform; default: the engine's own. Repeatable.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Save only this image. Repeatable.",
              shell_complete=complete_images)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='The file; default: named after the bundle, TAG, --image, --platform and --base. "-": standard output.',
)
@click.option("--add", "others", multiple=True, metavar="REFERENCE",
              help="With --from registry: add another image, with the same digest. Repeatable.")  # fmt: skip
@click.option("--base", "bases", multiple=True, type=click.Path(path_type=Path), metavar="OLD",
              help="Write a delta bundle, without the layers of this base bundle. Repeatable.")  # fmt: skip
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="PATH",
              help="Add a small file, such as a compose file or a chart. Repeatable.")  # fmt: skip
@click.option("--with-loader", is_flag=True,
              help="Also write fategen-load.pyz, which needs only Python, and its README.")  # fmt: skip
@click.option("--builder", default="", metavar="B", help="The buildx builder; default: the current one.")
@directory_option
@change_options
@format_option
@quiet_option
def command(
    bundle_names: tuple[str, ...],
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
    output_format: str,
    quiet: bool,
) -> None:
    """Save a set of images in one file: bake builds them, or they come from an engine, a registry or OCI layouts.

    "components" (the default, also under the family's name) saves the components, "third-party" the images of other
    publishers, and "all" both and the base images (unlike the group "all" of bake and images, which has no third-party
    images). The same images give the same file, byte for byte. FILE.sha256 is written next to it, for sha256sum -c.
    With --base, FILE is a delta bundle, which loads where OLD was loaded, or together with OLD. With -o -, the bundle
    goes to standard output and the report to standard error.
    """
    name = check_bundle_names(bundle_names or (DEFAULT,), lambda: plan_or_none(click.get_current_context()))
    if builder and origin != "bake":
        raise InputError(Problem("--builder", f"works only with --from bake; nothing is built from {origin}"))
    if others and origin != "registry":
        raise InputError(Problem("--add", "works only with --from registry"), hint="add --from registry")
    piped = str(output) == "-"
    if piped and with_loader:
        raise InputError(Problem("--with-loader", "writes files next to the bundle: it cannot be combined with -o -"))
    if piped and stdout_bytes().isatty():
        hint = "fategen bundle save -o - | ssh HOST fategen bundle load -"
        raise InputError(Problem("-o -", "standard output is a terminal, and a bundle is binary data"), hint=hint)
    if output and not piped:
        check_output(output, bases)
    contents = open_files(files)
    base_indexes = [inspect(base).index for base in bases]
    project = open_project(directory)
    # docker needs a tenth of a second to answer: the rest is imported, and the project read, in that time
    asked = origin in ("bake", "engine") or not platforms
    with contextlib.ExitStack() as closing:
        with asking(find_docker().at(project.root), builder) if asked else contextlib.nullcontext() as answers:
            from generator.bake.build import export_layouts
            from generator.bake.job import Options, make_job, not_built
            from generator.bake.prepare import lock_project, make_context, open_workspace
            from generator.bundle.report import bundle_json, delta_note, images_table, summary
            from generator.docker.git import uncommitted
            from generator.loader import build

            closing.enter_context(lock_project(project))
            workspace = open_workspace(project, sets, sources)
            say_warnings(workspace.warnings)
            plan = workspace.plan
            names = selected(plan, name, images)
            for note in () if images else not_built(plan, BUNDLES[name]):
                say(note)
            of = plan.family.slug if name == DEFAULT else name
            title = "-".join((of, *images, plan.settings.tag, *(["delta"] if bases else [])))
            if not NAME.fullmatch(title):
                wrong = f"the bundle's name would be {title[:60]}… ({len(title)} characters, at most 200)"
                raise InputError(Problem("--image", wrong), hint="save fewer images into one bundle, or all of them")
            if output is None:
                output = default_file(title, plan.family.slug, platforms)
                check_output(output, bases)
            platforms = in_order(platforms, plan)
            if answers is not None and not platforms:
                platform, only = default_platform(answers().engine, plan, names, origin)
                platforms = (platform,)
                if only:
                    say(only)
            options = Options(platforms=platforms, builder=builder, attestations=False)
            fetching: Fetch | None = None
            if answers is not None and origin == "bake":
                context = make_context(find_docker(), workspace, names, options, answers, quiet=quiet)
                if dirty := uncommitted(context.states, context.states):
                    changes = f"warning: uncommitted changes of {', '.join(dirty)} are in this bundle"
                    say(f"{changes}: its images cannot be built again from a commit")
                layouts, _ = export_layouts(context)
            else:
                job = make_job(plan, names, options)
                for note in job.left_out:
                    say(note)
                layouts, fetching = closing.enter_context(
                    without_building(workspace, job, origin, platforms, others, base_indexes, quiet)
                )
        before = None if piped else root_digest(output)
        signature = output.with_name(output.name + SUFFIX)
        signed = not piped and signature.exists()
        with Bar("saving", quiet) as bar:
            result = save(
                layouts,
                stdout_bytes() if piped else output,
                name=title,
                bases=base_indexes,
                files=contents,
                prefix=plan.settings.prefix,
                progress=bar if fetching is None else fetching.after(bar),
                fetching=fetching,
            )
            if piped:
                flush()
    if before not in (None, result.root):
        what = f"another bundle (root digest {short_root(before)})" if before else "no bundle"
        say(f"replaced {output}, which was {what}")
    if signed:
        say(f"removed {signature}, which signed the previous file: fategen bundle sign creates a new one")
    document: dict[str, object] = {"file": str(output), "sha256": result.sha256, "not_written_twice": result.shared}
    lines = [images_table(result.index), "", summary(title if piped else str(output), result.index, result.size)]
    lines.append(f"sha256 {result.sha256}" + ("" if piped else f"  (in {output.name}.sha256)"))
    if base_indexes:
        lines.append(delta_note(result.index, base_indexes))
    elif result.shared:
        lines.append(f"deduplicated layers saved {human(result.shared)}")
    if with_loader:
        sha256 = build.write_loader(output, result.index)
        document.update(loader=str(output.with_name(build.LOADER)), loader_sha256=sha256)
        lines.append(f"{build.LOADER}  sha256 {sha256}, and {build.LOADER_README}")
    show(output_format, {**document, **bundle_json(result.index, result.size)}, "\n".join(lines), err=piped)
