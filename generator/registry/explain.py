"""What a registry's refusal means for who pulls or pushes, with the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator.docker.config import config_directory
from generator.docker.hints import get_authority, get_login, get_project, get_right
from generator.errors import Problem
from generator.registry.session import Access
from generator.registry.transport import Finding, Kind


def pull_problem(host: str, what: str, finding: Finding) -> Problem:
    """The problem with ``what`` (an image, a layer), or with the whole registry where that is what is wrong."""
    said = f" ({finding.said})" if finding.said else ""
    if finding.kind == "unreachable":
        return Problem(
            host, f"it cannot be reached: {finding.said}: see its name, the network, HTTPS_PROXY and NO_PROXY"
        )
    if finding.kind == "authority":
        return Problem(host, f"its certificate is of an authority that is not known here{said}: {get_authority(host)}")
    if finding.kind == "certificate":
        return Problem(host, f"no safe connection: {finding.said}: correct its certificate, or its name")
    if finding.kind == "refused":
        return Problem(host, f"it refuses docker's login for it{said}: {get_login(host)}")
    if finding.kind == "no login":
        return Problem(what, f"{host} gives it to nobody without a login{said}: {get_login(host)}")
    if finding.kind == "denied":
        return Problem(what, f"{host} does not give it to this login{said}: ask for the right to pull it")
    if finding.kind == "missing":
        return Problem(what, f"{host} does not have it{said}: push it first, or correct its name")
    return Problem(what, f"{host} does not give it as it must be: {finding.said}")


@dataclass(frozen=True)
class Refusal:
    """What is wrong with some repositories of a registry, in words, and the next step ("" where there is none)."""

    kind: Kind
    what: str
    get: str

    def problem(self, host: str) -> Problem:
        return Problem(host, f"{self.what}: {self.get}" if self.get else self.what)


def push_refusals(access: Access, found: Mapping[str, Finding]) -> list[Refusal]:
    """What ``check_push`` found: one for all repositories of a project that have the same."""
    groups: dict[tuple[Kind, str], dict[str, Finding]] = {}
    for path, finding in found.items():
        if finding.kind != "ok":
            groups.setdefault((finding.kind, path.partition("/")[0]), {})[path] = finding
    return [Refusal(kind, *_words(access, kind, project, group)) for (kind, project), group in groups.items()]


def _words(access: Access, kind: Kind, project: str, group: Mapping[str, Finding]) -> tuple[str, str]:
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
        return f"it cannot be reached: {said}", "see its name, the network, and HTTPS_PROXY and NO_PROXY"
    return f"not known whether it takes a push: {said}", ""
