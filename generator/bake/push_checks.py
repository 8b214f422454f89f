"""What bake asks the registry in PREFIX: whether it accepts a push and, afterwards, what was pushed and replaced.

Imported only for a push and by the doctor: the registry's client is slow to import.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from generator.bake.checks import Check, ca_bundle
from generator.bake.job import Options
from generator.bake.prepare import make_environment, passwords
from generator.config.reference import parse_reference
from generator.config.values import platforms
from generator.docker.credentials import HUB, certificates, docker_config, find_login, trust_text
from generator.docker.engine import DAEMON_DRIVERS, Facts
from generator.docker.hints import get_authority, get_login
from generator.docker.process import Docker
from generator.errors import EngineError, Problem
from generator.images.oci import INDEX_TYPES, Manifest, parse_index, parse_manifest
from generator.plan.plan import Target
from generator.registry.client import Registries, Registry, access_to, host_of
from generator.registry.explain import PushProblem, find_push_problems
from generator.registry.http import ErrorKind, RegistryError
from generator.workspace import Workspace

WITHOUT = "everything except bake --push"
_T = TypeVar("_T")


def push_problems(
    docker: Docker,
    targets: Sequence[Target],
    facts: Facts,
    environment: Mapping[str, str],
    bundle: Path | None,
    say: Callable[[str], None],
) -> list[Problem]:
    """Why these targets cannot be pushed. Uncertain problems are only printed as notes: the push may still work.

    ``environment`` is bake's; ``bundle`` is CA_BUNDLE's file.
    """
    problems = []
    for problem in _ask_push(docker, targets, facts, environment, bundle):
        if certain(problem.kind, facts, environment):
            problems.append(problem.problem)
        else:
            say(f"note: {problem.problem}; trying the push anyway, from builder {facts.builder.name}")
    return problems


def _ask_push(
    docker: Docker, targets: Sequence[Target], facts: Facts, environment: Mapping[str, str], bundle: Path | None
) -> list[PushProblem]:
    """Asks about every repository: rights may differ (Docker Hub, Quay), and at some each must exist (ECR)."""
    references = [parse_reference(name) for name in _pushed(targets)]
    if not references:
        return []
    host = host_of(references[0])
    try:
        access = access_to(host, environment, _insecure(facts))
    except EngineError as error:
        return [PushProblem(host, "unknown", f"cannot tell whether it accepts a push: {error.message}", error.hint)]
    paths = list(dict.fromkeys(reference.path for reference in references))
    problems = find_push_problems(access, paths)
    if bundle is not None and [problem.kind for problem in problems] == ["authority"]:
        trusting = find_push_problems(replace(access, trusted=(*access.trusted, bundle)), paths)
        if [problem.kind for problem in trusting] != ["authority"]:
            what = "its CA is only in CA_BUNDLE, which no builder reads"
            problems = [PushProblem(host, "unknown", what, get_authority(host)), *trusting]
    if access.login:
        docker = docker.with_secrets(access.login.password, access.login.basic)
    return [replace(problem, what=docker.redact(problem.what)) for problem in problems]


def certain(kind: ErrorKind, facts: Facts, environment: Mapping[str, str]) -> bool:
    """Whether a push is sure to fail too.

    A problem with the connection from here need not exist for a builder elsewhere, for an engine with a proxy of its
    own, or (certificates) for a BuildKit with a configuration of its own.
    """
    if kind in ("no login", "refused", "denied", "missing"):
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


def registry_checks(facts: Facts | None, workspace: Workspace, environment: Mapping[str, str]) -> list[Check]:
    """Docker's login for the registry; and, with a builder to push with, whether it accepts a push of every image."""
    plan = workspace.plan
    host = parse_reference(f"{plan.settings.prefix}/image").domain or HUB
    login = _login_check(host, environment)
    if facts is None:
        return [login]
    docker = Docker("docker").with_secrets(*passwords(plan))
    values = make_environment(plan, Options(), environment)[0]
    problems = _ask_push(docker, plan.targets, facts, values, ca_bundle(plan, workspace.project.root))
    needed = f"{host} accepts a push (bake --push)"
    if problems:
        unsure = "try it: bake --push goes on if this is uncertain"
        steps = dict.fromkeys(problem.get or unsure for problem in problems)
        what = "; ".join(problem.what for problem in problems)
        return [login, Check("registry", "note", what, needed, "; ".join(steps), WITHOUT)]
    if login.state == "note":
        login = Check("login", "ok", f"{login.found}; it accepts pushes from everybody", login.needed)
    return [login, Check("registry", "ok", "accepts a push of every image", needed)]


