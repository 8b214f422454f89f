"""For Pythons without urllib3, beside the stand-in for ``requests``: what the registry's modules use of it."""

from __future__ import annotations

from . import exceptions

__all__ = ["disable_warnings", "exceptions"]


def disable_warnings(_category: type[Warning]) -> None:
    """There are none."""
