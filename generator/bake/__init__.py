"""Builds images with ``docker buildx bake``: checks before a build, the run and its picture, publishing, the report."""

from generator.bake.job import Job, Options, make_job, not_built
from generator.bake.prepare import lock_project, make_session, open_workspace, resolved
from generator.bake.publish import Built, bake, build_layouts, result_table
from generator.bake.run import Recipe, Session

__all__ = [
    "Built",
    "Job",
    "Options",
    "Recipe",
    "Session",
    "bake",
    "build_layouts",
    "lock_project",
    "make_job",
    "make_session",
    "not_built",
    "open_workspace",
    "resolved",
    "result_table",
]