def _login_check(host: str, environment: Mapping[str, str]) -> Check:
    needed = f"bake --push to {host}, unless it accepts pushes from everybody"
    try:
        login = find_login(docker_config(environment), host, environment)
    except EngineError as error:
        return Check("login", "note", error.message, needed, error.hint, WITHOUT)
    if login is None:
        return Check("login", "note", "none", needed, get_login(host), WITHOUT)
    return Check("login", "ok", "a token" if login.identity else login.user, needed)


def tagged_digests(targets: Sequence[Target], facts: Facts, environment: Mapping[str, str]) -> dict[str, str]:
    """Reference -> digest of what the registry has under it before a push; without those that it does not tell."""
    tags = {name: name.rpartition(":")[2] for name in _pushed(targets)}
    digests = _ask_all(tags, Registry.digest, facts, environment)
    return {reference: digest for reference, digest in digests.items() if digest}


def _pushed(targets: Sequence[Target]) -> list[str]:
    return [target.tags[0] for target in targets if target.tags and target.kind != "third-party"]


def pushed_manifests(
    digests: Mapping[str, str], facts: Facts, environment: Mapping[str, str]
) -> dict[str, dict[str, Manifest]]:
    """Reference -> platform -> manifest of what was pushed; the platform is "" if there is no index.

    Images that cannot be queried (a registry that only the builder reaches) are left out: the push has succeeded.
    """

    def ask(registry: Registry, path: str, digest: str) -> dict[str, Manifest]:
        top = registry.manifest(path, digest)
        if top.media_type not in INDEX_TYPES:
            return {"": parse_manifest(top.data, top.media_type)}
        children = [child for child in parse_index(top.data, top.media_type) if not child.attestation]
        manifests = {child.platform: registry.manifest(path, child.descriptor.digest) for child in children}
        return {platform: parse_manifest(raw.data, raw.media_type) for platform, raw in manifests.items()}

    return _ask_all({name: digest for name, digest in digests.items() if digest}, ask, facts, environment)


def platforms_of(
    digests: Mapping[str, str], facts: Facts, environment: Mapping[str, str], patience: float = 5.0
) -> dict[str, list[str]]:
    """Reference -> platforms of the image that has this digest, if the registry tells them in so many seconds."""
    images = _ask_all(digests, Registry.platforms, facts, environment, patience)
    return {
        reference: list(dict.fromkeys(known for name in names for known in _buildable(name)))
        for reference, names in images.items()
    }


def _buildable(platform: str) -> tuple[str, ...]:
    """In the form that the settings have it; none if an image could not be built for it."""
    try:
        return platforms(platform)
    except ValueError:
        return ()


def _ask_all(
    questions: Mapping[str, str],
    ask: Callable[[Registry, str, str], _T],
    facts: Facts,
    environment: Mapping[str, str],
    patience: float = 30.0,
) -> dict[str, _T]:
    """Reference -> answer about its tag or digest, of those that come in so many seconds; what fails is left out.

    Asked side by side, on threads that the end of the program does not wait for.
    """
    registries = Registries(environment, insecure=facts.engine.insecure)
    answers: dict[str, _T] = {}

    def run(name: str) -> None:
        reference = parse_reference(name)
        # a hostile answer (ValueError) must not look like a failure of the push either
        with contextlib.suppress(RegistryError, EngineError, ValueError):
            answers[name] = ask(registries.of(reference), reference.path, questions[name])

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    end = time.monotonic() + patience
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    return dict(answers)


def _insecure(facts: Facts) -> tuple[str, ...]:
    return facts.engine.insecure if facts.builder.driver == "docker" else ()


def client_trust(host: str, environment: Mapping[str, str], bundle: Path | None, state: Path) -> dict[str, str]:
    """What to add to bake's environment so that buildx, which fetches tokens itself, trusts what docker trusts.

    Writes a file with the system's authorities and the registry's into ``state`` if it has any of its own.
    """
    files = [*certificates(host, environment), *([bundle] if bundle else [])]
    if not files:
        return {}
    file = state / "registry-ca.pem"
    file.write_text(trust_text(files, environment), encoding="utf-8")
    return {"SSL_CERT_FILE": str(file)}
