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
from generator.errors import BuildError, EngineError, InputError, Problem
from generator.reference import parse_reference
from generator.workspace import load

if TYPE_CHECKING:
    from generator.plan import Target
    from generator.verify.results import Result


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|GROUP]...", shell_complete=images_and_groups)
@click.option("--platform", "platforms", multiple=True, metavar="P", help="Default: the engine's own. Repeatable.")
@click.option("--tag", default="", metavar="T", help="Another tag than .env's, of base-image too.")
@click.option("--prefix", default="", metavar="R/NS", help="Another registry and namespace than .env's.")
@click.option("--no-start", is_flag=True, help="Only what can be told without starting a container.")
@click.option("--format", "form", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@directory_option
@change_options
def command(
    names: tuple[str, ...],
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
    from generator.verify.engine_images import identify, read_images
    from generator.verify.kept import Kept
    from generator.verify.started import check_started
    from generator.verify.subjects import Subject, check_unstarted

    workspace = load(open_project(directory), sets=sets, sources=sources)
    say_warnings(workspace.warnings)
    docker = find_docker()
    targets = workspace.plan.select(names or ("all",))
    references = {target.name: _reference(target, prefix, tag) for target in targets}
    known = identify(docker, list(references.values()))
    if missing := [ref for ref in references.values() if ref not in known]:
        raise EngineError(
            f"the engine has no {', '.join(missing)}", hint=f"fategen bake {' '.join(names or ('all',))} --load"
        )
    subjects = [
        Subject(target.name, references[target.name], platform, known[references[target.name]].id, target.contract)
        for target in targets
        for platform in _platforms(target, platforms, names, known[references[target.name]].platform)
    ]
    kept = Kept(workspace.project.make_state("verify"))
    with Bar("reading", quiet) as bar:
        results = check_unstarted(subjects, lambda wanted: read_images(docker, wanted, kept, bar), kept)
    if not no_start:
        if not quiet:
            say(f"starting {', '.join(dict.fromkeys(subject.image for subject in subjects))}")
        started = check_started(docker, subjects, known[subjects[0].reference].platform)
        results = {subject: (*found, *started.get(subject, ())) for subject, found in results.items()}
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


def _reference(target: Target, prefix: str, tag: str) -> str:
    reference = target.tags[0]
    name, _, own_tag = reference.rpartition(":")
    if prefix and target.kind != "third-party":
        name = f"{prefix.rstrip('/')}/{target.name}"
    reference = f"{name}:{tag or own_tag}"
    try:
        parse_reference(reference)
    except ValueError as error:
        raise InputError(Problem("--prefix" if prefix else "--tag", f"{reference}: {error}")) from None
    return reference


def _platforms(target: Target, asked: Sequence[str], names: Sequence[str], own: str) -> tuple[str, ...]:
    """The platforms of a target that are verified; one that it lacks is told, or wrong where it was named."""
    kept = []
    for platform in asked or (own,):
        skipped = next((s for s in target.skipped if s.platform == platform), None)
        if skipped is None:
            kept.append(platform)
        elif target.name in names:
            raise InputError(Problem(target.name, f"has no {platform}: {skipped.reason}"))
        else:
            say(f"{target.name} is not verified for {platform}: {skipped.reason}")
    return tuple(kept)
