"""Plans and jobs of FATE, of 1.3 unless told otherwise and without a project on the disk; files for those with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from generator.bake.job import Job, Options, make_job
from generator.catalogue.line import Family, Line, parse_family, parse_line
from generator.config.settings import Settings
from generator.docker.engine import Builder, Engine, Facts, Store
from generator.errors import EngineError, InputError
from generator.plan.plan import Plan, make_plan
from generator.project import packaged_data
from generator.render.render import render

BOTH = ("linux/amd64", "linux/arm64")
LINES = ("1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11", "2.0", "2.1", "2.2")


def plan_of(**changes: object) -> Plan:
    """The plan of a project at ``localhost:5000/t``, with some of its settings changed."""
    settings = replace(Settings("localhost:5000/t", "base-1", "1", "1.3.0"), **changes)  # type: ignore[arg-type]
    return make_plan(settings, packaged_line(".".join(settings.version.split(".")[:2])))


def rendered(plan: Plan) -> dict[str, str]:
    """What the packaged templates make of it."""
    return render(plan, [packaged_data("templates")])


@cache
def tree_of(release: str) -> dict[str, str]:
    return rendered(plan_of(version=release))


def put(directory: Path, name: str, text: str = "") -> None:
    """A file with this text, and the directories that lead to it."""
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text, encoding="utf-8")


def problems_of(action: Callable[[], object]) -> list[str]:
    """All that the InputError which it raises says is wrong."""
    with pytest.raises(InputError) as caught:
        action()
    return [str(problem) for problem in caught.value.problems]


@cache
def packaged_line(name: str) -> Line:
    return parse_line(_text(f"{name}.yaml") or "", name=f"{name}.yaml", family=packaged_family(), other=_text)


@cache
def packaged_family() -> Family:
    return parse_family(_text("family.yaml") or "", "family.yaml")


def _text(name: str) -> str | None:
    file = packaged_data("catalogue") / name.removeprefix("packaged ")
    return file.read_text(encoding="utf-8") if file.is_file() else None


def job_of(plan: Plan, *names: str, **options: object) -> Job:
    return make_job(plan, names, Options(**options))  # type: ignore[arg-type]


def facts_of(
    *platforms: str,
    driver: str = "docker",
    store: Store = "containerd",
    problem: EngineError | None = None,
    **more: Any,
) -> Facts:
    """A machine with an engine, or the ``problem`` with it, and a builder; ``more`` is known of these."""
    engine = Engine("26", more.pop("version", "26.1.5"), store, "linux/amd64", problem)
    builder = Builder("default", driver, more.pop("running", True), ("",), platforms or BOTH)
    return Facts(engine, (0, 13, 1), replace(builder, **more))
