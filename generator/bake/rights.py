"""What the registry says of a push: before the build whether it takes it, and after it what was replaced.

Imported only for a push.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from generator.bake.results import Built, index_platforms
from generator.config.reference import Reference, parse_reference
from generator.config.values import platforms
from generator.docker.credentials import HUB, certificates, trust_text
from generator.docker.engine import DAEMON_DRIVERS, Facts
from generator.docker.hints import get_authority
from generator.docker.process import Docker
from generator.errors import EngineError, Problem
from generator.plan.plan import Target
from generator.registry.client import Registry, access_to, refused_pushes
from generator.registry.explain import push_problems as explained
from generator.registry.http import Kind, Refusal
from generator.registry.session import Access

DEFINITE: frozenset[Kind] = frozenset(("no login", "refused", "denied", "missing"))
"""What a push is told in the same words, wherever it comes from: its login is this machine's."""

PATIENCE = 5.0
"""Seconds that a registry has after a push to say what it was that it replaced."""


@dataclass(frozen=True)
class Trouble:
    """What keeps images from being pushed, and the next step. ``certain``: a push must meet the same."""

    host: str
    what: str
    get: str
    certain: bool = False

    @property
    def problem(self) -> Problem:
        return Problem(self.host, f"{self.what}: {self.get}" if self.get else self.what)


def push_problems(
    docker: Docker,
    targets: Sequence[Target],
    facts: Facts,
    environment: Mapping[str, str],
    bundle: Path | None,
    say: Callable[[str], None],
) -> list[Problem]:
    """What keeps these targets from being pushed. What is not certain is said and is no problem: a push may work."""
    problems = []
    for trouble in push_troubles(docker, targets, facts, environment, bundle):
        if trouble.certain:
            problems.append(trouble.problem)
        else:
            say(f"note: {trouble.problem}; the push is tried all the same, from builder {facts.builder.name}")
    return problems


def push_troubles(
    docker: Docker, targets: Sequence[Target], facts: Facts, environment: Mapping[str, str], bundle: Path | None
) -> list[Trouble]:
    """Asks the registry for leave to push these targets, and says what stands in the way.

    Every repository is asked for, all at the same time: rights may differ from one to the next (Docker Hub, Quay), and
    at some registries each must exist (ECR). ``environment`` is bake's; ``bundle`` is CA_BUNDLE's file.
    """
    references = list(_pushed(targets).values())
    if not references:
        return []
    host = references[0].domain or HUB
    try:
        access = _access(host, facts, environment)
    except EngineError as error:
        return [Trouble(host, f"not known whether it takes a push: {error.message}", error.hint)]
    if access.login:
        docker = docker.with_secrets(access.login.password, access.login.basic)
    paths = list(dict.fromkeys(reference.path for reference in references))
    found = refused_pushes(access, paths)
    troubles = []
    if bundle is not None and [refusal.kind for refusal in found.values()] == ["authority"]:
        known = refused_pushes(replace(access, trusted=(*access.trusted, bundle)), paths)
        if [refusal.kind for refusal in known.values()] != ["authority"]:
            what = "only CA_BUNDLE knows its certificate, and no builder reads that"
            troubles.append(Trouble(host, what, get_authority(host)))
            found = known
    for one in explained(access, found):
        troubles.append(Trouble(host, docker.redact(one.what), one.get, certain(one.kind, facts, environment)))
    return troubles


def standing(targets: Sequence[Target], facts: Facts, environment: Mapping[str, str]) -> dict[str, str]:
    """Reference -> digest of what the registry has under it before a push; without those that it does not tell."""
    references = _pushed(targets)
    found: dict[str, str] = {}
    if references:
        # whatever goes wrong here, the push says it better
        with contextlib.suppress(EngineError, Refusal), ThreadPoolExecutor(8) as pool:
            host = next(iter(references.values())).domain or HUB
            registry = Registry(_access(host, facts, environment))
            digests = pool.map(lambda one: registry.digest(one.path, one.tag), references.values())
            found.update(zip(references, digests, strict=True))
    return {reference: digest for reference, digest in found.items() if digest}


