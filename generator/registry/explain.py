"""What a registry's refusal means for who pulls or pushes, with the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator.docker.credentials import config_directory
from generator.docker.hints import get_authority, get_login, get_project, get_right
from generator.errors import Problem
from generator.registry.http import Kind, Refusal
from generator.registry.session import Access

_PULL: dict[Kind, tuple[str, str]] = {
    "no login": ("{host} requires a login to pull it", "docker login {host}"),
    "denied": ("{host} does not let this login pull it", "ask for permission to pull it"),
    "missing": ("{host} does not have it", "push it first, or correct its name"),
}


def pull_problem(host: str, what: str, refusal: Refusal) -> Problem:
    """The problem with ``what`` (an image, a layer), or with the whole registry where that is what is wrong."""
    if whole := _whole_registry(host, refusal, "docker's login", "its name"):
        return Problem(host, ": ".join(whole))
    if refusal.kind not in _PULL:
        return Problem(what, f"{host} sent invalid data: {refusal.words}")
    reason, step = _PULL[refusal.kind]
    return Problem(what, f"{reason.format(host=host)}{_saying(refusal)}: {step.format(host=host)}")


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
        PushProblem(access.host, kind, *_explain(access, project, group)) for (kind, project), group in groups.items()
    ]


def _explain(access: Access, project: str, group: Mapping[str, Refusal]) -> tuple[str, str]:
    login, refusal = access.login, next(iter(group.values()))
    who = login.user if login and not login.identity else ""
    name = "its name in PREFIX; one without TLS must be among the engine's insecure-registries"
    if whole := _whole_registry(access.host, refusal, f"the login of {who}" if who else "docker's login", name):
        return whole
    saying = _saying(refusal)
    if refusal.kind == "no login":
        place = config_directory(access.environment) / "config.json"
        return f"a push needs a login, and docker has none for it in {place}{saying}", get_login(access.host)
    if refusal.kind == "missing":
        return f"it has no project {project}{saying}", get_project(project)
    if refusal.kind == "denied":
        who = who or ("docker's login" if login else "who is not logged in")
        return f"{who} may not push {', '.join(group)}{saying}", get_right(project)
    return f"cannot tell whether it accepts a push: {refusal.words}", ""


def _whole_registry(host: str, refusal: Refusal, login: str, name: str) -> tuple[str, str] | None:
    """What is wrong with the registry or the way to it, and the next step; None for what is about one repository."""
    if refusal.kind == "unreachable":
        return f"it cannot be reached: {refusal.words}", "check its name, the network, HTTPS_PROXY and NO_PROXY"
    if refusal.kind == "authority":
        return f"its certificate is signed by an unknown authority{_saying(refusal)}", get_authority(host)
    if refusal.kind == "certificate":
        return f"no secure connection: {refusal.words}", f"correct its certificate, or {name}"
    if refusal.kind == "refused":
        reason = "the password is wrong, or the account is expired or disabled"
        return f"it refuses {login}{_saying(refusal)}: {reason}", get_login(host)
    return None


def _saying(refusal: Refusal) -> str:
    return f" ({refusal.words})" if refusal.words else ""
