"""Where docker keeps its own configuration, the plugins that it starts, and the engine that it talks to.

Source: docker/cli, cli/config/config.go, cli-plugins/manager/manager.go (the order of the plugins' directories),
cli/command/cli.go (which context is the current one) and cli/context/store (where a context is kept).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SYSTEM_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)

DEFAULT_HOST = "unix:///var/run/docker.sock"


def config_directory(environment: Mapping[str, str]) -> Path:
    """docker's own directory: $DOCKER_CONFIG or ~/.docker."""
    own = environment.get("DOCKER_CONFIG")
    return Path(own) if own else Path(environment.get("HOME") or "/") / ".docker"


def docker_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """docker's own config.json; empty where there is none or it cannot be read."""
    try:
        content = json.loads((config_directory(environment) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def is_docker_itself(docker: str) -> bool:
    """Not a script, nor a program of another name (a snap): those may do more of their own (sudo, another host)."""
    try:
        real = Path(docker).resolve(strict=True)
        with real.open("rb") as file:
            return real.name == "docker" and file.read(2) != b"#!"
    except OSError:
        return False


def find_plugin(name: str, docker: str, environment: Mapping[str, str]) -> str:
    """The program that ``docker NAME`` starts, "" where it has to be left to docker to find it.

    Started as it is, it is there 40 ms earlier: docker asks each plugin what it is before it starts one.
    """
    if not is_docker_itself(docker):
        return ""
    extra = docker_config(environment).get("cliPluginsExtraDirs")
    first = [str(directory) for directory in extra] if isinstance(extra, list) else []
    for directory in (*first, str(config_directory(environment) / "cli-plugins"), *SYSTEM_PLUGINS):
        path = Path(directory) / f"docker-{name}"
        if path.is_file():
            return str(path) if os.access(path, os.X_OK) else ""
    return ""


def find_socket(docker: str, environment: Mapping[str, str]) -> str:
    """The Unix socket of the engine that docker talks to; "" where it is none, or has to be left to docker."""
    config = docker_config(environment)
    if not is_docker_itself(docker) or config.get("HttpHeaders"):
        return ""
    host = environment.get("DOCKER_HOST", "")
    context = environment.get("DOCKER_CONTEXT") or config.get("currentContext") or "default"
    if not host and context != "default":
        host = _host_of(str(context), config_directory(environment))
    scheme, _, path = (host or DEFAULT_HOST).partition("://")
    return path if scheme == "unix" else ""


def _host_of(context: str, config: Path) -> str:
    """Where a context's engine listens, "-" where it does not say."""
    kept = config / "contexts/meta" / hashlib.sha256(context.encode()).hexdigest() / "meta.json"
    try:
        return str(json.loads(kept.read_text(encoding="utf-8"))["Endpoints"]["docker"]["Host"]) or "-"
    except (OSError, ValueError, LookupError, TypeError):
        return "-"