def with_lost(built: Sequence[Built], facts: Facts, environment: Mapping[str, str]) -> tuple[Built, ...]:
    """The same, with the platforms that are lost with what a push replaced.

    The push has succeeded: what the registry does not tell within ``PATIENCE`` is left out, whatever the reason.
    """
    before = {one.references[0]: one.replaced for one in built if one.replaced}
    found: dict[str, list[str]] = {}
    if before:
        # no pool: the end of the program would wait for its threads
        asking = threading.Thread(target=_ask_platforms, args=(before, facts, environment, found), daemon=True)
        asking.start()
        asking.join(PATIENCE)
    return tuple(
        replace(one, lost=tuple(p for p in found.get(one.references[0], ()) if p not in one.platforms))
        if one.replaced
        else one
        for one in built
    )


def _ask_platforms(
    before: Mapping[str, str], facts: Facts, environment: Mapping[str, str], found: dict[str, list[str]]
) -> None:
    """Reference -> platforms of the index with this digest, into ``found`` as they come."""
    references = {reference: parse_reference(reference) for reference in before}

    def ask(reference: str) -> None:
        # a hostile index too must not look like a failure of the push
        with contextlib.suppress(Refusal, ValueError, TypeError, AttributeError, RecursionError):
            index = json.loads(registry.manifest(references[reference].path, before[reference]).data)
            found[reference] = list(dict.fromkeys(known for name in index_platforms(index) for known in _known(name)))

    with contextlib.suppress(EngineError, Refusal):
        registry = Registry(_access(next(iter(references.values())).domain or HUB, facts, environment))
        asking = [threading.Thread(target=ask, args=(reference,), daemon=True) for reference in before]
        for one in asking:
            one.start()
        for one in asking:
            one.join()


def _known(platform: str) -> tuple[str, ...]:
    """In the form that the settings have it; none where an image could not be built for it."""
    try:
        return platforms(platform)
    except ValueError:
        return ()


def _pushed(targets: Sequence[Target]) -> dict[str, Reference]:
    return {t.tags[0]: parse_reference(t.tags[0]) for t in targets if t.tags and t.kind != "third-party"}


def _access(host: str, facts: Facts, environment: Mapping[str, str]) -> Access:
    return access_to(host, environment, facts.engine.insecure if facts.builder.driver == "docker" else ())


def certain(kind: Kind, facts: Facts, environment: Mapping[str, str]) -> bool:
    """Whether a push must meet the same. What fails between here and the registry may not fail for a builder elsewhere,
    for an engine with a proxy of its own, or (certificates) for a BuildKit with a configuration of its own."""
    if kind in DEFINITE:
        return True
    host = environment.get("DOCKER_HOST", "")
    local = not host or host.startswith("unix://")
    ends = [node.endpoint for node in facts.builder.nodes]
    here = all(end.startswith("unix://") or (end in ("", "default") and local) for end in ends)
    if facts.builder.driver not in DAEMON_DRIVERS or not here:
        return False
    if kind == "unreachable":
        return not facts.engine.proxied
    return kind in ("authority", "certificate") and facts.builder.driver == "docker"


def client_trust(host: str, environment: Mapping[str, str], bundle: Path | None, state: Path) -> dict[str, str]:
    """What to add to bake's environment so that buildx, which fetches tokens itself, trusts what docker trusts.

    Writes a file with the system's authorities and the registry's into ``state`` where it has any of its own.
    """
    files = [*certificates(host, environment), *([bundle] if bundle else [])]
    if not files:
        return {}
    file = state / "registry-ca.pem"
    file.write_text(trust_text(files, environment), encoding="utf-8")
    return {"SSL_CERT_FILE": str(file)}
