"""Plans and jobs of FATE 1.3 for the tests of bake, without a project on the disk."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from generator.bake.job import Job, Options, make_job
from generator.catalogue import Line, parse_line
from generator.plan import Plan
from generator.planner import make_plan
from generator.project import packaged_data
from generator.settings import Settings

BOTH = ("linux/amd64", "linux/arm64")


def plan_of(**changes: object) -> Plan:
    """The plan of a project at ``localhost:5000/t``, with some of its settings changed."""
    settings = replace(Settings("localhost:5000/t", "base-1", "1"), **changes)  # type: ignore[arg-type]
    return make_plan(settings, _line())


@cache
def _line() -> Line:
    return parse_line((packaged_data("catalogue") / "1.3.yaml").read_text(encoding="utf-8"), name="1.3.yaml")


def job_of(plan: Plan, *names: str, **options: object) -> Job:
    return make_job(plan, names, Options(**options))  # type: ignore[arg-type]
