"""Docker's own configuration (docker/cli, cli/config/config.go)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
