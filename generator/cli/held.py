"""What ``verify`` and ``bake --verify`` share: an origin is held against its contracts, and what came out is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from generator.errors import BuildError
from generator.progress import Bar, say
from generator.verify.results import REPORTS, Result, failures
from generator.verify.started import check_started
from generator.verify.subjects import check_unstarted

if TYPE_CHECKING:
    from generator.docker.process import Docker
    from generator.project import Project
    from generator.verify.origins import Origin


def hold(origin: Origin, project: Project, docker: Docker | None, quiet: bool, *, gate: bool = False) -> list[Result]:
    """Every result, image by image. Without ``docker`` nothing is started.

    ``gate``: what does not hold what it has to hold is not started, since it stops a release already.
    """
    from generator.verify.kept import Kept

    kept = Kept(project.make_state("verify"))
    with Bar("reading", quiet) as bar:
        results = check_unstarted(origin.subjects, origin.read(kept, bar), kept)
    kept.tidy()
    if gate and failures([result for one in results.values() for result in one]):
        say("nothing is started: what the images hold is to be mended first")
    elif docker is not None and origin.started is not None:
        with origin.started(docker) as names:
            if not quiet:
                _say_started(origin, [subject for subject in origin.subjects if subject in names])
            found = check_started(docker, list(names.values()))
            for subject, named in names.items():
                results[subject] += tuple(found.get(named, ()))
    return [result for one in results.values() for result in one]


def _say_started(origin: Origin, started: Sequence[object]) -> None:
    images = dict.fromkeys(subject.image for subject in origin.subjects if subject in started)
    others = dict.fromkeys(subject.platform for subject in origin.subjects if subject not in started)
    said = [f"starting {', '.join(images)}"] if images else []
    said += [f"not started: {' '.join(others)}"] if others else []
    say("; ".join(said))


def tell(results: Sequence[Result], form: str, *, passed: bool = True, consequence: str = "") -> None:
    """Prints them, ``passed``: also where all is well; BuildError, with its ``consequence``, where one failed."""
    bad = failures(results)
    if bad or passed:
        click.echo(REPORTS[form](results))
    if bad:
        images = ", ".join(dict.fromkeys(result.image for result in bad))
        raise BuildError(
            f"{len(bad)} of {len(results)} checks failed ({images})" + (f"; {consequence}" if consequence else ""),
            hint="each failure names the line of the catalogue that asks for it: mend the image, or that line",
        )
