"""Builds images with ``docker buildx bake``: checks before a build, the run and its picture, publishing, the report."""

from generator.bake.job import Job, Options, make_job, not_built
from generator.bake.prepare import lock_project, make_context, open_workspace, resolved
from generator.bake.publish import Built, bake, export_layouts, result_table
from generator.bake.run import BakeContext

__all__ = [
    "BakeContext",
    "Built",
    "Job",
    "Options",
    "bake",
    "export_layouts",
    "lock_project",
    "make_context",
    "make_job",
    "not_built",
    "open_workspace",
    "resolved",
    "result_table",
]
