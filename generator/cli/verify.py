"""``fategen verify``: hold images against their contract in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from generator.cli.common import change_options, directory_option, open_project, say_warnings
from generator.cli.complete import images_and_groups
from generator.cli.terminal import Bar, say
from generator.engine import find_docker
from generator.errors import BuildError
from generator.workspace import load

if TYPE_CHECKING:
    from generator.verify.results import Result


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=images_and_groups)
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE",
              help="What a bundle holds; nothing of it is loaded, so nothing is started.")  # fmt: skip
@click.option("--platform", "platforms", multiple=True, metavar="P",
              help="Default: the engine's own; of a bundle, all that it holds. Repeatable.")  # fmt: skip
@click.option("--tag", default="", metavar="T", help="Another tag than .env's, of base-image too.")
@click.option("--prefix", default="", metavar="R/NS", help="Another registry and namespace than .env's.")
@click.option("--no-start", is_flag=True, help="Only what can be told without starting a container.")
@click.option("--format", "form", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@directory_option
@change_options
def command(
    names: tuple[str, ...],
    bundle: Path | None,
    platforms: tuple[str, ...],
    tag: str,
    prefix: str,
    no_start: bool,
    form: str,
    quiet: bool,
    directory: Path,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
) -> None:
    """Check images of the local engine against the contract that the catalogue has for each (default: all).

    What an image holds is read once and remembered by its digest; then each image is started alone, and ended, and
    started again. Exit code 1 where a check failed.
    """
    from generator.verify.kept import Kept
    from generator.verify.origins import Wanted, from_bundle, from_engine
    from generator.verify.started import check_started
    from generator.verify.subjects import check_unstarted

    other = [f"TAG={tag}", f"BASE_TAG={tag}"] if tag else []
    other += [f"PREFIX={prefix}"] if prefix else []
    workspace = load(open_project(directory), sets=(*sets, *other), sources=sources)
    say_warnings(workspace.warnings)
    targets = workspace.plan.select(names or ("all",))
    wanted = Wanted(targets, tuple(target.name for target in targets if target.name in names), platforms)
    origin = from_bundle(bundle, wanted, say) if bundle else from_engine(find_docker(), wanted, say)
    kept = Kept(workspace.project.make_state("verify"))
    with Bar("reading", quiet) as bar:
        results = check_unstarted(origin.subjects, origin.read(kept, bar), kept)
    if not no_start and not bundle:
        if not quiet:
            say(f"starting {', '.join(dict.fromkeys(subject.image for subject in origin.subjects))}")
        for subject, more in check_started(find_docker(), origin.subjects).items():
            results[subject] += tuple(more)
    kept.tidy()
    report([result for found in results.values() for result in found], form)


def report(results: Sequence[Result], form: str, *, passed: bool = True, consequence: str = "") -> None:
    """Prints them, ``passed``: also where all is well; BuildError, with its ``consequence``, where one failed."""
    from generator.verify.report import report_json, report_junit, report_table
    from generator.verify.results import failures

    bad = failures(results)
    if bad or passed:
        click.echo({"table": report_table, "json": report_json, "junit": report_junit}[form](results))
    if bad:
        images = ", ".join(dict.fromkeys(result.image for result in bad))
        raise BuildError(
            f"{len(bad)} of {len(results)} checks failed ({images})" + (f"; {consequence}" if consequence else ""),
            hint="each failure names the line of the catalogue that asks for it: mend the image, or that line",
        )
