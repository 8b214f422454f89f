"""What to ask of ``docker buildx bake``, and what came out: preflight, phases, progress, results, OCI layouts."""

from generator.bake.environment import Recipe
from generator.bake.job import Job, Options, make_job
from generator.bake.layouts import export_layouts, load_for_layouts
from generator.bake.phases import bake
from generator.bake.prepare import make_environment, make_session, open_workspace, resolved
from generator.bake.progress import make_view
from generator.bake.results import Built, result_table

__all__ = [
    "Built",
    "Job",
    "Options",
    "Recipe",
    "bake",
    "export_layouts",
    "load_for_layouts",
    "make_environment",
    "make_job",
    "make_session",
    "make_view",
    "open_workspace",
    "resolved",
    "result_table",
]
