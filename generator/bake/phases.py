"""Build everything; only then push or load. After a failed build nothing of the release is in the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from generator.bake.logs import clear_logs
from generator.bake.results import Built, loaded_sizes, pushed_sizes
from generator.bake.run import Phase, PhaseError, Session, run_bake
from generator.errors import BuildError, EngineError
from generator.plan import Target
from generator.reference import parse_reference

AGAIN = ("*.cache-to=",)
"""Overrides for a second run of what has just been built: the first wrote the build caches, and nothing is new."""

RACE = re.compile(r"failed to prepare extraction snapshot .* does not exist: not found", re.DOTALL)
"""Docker 26 with the containerd store unpacks every image that it exports; two that share a layer can meet in this."""
TRIES = 3


def bake(session: Session) -> tuple[Built, ...]:
    """Builds, then pushes or loads as the options say. Raises BuildError, or EngineError once everything is built."""
    (session.state / "logs").mkdir(parents=True, exist_ok=True)
    clear_logs(session.state / "logs", session.job)
    phase = build(session)
    targets = session.job.targets
    sizes: Mapping[str, Mapping[str, int]] = {}
    if session.options.output == "push":
        pushed = push(session)
        sizes = pushed_sizes(
            session.docker, {target.tags[0]: pushed.digests.get(target.name, "") for target in targets}
        )
        phase = replace(phase, digests=pushed.digests)
    elif session.options.output == "load":
        phase = replace(phase, digests=load(session).digests)
        sizes = loaded_sizes(session.docker, [target.tags[0] for target in targets])
    return tuple(
        Built(
            image=target.name,
            references=target.tags,
            digest=phase.digests.get(target.name, ""),
            platforms=target.platforms,
            sizes=tuple(sizes.get(target.tags[0], {}).items()) if target.tags else (),
            seconds=phase.seconds.get(target.name, 0.0),
            state={"none": "built", "push": "pushed", "load": "loaded"}[session.options.output],
        )
        for target in targets
    )


def build(session: Session) -> Phase:
    """Builds everything that is involved into the builder's cache and nowhere else. Raises BuildError."""
    flags = ["--no-cache"] if session.options.no_cache else []
    try:
        return run_bake(session, "building", {}, flags=flags)
    except PhaseError as error:
        nothing = {"none": "", "push": "      nothing was published", "load": "      nothing was loaded"}
        raise BuildError(
            f"{error.message}\n  whole log: {error.log}{nothing[session.options.output]}",
            hint="fix it, then run the same command: what is built stays built",
        ) from error


def export(session: Session, title: str, outputs: Mapping[str, str], overrides: Sequence[str] = AGAIN) -> Phase:
    """Sends out what is built, again where the engine tripped over itself. Raises PhaseError."""
    for _ in range(TRIES - 1):
        try:
            return run_bake(session, title, outputs, overrides=overrides)
        except PhaseError as error:
            if not RACE.search(error.message):
                raise
            session.view.note("the engine met itself while unpacking a layer that images share: once more")
    return run_bake(session, title, outputs, overrides=overrides)


def load(session: Session) -> Phase:
    """Puts what is built into the local engine. Raises EngineError."""
    try:
        return export(session, "loading", _outputs(session.job.targets, "type=docker"))
    except PhaseError as error:
        raise EngineError(
            f"{error.message}\n  whole log: {error.log}",
            hint="everything is built; run the same command again to load it (docker image ls shows what is loaded)",
        ) from error


def push(session: Session) -> Phase:
    """Publishes what is built. Raises EngineError that says what of it is in the registry now.

    Where the builder can, every layer and manifest is sent without a tag first, so that the tags, which make a release
    visible, follow in a second, when nothing big is left that could fail. The engine's own builder refuses this
    ("push-by-digest is currently not implemented for docker driver"): it sends images and tags at once.
    """
    targets = session.job.targets
    try:
        if session.facts.builder.driver != "docker":
            by_digest = {
                target.name: "type=image,push=true,push-by-digest=true,name-canonical=true,"
                f"name={parse_reference(target.tags[0]).name}"
                for target in targets
            }
            untagged = [f"{target.name}.tags=" for target in targets]
            export(session, "uploading", by_digest, [*AGAIN, *untagged])
        return export(session, "publishing", _outputs(targets, "type=registry"))
    except PhaseError as error:
        raise EngineError(
            f"{error.message}\n  whole log: {error.log}\n{published(targets, error.pushed)}",
            hint="everything is built; run the same command again to publish the rest",
        ) from error


def published(targets: Sequence[Target], pushed: Mapping[str, bool]) -> str:
    """What a push that failed has left in the registry, in words.

    ``pushed`` has every tag whose manifest was being pushed, and whether the registry acknowledged it.
    """
    tags = {tag for target in targets for tag in target.tags}
    done = sorted(tag for tag in tags if pushed.get(tag))
    unsure = sorted(tag for tag in tags if pushed.get(tag) is False)
    lines = [f"  published: {tag}" for tag in done] + [f"  perhaps published: {tag}" for tag in unsure]
    missing = len(tags) - len(done) - len(unsure)
    if not lines:
        return "  nothing was published"
    return "\n".join([*lines, f"  not published: the other {missing}"] if missing else lines)


def _outputs(targets: Sequence[Target], output: str) -> dict[str, str]:
    return {target.name: output for target in targets if target.tags}
