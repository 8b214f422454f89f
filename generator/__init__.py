"""fategen renders, builds, verifies and ships the container images of FATE."""

__version__ = "0.1.0"
