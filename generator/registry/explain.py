"""What a registry's refusal means for who pulls or pushes, with the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator.docker.config import config_directory
from generator.docker.hints import get_authority, get_login, get_project, get_right
from generator.errors import Problem
from generator.registry.http import Kind, Refusal
from generator.registry.session import Access

_AUTHORITY = "its certificate is of an authority that is not known here"
_NETWORK = "see its name, the network, and HTTPS_PROXY and NO_PROXY"


def pull_problem(host: str, what: str, refusal: Refusal) -> Problem:
    """The problem with ``what`` (an image, a layer), or with the whole registry where that is what is wrong."""
    kind, words = refusal.kind, refusal.words
    saying = f" ({words})" if words else ""
    if kind == "unreachable":
        return Problem(host, f"it cannot be reached: {words}: {_NETWORK}")
    if kind == "authority":
        return Problem(
            host, f"its certificate is of an authority that is not known here{saying}: {get_authority(host)}"
        )
    if kind == "certificate":
        return Problem(host, f"no safe connection: {words}: correct its certificate, or its name")
    if kind == "refused":
        return Problem(host, f"it refuses docker's login for it{saying}: {get_login(host)}")
    if kind == "no login":
        return Problem(what, f"{host} gives it to nobody without a login{saying}: {get_login(host)}")
    if kind == "denied":
        return Problem(what, f"{host} does not give it to this login{saying}: ask for the right to pull it")
    if kind == "missing":
        return Problem(what, f"{host} does not have it{saying}: push it first, or correct its name")
    return Problem(what, f"{host} does not give it as it must be: {words}")


@dataclass(frozen=True)
class PushProblem:
    """What is wrong with some repositories of a registry, in words, and the next step ("" where there is none)."""

    host: str
    kind: Kind
    what: str
    get: str

    @property
    def problem(self) -> Problem:
        return Problem(self.host, f"{self.what}: {self.get}" if self.get else self.what)


def explain_refusals(access: Access, refusals: Mapping[str, Refusal]) -> list[PushProblem]:
    """What ``refused_pushes`` gave, one for all repositories of a project that are refused for the same reason."""
    groups: dict[tuple[Kind, str], dict[str, Refusal]] = {}
    for path, refusal in refusals.items():
        groups.setdefault((refusal.kind, path.partition("/")[0]), {})[path] = refusal
    return [
        PushProblem(access.host, kind, *_explain(access, kind, project, group))
        for (kind, project), group in groups.items()
    ]


def _explain(access: Access, kind: Kind, project: str, group: Mapping[str, Refusal]) -> tuple[str, str]:
    host, login = access.host, access.login
    words = next(iter(group.values())).words
    saying = f" ({words})" if words else ""
    who = login.user if login and not login.identity else "docker's login"
    if kind == "no login":
        place = config_directory(access.environment) / "config.json"
        return f"a push needs a login, and docker has none for it in {place}{saying}", get_login(host)
    if kind == "refused":
        what = f"it refuses the login of {who}{saying}: the password is wrong, or the account is expired or disabled"
        return what, get_login(host)
    if kind == "missing":
        return f"it has no project {project}{saying}", get_project(project)
    if kind == "denied":
        names = ", ".join(group)
        return f"{who if login else 'who is not logged in'} may not push {names}{saying}", get_right(project)
    if kind == "authority":
        return f"{_AUTHORITY}{saying}", get_authority(host)
    if kind == "certificate":
        return (
            f"no safe connection: {words}",
            "correct its certificate, or its name in PREFIX; one without TLS must be among the engine's "
            "insecure-registries",
        )
    if kind == "unreachable":
        return f"it cannot be reached: {words}", _NETWORK
    return f"not known whether it takes a push: {words}", ""
