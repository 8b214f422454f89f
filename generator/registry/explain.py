"""What a registry's error means for a pull or a push, and the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from generator.config.reference import parse_reference
from generator.docker.credentials import HUB, config_directory, read_config
from generator.docker.hints import GET_AUTHORITY, GET_LOGIN, GET_QUOTA, GET_RIGHT, QUOTA, READ_ONLY
from generator.errors import EngineError, Problem
from generator.registry.client import Registry
from generator.registry.http import ErrorKind, RegistryError
from generator.registry.publish import not_written
from generator.registry.session import Access, workers

Texts = Mapping[ErrorKind, tuple[str, str]]
"""Kind of an error -> what is wrong, and the next step."""
_REGISTRY: Texts = {
    "unreachable": ("it cannot be reached: {detail}", "check its name, the network, HTTPS_PROXY and NO_PROXY"),
    "authority": ("its certificate is signed by an unknown authority{quoted}", GET_AUTHORITY),
    "certificate": ("no secure connection: {detail}", "correct its certificate, or {name}"),
    "refused": ("it refuses {login}{quoted}: the password is wrong, or the account is expired or disabled", GET_LOGIN),
}
"""What is about the whole registry, or the way to it."""
_PULL: Texts = {
    "no login": ("{host} requires a login to pull it{quoted}", GET_LOGIN),
    "denied": ("{host} does not let this login pull it{quoted}", "ask for permission to pull it"),
    "missing": ("{host} does not have it{quoted}", "push it first, or correct its name"),
    "unknown": ("{host} sent invalid data: {detail}", ""),
}
_PUSH: Texts = {
    "no login": ("a push needs a login, and docker has none for it in {config}{quoted}", GET_LOGIN),
    "denied": ("{user} may not push {paths}{quoted}", GET_RIGHT),
    "missing": ("it has no project {project}{quoted}", "create project {project} in Harbor, or correct PREFIX"),
    "unknown": ("cannot tell whether it accepts a push: {detail}", ""),
}


class Refusal(NamedTuple):
    """What is wrong with a registry or something in it, in words, and the next step ("" if there is none)."""

    where: str
    what: str
    step: str

    @property
    def problem(self) -> Problem:
        return Problem(self.where, f"{self.what}: {self.step}" if self.step else self.what)


def _explain(where: str, texts: Texts, error: RegistryError, **names: str) -> Refusal:
    names.update(detail=error.detail, quoted=f" ({error.detail})" if error.detail else "")
    return Refusal(where, *(text.format(**names) for text in {**_REGISTRY, **texts}[error.kind]))


def pull_problem(host: str, what: str, error: RegistryError) -> Problem:
    """The problem with ``what`` (an image, a layer), or with the whole registry if that is what is wrong."""
    where = host if error.kind in _REGISTRY else what
    return _explain(where, _PULL, error, host=host, login="docker's login", name="its name").problem


def find_push_problems(access: Access, paths: Sequence[str]) -> list[Refusal]:
    """Why pushes would be refused: one for all repositories of a project that are refused for the same reason.

    Raises nothing that a registry can cause.
    """
    try:
        registry = Registry(access)
        registry.log_in()
    except RegistryError as error:
        # that of the whole registry
        refusals: dict[str, RegistryError | None] = {"": error}
    else:
        with workers(8) as pool:
            refusals = dict(zip(paths, pool.map(registry.refusal, paths), strict=True))
    groups: dict[tuple[ErrorKind, str], dict[str, RegistryError]] = {}
    for path, refusal in refusals.items():
        if refusal is not None:
            groups.setdefault((refusal.kind, path.partition("/")[0]), {})[path] = refusal
    return [_push_problem(access, list(group), next(iter(group.values())), _PUSH) for group in groups.values()]


def not_published(access: Access, prefix: str, error: RegistryError, state: Path, if_refused: str = "") -> EngineError:
    """Why a publication below ``prefix`` failed before its first tag, and the next step.

    ``if_refused``: what to do if the registry does not take a manifest as it is.
    """
    namespace = parse_reference(f"{prefix}/image").path.rpartition("/")[0]
    step = if_refused if error.code in ("MANIFEST_INVALID", "UNSUPPORTED") else ""
    texts: Texts = {**_PUSH, "missing": ("{detail}", ""), "unknown": ("{detail}", step)}
    if QUOTA.search(error.detail):
        full = ("project {project} is full{quoted}", GET_QUOTA)
        texts = {**texts, "denied": full, "no login": full}
    _, what, step = _push_problem(access, [namespace], error, texts)
    again = "run the same command again: uploaded blobs are not sent again"
    hint = f"{step}; then {again}" if step else again
    return EngineError(f"{access.host}: {what}\n  {not_written(state)}", hint=hint)


def _push_problem(access: Access, paths: Sequence[str], error: RegistryError, texts: Texts) -> Refusal:
    if READ_ONLY.search(error.detail):
        wait = "wait until it accepts pushes again, or ask its administrator"
        texts = {**texts, "denied": ("{host} accepts no pushes at the moment{quoted}", wait)}
    login = access.login
    user = login.user if login and not login.identity else ""
    if access.host == HUB and error.kind == "unreachable":
        without = "a PREFIX without a registry (a dot, a port or localhost in its first part) is on Docker Hub"
        what, step = _REGISTRY["unreachable"]
        texts = {**texts, "unreachable": (what, f"{step}; {without}")}
    names = {
        "host": access.host,
        "name": "its name in PREFIX; one without TLS must be among the engine's insecure-registries",
        "login": f"the login of {user}" if user else "docker's login",
        "user": user or ("docker's login" if login else "an anonymous user"),
        "config": f"{config_directory(access.environment) / 'config.json'}{read_config(access.environment)[1]}",
    }
    project = paths[0].partition("/")[0]
    return _explain(access.host, texts, error, **names, project=project, paths=", ".join(paths))
