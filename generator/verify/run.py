"""Checks the images of an origin against their contracts; remembers the results if nothing has changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from generator.docker.process import Docker
from generator.errors import InputError, Problem
from generator.files import lock, write_atomically
from generator.plan.plan import Plan
from generator.progress import Bar, Progress, say
from generator.project import Project
from generator.verify.checks import check
from generator.verify.origins import Origin, Subject
from generator.verify.results import Result, failures
from generator.verify.started import check_started

REMEMBERED = 100
"""Images of which the results are remembered, the last ones."""


def check_images(
    origin: Origin,
    project: Project,
    docker: Docker | None,
    quiet: bool,
    *,
    start_failed: bool = True,
    within: float = 0.0,
) -> list[Result]:
    """Every result, image by image. Nothing is started without ``docker``, or if the origin's images cannot be.

    ``start_failed`` False: nor if a check without a start has failed. Raises EngineError and BundleError.
    """
    if without := dict.fromkeys(subject.image for subject in origin.subjects if not subject.contract.where):
        say(f"{', '.join(without)}: no contract in the catalogue, so at most port and command are checked")
    state = project.make_state("verify")
    cache = state / "results.json"
    with Bar("reading", quiet) as bar:
        results = check_unstarted(origin, cache, bar)
    if not start_failed and failures([result for each in results.values() for result in each]):
        say("nothing is started: a check of the images' content failed")
    elif docker is not None and origin.started is not None:
        for image, alone in {subject.image: subject.contract.started for subject in origin.subjects}.items():
            if alone and alone.needs:
                say(f"{image} is not started on its own: it needs {alone.needs} ({alone.where})")
        waiting = "waiting for another fategen verify in this project"
        with lock(state / ".lock", lambda: say(waiting)), origin.started(docker) as names:
            if not quiet:
                images = dict.fromkeys(subject.image for subject in origin.subjects if subject in names)
                others = dict.fromkeys(subject.platform for subject in origin.subjects if subject not in names)
                parts = [f"starting {', '.join(images)}"] if images else []
                say("; ".join([*parts, f"not started: {' '.join(others)}"] if others else parts))
            started = check_started(docker, list(names.values()), state, within)
            for subject, renamed in names.items():
                results[subject] += tuple(started.get(renamed, ()))
    return [result for each in results.values() for result in each]


def check_unstarted(origin: Origin, cache: Path, progress: Progress) -> dict[Subject, tuple[Result, ...]]:
    """The results of each subject; ``cache`` has those of the last runs.

    Their key is made of the image's digest, the contract and the checks themselves, so they are never out of date.
    """
    remembered = _read_cache(cache)
    keys = {subject: _key(subject) for subject in origin.subjects}
    contents = origin.read([subject for subject, key in keys.items() if key not in remembered], progress)
    results: dict[Subject, tuple[Result, ...]] = {}
    for subject, key in keys.items():
        if key in remembered:
            known = remembered.pop(key)
        elif subject in contents:
            known = check(subject.image, subject.platform, subject.contract, contents[subject])
        else:
            missing = Result("platform", "", subject.platform, "the image does not have it", False)
            results[subject] = (replace(missing, image=subject.image, platform=subject.platform),)
            continue
        remembered[key] = known  # as the last one
        results[subject] = known
    last = list(remembered.items())[-REMEMBERED:]
    data = json.dumps({key: [asdict(result) for result in known] for key, known in last})
    # on a full disk the next run reads the images again
    with contextlib.suppress(OSError):
        write_atomically(cache, data.encode(), sync=False)
    return results


def _read_cache(cache: Path) -> dict[str, tuple[Result, ...]]:
    try:
        stored = json.loads(cache.read_bytes())
        return {
            key: tuple(Result(**{**fields, "log": tuple(fields["log"])}) for fields in results)
            for key, results in stored.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _key(subject: Subject) -> str:
    sha = hashlib.sha256(repr(subject).encode())
    # results of another version of the checks say nothing of this one
    for module in ("checks.py", "layers.py", "results.py"):
        sha.update((Path(__file__).parent / module).read_bytes())
    return sha.hexdigest()


def require_contracts(plan: Plan, names: Sequence[str]) -> None:
    """Raises InputError for an image or group without a contract: no check would look like success."""
    problems = []
    for name in names:
        targets = plan.select([name])
        if not any(target.tags for target in targets):
            problems.append(Problem(name, "is used only during the build: there is no image to verify"))
        elif not any(target.contract.where for target in targets):
            problems.append(Problem(name, "has no contract in the catalogue: there is nothing to check"))
    if not problems:
        return
    hint = "fategen verify without names checks every image that has one; contract: in the catalogue adds one"
    if not any(target.contract.where for target in plan.targets):
        problems = [Problem("", f"no image of {plan.title} has a contract: there is nothing to check")]
        hint = "add contract: to an image in the catalogue (docs/verify.md)"
    raise InputError(problems, hint=hint)
