"""How to get what a machine lacks: next steps, shared by engine errors and ``fategen doctor``."""

from __future__ import annotations

import re

from generator.errors import EngineError

GET_DOCKER = (
    "install Docker Engine with buildx 0.13 or later (on Debian 13: apt-get install docker.io docker-cli docker-buildx)"
)
GET_BUILDX = (
    "install docker-buildx-plugin (Docker's own packages) or docker-buildx (Debian 13, Ubuntu), or put the "
    "docker-buildx binary into ~/.docker/cli-plugins"
)
GET_COMPOSE = (
    "install docker-compose-plugin (Docker's own packages), docker-compose-v2 (Ubuntu) or docker-compose (Debian 13), "
    "or put the docker-compose binary into ~/.docker/cli-plugins"
)
GET_PERMISSION = (
    'join the group of the socket ("sudo usermod -aG docker $USER", then log in again), or run a rootless engine'
)
GET_DAEMON = "start it (systemctl start docker), or choose another one with DOCKER_HOST or docker context use"
GET_LOGIN = "docker login {host}"
GET_RIGHT = "ask for permission to push to project {project} (in Harbor, the role Developer or a robot that may push)"
GET_QUOTA = "free space in project {project}, or have its quota raised"
GET_AUTHORITY = "put the CA at /etc/docker/certs.d/{host}/ca.crt, here and where the builder runs"

_NO_DAEMON = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|error during connect", re.IGNORECASE
)
_NO_PERMISSION = re.compile(r"permission denied.*(docker\.sock|daemon socket|docker api)", re.IGNORECASE)
_NO_BUILDX = re.compile(
    r"unknown command: docker buildx|'buildx' is not a docker command|unknown shorthand flag: 'f' in -f"
)
_ADDRESS = re.compile(r"\b((?:unix|tcp|ssh|http|https)://[^\s\"',;]+?)(?=[\s\"',;]|: |\.? |\.?$)")


def explain(output: str) -> EngineError | None:
    """The reason in a failed docker command's output that has a known next step."""
    found = _ADDRESS.search(output)
    where = f" at {found[1]}" if found else ""
    if _NO_PERMISSION.search(output):
        return EngineError(f"no permission to use the Docker daemon{where}", hint=GET_PERMISSION)
    if _NO_DAEMON.search(output):
        return EngineError(f"no Docker daemon answers{where}", hint=GET_DAEMON)
    if _NO_BUILDX.search(output):
        return EngineError("docker has no buildx plugin; fategen needs 0.13 or later", hint=GET_BUILDX)
    if "for multi-node builds currently not supported" in output:
        what = "--verify and bundle save cannot have images of several platforms from several nodes of a builder"
        return EngineError(what, hint="name one platform with --platform, or another builder with --builder")
    return None


_PUSH_TOKEN = re.compile(r"fetch (?:oauth|anonymous) token.*(?:x509|certificate)", re.DOTALL)
_PUSH_CERTIFICATE = re.compile(r"x509|certificate|gave HTTP response to HTTPS client")
_PUSH_DENIED = re.compile(
    r"40[13] (?:Unauthorized|Forbidden)|unauthorized|insufficient_scope|denied|authorization failed"
)
QUOTA = re.compile(
    r"(?<!disk )\bquota (?:is|was|has been|will be|exceeded)\b|exceed the configured upper limit", re.IGNORECASE
)
"""How a registry that is full says so (Harbor: 403 DENIED, as for a missing right)."""
READ_ONLY = re.compile(r"\bread[- ]only mode\b", re.IGNORECASE)
"""How one that accepts no pushes at the moment says so (Harbor, during a backup or a clean-up)."""
_PUSH_UNREACHABLE = re.compile(r"no such host|connection refused|i/o timeout|network is unreachable|no route to host")


def explain_push(output: str, repository: str) -> str:
    """The next step after a push that failed; "" if the output tells none."""
    host, _, path = repository.partition("/")
    if _PUSH_TOKEN.search(output):
        return (
            f"the engine or buildx fetches tokens from {host} and does not know its CA: add the CA to the system's "
            "certificates where the engine runs (update-ca-certificates) and restart it, or use a newer buildx"
        )
    if _PUSH_CERTIFICATE.search(output):
        return GET_AUTHORITY.format(host=host)
    if _PUSH_DENIED.search(output):
        advice = GET_QUOTA if QUOTA.search(output) else f"{GET_LOGIN}, or {GET_RIGHT}"
        return advice.format(host=host, project=path.partition("/")[0])
    if _PUSH_UNREACHABLE.search(output):
        return f"check that the builder can reach {host}"
    return ""
