"""fategen renders, builds, verifies and ships a family of container images."""

__version__ = "0.1.0"
