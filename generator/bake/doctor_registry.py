"""The doctor's rows of PREFIX's registry: the login that docker has for it, and whether it takes a push."""

from __future__ import annotations

from collections.abc import Mapping

from generator.bake.job import Options
from generator.bake.preflight import ca_file
from generator.bake.prepare import make_environment, passwords
from generator.bake.requirement import Row
from generator.bake.rights import push_troubles
from generator.config.reference import parse_reference
from generator.docker.config import docker_config
from generator.docker.credentials import HUB, find_login
from generator.docker.engine import Facts
from generator.docker.hints import get_login
from generator.docker.process import Docker
from generator.errors import EngineError
from generator.workspace import Workspace

WITHOUT = "everything but bake --push"


def registry_rows(facts: Facts | None, workspace: Workspace, environment: Mapping[str, str]) -> list[Row]:
    """The login; and, with something to build and push with, what the registry says, which makes a login needless."""
    login = login_row(workspace.plan.settings.prefix, environment)
    if facts is None:
        return [login]
    registry = registry_row(facts, workspace, environment)
    if login.state == "note" and registry.state == "ok":
        login = Row("login", "ok", f"{login.found}; it takes pushes from all", login.needed)
    return [login, registry]


def login_row(prefix: str, environment: Mapping[str, str]) -> Row:
    """Whether docker has a login for PREFIX's registry; whether it is right, the registry says."""
    host = parse_reference(f"{prefix}/image").domain or HUB
    needed = f"bake --push to {host}, unless it takes pushes from all"
    try:
        login = find_login(docker_config(environment), host, environment)
    except EngineError as error:
        return Row("login", "note", error.message, needed, error.hint, WITHOUT)
    if login is None:
        return Row("login", "note", "none", needed, get_login(host), WITHOUT)
    return Row("login", "ok", "a token" if login.identity else login.user, needed)


def registry_row(facts: Facts, workspace: Workspace, environment: Mapping[str, str]) -> Row:
    """Whether the registry takes a push of every image, asked as ``bake --push`` asks before it builds."""
    plan = workspace.plan
    host = parse_reference(f"{plan.settings.prefix}/image").domain or HUB
    docker = Docker("docker").with_secrets(*passwords(plan))
    values = make_environment(plan, Options(), environment).values
    troubles = push_troubles(docker, plan.targets, facts, values, ca_file(plan, workspace.project.root))
    needed = f"{host} takes a push (bake --push)"
    if not troubles:
        return Row("registry", "ok", "takes a push of every image", needed)
    found = "; ".join(trouble.what for trouble in troubles)
    steps = dict.fromkeys(trouble.get or "try it: bake --push goes on where it is not certain" for trouble in troubles)
    return Row("registry", "note", found, needed, "; ".join(steps), WITHOUT)
