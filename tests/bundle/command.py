"""The command line in this process: what it prints goes to pytest's capture."""

from __future__ import annotations

from pathlib import Path

import pytest

import generator.cli


def fategen(monkeypatch: pytest.MonkeyPatch, *args: str | Path) -> int:
    """``fategen ARGS``; its exit code."""
    monkeypatch.setattr("sys.argv", ["fategen", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        generator.cli.main()
    return int(stop.value.code or 0)


def run(monkeypatch: pytest.MonkeyPatch, *args: str | Path) -> int:
    """``fategen bundle ARGS``."""
    return fategen(monkeypatch, "bundle", *args)
