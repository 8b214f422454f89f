"""Docker's own configuration, and the engine that docker talks to.

Source: docker/cli, cli/config/config.go, cli/command/cli.go (which context is the current one) and cli/context/store
(where a context is kept).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT_HOST = "unix:///var/run/docker.sock"


def config_directory(environment: Mapping[str, str]) -> Path:
    """Docker's own directory: $DOCKER_CONFIG or ~/.docker."""
    chosen = environment.get("DOCKER_CONFIG")
    return Path(chosen) if chosen else Path(environment.get("HOME") or "/") / ".docker"


def docker_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Docker's own config.json; empty where there is none or it cannot be read."""
    try:
        content = json.loads((config_directory(environment) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under a key; empty where there is none."""
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def find_socket(docker: str, environment: Mapping[str, str]) -> str:
    """The Unix socket of the engine that docker talks to; "" where it is none, or only docker can find it."""
    config = docker_config(environment)
    if not _is_docker_itself(docker) or config.get("HttpHeaders"):
        return ""
    host = environment.get("DOCKER_HOST", "")
    context = environment.get("DOCKER_CONTEXT") or config.get("currentContext") or "default"
    if not host and context != "default":
        host = _host_of(str(context), config_directory(environment))
    scheme, _, path = (host or DEFAULT_HOST).partition("://")
    return path if scheme == "unix" else ""


def _is_docker_itself(docker: str) -> bool:
    """Not a script, nor a program of another name (a snap): those may do more of their own (sudo, another host)."""
    try:
        real = Path(docker).resolve(strict=True)
        with real.open("rb") as file:
            return real.name == "docker" and file.read(2) != b"#!"
    except OSError:
        return False


def _host_of(context: str, config: Path) -> str:
    """Where a context's engine listens, "-" where it does not say."""
    path = config / "contexts/meta" / hashlib.sha256(context.encode()).hexdigest() / "meta.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["Endpoints"]["docker"]["Host"]) or "-"
    except (OSError, ValueError, LookupError, TypeError):
        return "-"
