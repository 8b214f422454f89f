"""Build everything; only then push or load. After a failed build nothing of the release is in the registry."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from generator.bake.cache import AGAIN
from generator.bake.logs import clear_logs
from generator.bake.results import Built, loaded_sizes
from generator.bake.run import Phase, PhaseError, Session, run_bake
from generator.config.reference import parse_reference
from generator.docker.git import uncommitted
from generator.docker.hints import explain_push, get_reachable
from generator.errors import BuildError, EngineError
from generator.plan.plan import Target

RACE = re.compile(r"failed to prepare extraction snapshot .* does not exist: not found", re.DOTALL)
"""Docker 26 with the containerd store unpacks every image that it exports; two that share a layer can meet in this."""

LOST = re.compile(r"code = Unavailable|error reading from server: EOF|no active sessions|transport is closing")
"""The engine ended under the build (BuildKit before 0.19 can: moby/buildkit#5606) or forgot it; it will be back."""

TRIES = 3
FIX = "fix it, then run the same command: what is built stays built"


Configs = Mapping[str, Mapping[str, str]]
"""Reference -> platform -> digest of the image's config, which is the same wherever the image is."""


def bake(session: Session, gate: Callable[[], Configs] | None = None) -> tuple[Built, ...]:
    """Builds, then pushes or loads as the options say. Raises BuildError, or EngineError once everything is built.

    ``gate`` is called when everything is built or loaded and before anything is pushed; it raises what it does not let
    through, and gives what it saw: what is pushed has to be that.
    """
    (session.state / "logs").mkdir(parents=True, exist_ok=True)
    clear_logs(session.state / "logs", session.job)
    targets = session.job.targets
    sizes: Mapping[str, Mapping[str, int]] = {}
    if session.options.output == "load":
        phase = load(session)
        sizes = loaded_sizes(session.docker, [target.tags[0] for target in targets])
    else:
        phase = build(session)
    seen = gate() if gate else {}
    if session.options.output == "push":
        from generator.bake.registry import pushed_manifests

        pushed = push(session)
        phase = replace(phase, digests=pushed.digests)
        digests = {target.tags[0]: pushed.digests.get(target.name, "") for target in targets}
        manifests = pushed_manifests(digests, session.facts, session.env)
        sizes = {
            reference: {platform: sum(layer.size for layer in manifest.layers) for platform, manifest in one.items()}
            for reference, one in manifests.items()
        }
        hold_against(
            seen,
            {
                reference: {platform: manifest.config.digest for platform, manifest in one.items()}
                for reference, one in manifests.items()
            },
        )
    built = tuple(
        Built(
            image=target.name,
            references=target.tags,
            digest=phase.digests.get(target.name, ""),
            platforms=target.platforms,
            sizes=tuple(sizes.get(target.tags[0], {}).items()) if target.tags else (),
            seconds=phase.seconds.get(target.name, 0.0),
            uncommitted=uncommitted(session.job.sources(target), session.states),
            cached=target.name in phase.cached,
            replaced=_replaced(session.tagged_before, target, phase.digests.get(target.name, "")),
            state={"none": "built", "push": "pushed", "load": "loaded"}[session.options.output],
        )
        for target in targets
    )
    if any(one.replaced for one in built):
        from generator.bake.registry import with_lost

        return with_lost(built, session.facts, session.env)
    return built


def _replaced(tagged_before: Mapping[str, str], target: Target, digest: str) -> str:
    """What the target's name stood for, where that was something else than ``digest``."""
    before = tagged_before.get(target.tags[0], "") if target.tags else ""
    return before if digest and before != digest else ""


def hold_against(seen: Configs, pushed: Configs) -> None:
    """BuildError where an image in the registry is not the one that the gate saw. (One that cannot be asked for: the
    registry is reached by the builder alone.)
    """
    other = [
        f"{reference}: config {digest}"
        for reference, platforms in pushed.items()
        for digest in platforms.values()
        if reference in seen and digest not in seen[reference].values()
    ]
    if other:
        listed = "\n  ".join(other)
        raise BuildError(
            f"what was published is not what was verified, and the tags name it:\n  {listed}",
            hint="a source changed, the builder's cache was pruned, or another build did the same beside this one: "
            "run the same command again",
        )


def build(session: Session) -> Phase:
    """Builds everything involved into the builder's cache and nowhere else. Raises BuildError or EngineError."""
    try:
        return attempt(session, "building", {}, flags=_flags(session))
    except PhaseError as error:
        raise failed(error, "      nothing was published" if session.options.output == "push" else "") from error


def load(session: Session) -> Phase:
    """Builds into the local engine, in one run: a developer waits for it, and no one else sees what is loaded.

    Raises BuildError, or EngineError where an image is built and the engine does not take it.
    """
    # the engine's own builder can keep the digest that a push or a bundle has; a tar for another's engine is Docker's
    oci = ",oci-mediatypes=true" if session.facts.builder.driver == "docker" else ""
    outputs = _outputs(session.job.targets, f"type=docker{oci}")
    try:
        return attempt(session, "building and loading", outputs, flags=_flags(session))
    except PhaseError as error:
        raise failed(error) from error


def attempt(
    session: Session,
    title: str,
    outputs: Mapping[str, str],
    *,
    overrides: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Phase:
    """One bake run, and another where the engine tripped over itself: what is built stays built. Raises PhaseError."""
    for left in reversed(range(TRIES)):
        try:
            return run_bake(session, title, outputs, overrides=overrides, flags=flags)
        except PhaseError as error:
            lost = error.kind == "engine" and LOST.search(error.message)
            if not left or not (lost or RACE.search(error.message)):
                raise
            if lost:
                session.view.note("the engine went away under the build: once more in a moment")
                time.sleep(3)
            else:
                session.view.note("the engine met itself while unpacking a layer that images share: once more")
    raise AssertionError("the last try returns or raises")


def failed(error: PhaseError, consequence: str = "") -> BuildError | EngineError:
    """A step of the user's own is a BuildError; what the engine could not do is an EngineError."""
    message = f"{error.message}\n  whole log: {error.log}{consequence}"
    hint = error.hint or (f"{reach}; {FIX}" if (reach := get_reachable(error.message)) else FIX)
    return BuildError(message, hint=hint) if error.kind == "step" else EngineError(message, hint=hint)


def _flags(session: Session) -> list[str]:
    return ["--no-cache"] if session.options.no_cache else []


def push(session: Session) -> Phase:
    """Publishes what is built. Raises EngineError that says what of it is in the registry now.

    Where the builder can, every layer and manifest is sent without a tag first, so that the tags, which make a release
    visible, follow in a second, when nothing big is left that could fail. The engine's own builder refuses this
    ("push-by-digest is currently not implemented for docker driver"): it sends images and tags at once.

    OCI media types, as in the layouts that bundles are made of: an image has one digest, whichever way it travels.
    """
    targets = session.job.targets
    try:
        if session.facts.builder.driver != "docker":
            by_digest = {
                target.name: "type=image,oci-mediatypes=true,push=true,push-by-digest=true,name-canonical=true,"
                f"name={parse_reference(target.tags[0]).name}"
                for target in targets
            }
            untagged = [f"{target.name}.tags=" for target in targets]
            attempt(session, "uploading", by_digest, overrides=[*AGAIN, *untagged])
        return attempt(session, "publishing", _outputs(targets, "type=registry,oci-mediatypes=true"), overrides=AGAIN)
    except PhaseError as error:
        advice = explain_push(error.message, parse_reference(targets[0].tags[0]).name)
        then = f"{advice}; then run" if advice else "run"
        raise EngineError(
            f"{error.message}\n  whole log: {error.log}\n{published(targets, error.pushed)}",
            hint=f"everything is built; {then} the same command again to publish the rest",
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
