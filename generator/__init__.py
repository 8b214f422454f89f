"""fategen: renders, builds, pushes and carries offline the container images of FATE."""

__version__ = "0.1.0"
