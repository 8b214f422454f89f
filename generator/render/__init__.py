"""A plan, rendered into files."""
