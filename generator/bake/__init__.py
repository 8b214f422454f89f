"""Builds images with ``docker buildx bake``: checks before a build, the run and its picture, publishing, the report."""
