"""Where docker keeps its own configuration, and the plugins that it starts.

Source: docker/cli, cli/config/config.go, and cli-plugins/manager/manager.go (the order of the plugins' directories).
"""

from __future__ import annotations

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


def find_plugin(name: str, docker: str, environment: Mapping[str, str]) -> str:
    """The program that ``docker NAME`` starts, "" where it has to be left to docker to find it.

    Started as it is, it is there 40 ms earlier: docker asks each plugin what it is before it starts one. A ``docker``
    that is a script, or goes by another name (a snap), may do something of its own first (sudo, another host).
    """
    try:
        real = Path(docker).resolve(strict=True)
        with real.open("rb") as file:
            if real.name != "docker" or file.read(2) == b"#!":
                return ""
    except OSError:
        return ""
    extra = docker_config(environment).get("cliPluginsExtraDirs")
    first = [str(directory) for directory in extra] if isinstance(extra, list) else []
    for directory in (*first, str(config_directory(environment) / "cli-plugins"), *SYSTEM_PLUGINS):
        path = Path(directory) / f"docker-{name}"
        if path.is_file():
            return str(path) if os.access(path, os.X_OK) else ""
    return ""
