"""Whether the registry takes what is to be pushed, asked before anything is built. Imported only for a push."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.builder import DAEMON_DRIVERS, Facts
from generator.credentials import HUB, certificates, config_directory, docker_config, find_login, trust_text
from generator.engine import Docker
from generator.errors import EngineError, Problem
from generator.plan import Target
from generator.reference import parse_reference
from generator.registry import Access, check_push
from generator.remedies import get_authority, get_login, get_project, get_right
from generator.transport import Finding, Kind, is_insecure

DEFINITE: frozenset[Kind] = frozenset(("no login", "refused", "denied", "missing"))
"""What a push is told in the same words, wherever it comes from: its login is this machine's."""


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
    references = [parse_reference(target.tags[0]) for target in targets if target.tags and target.kind != "third-party"]
    if not references:
        return []
    host = references[0].domain or HUB
    try:
        login = find_login(docker_config(environment), host, environment)
    except EngineError as error:
        return [Trouble(host, f"not known whether it takes a push: {error.message}", error.hint)]
    docker = docker.with_secrets(login.password, login.basic) if login else docker
    access = Access(
        host,
        login,
        environment,
        tuple(certificates(host, environment)),
        is_insecure(host, facts.engine.insecure if facts.builder.driver == "docker" else ()),
    )
    paths = list(dict.fromkeys(reference.path for reference in references))
    found = check_push(access, paths)
    troubles = []
    if bundle is not None and [finding.kind for finding in found.values()] == ["authority"]:
        known = check_push(replace(access, trusted=(*access.trusted, bundle)), paths)
        if known.keys() != found.keys():
            what = "only CA_BUNDLE knows its certificate, and no builder reads that"
            troubles.append(Trouble(host, what, get_authority(host)))
            found = known
    groups: dict[tuple[Kind, str], dict[str, Finding]] = {}
    for path, finding in found.items():
        if finding.kind != "ok":
            groups.setdefault((finding.kind, path.partition("/")[0]), {})[path] = finding
    for (kind, project), group in groups.items():
        what, get = _explained(access, kind, project, group)
        troubles.append(Trouble(host, docker.redact(what), get, certain(kind, facts, environment)))
    return troubles


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


def _explained(access: Access, kind: Kind, project: str, group: Mapping[str, Finding]) -> tuple[str, str]:
    """What is wrong with these repositories of a project, in words, and the next step."""
    host, login = access.host, access.login
    said = next(iter(group.values())).said
    saying = f" ({said})" if said else ""
    who = login.user if login and not login.identity else "docker's login"
    if kind == "no login":
        place = config_directory(access.environment) / "config.json"
        return f"it wants a login for a push, and docker has none for it in {place}{saying}", get_login(host)
    if kind == "refused":
        what = (
            f"it refuses the login of {who}{saying}: the password is wrong, or the account has expired or is disabled"
        )
        return what, get_login(host)
    if kind == "missing":
        return f"it has no project {project}{saying}", get_project(project)
    if kind == "denied":
        names = ", ".join(group)
        return f"{who if login else 'who is not logged in'} may not push {names}{saying}", get_right(project)
    if kind == "authority":
        return f"its certificate is of an authority that is not known here{saying}", get_authority(host)
    if kind == "certificate":
        return (
            f"no safe connection: {said}",
            "correct its certificate, or its name in PREFIX; one without TLS must be among the engine's "
            "insecure-registries",
        )
    if kind == "unreachable":
        return f"it cannot be reached: {said}", "see PREFIX, the network, and HTTPS_PROXY and NO_PROXY"
    return f"not known whether it takes a push: {said}", ""


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
