"""urllib3's errors by their names."""

from __future__ import annotations


class HTTPError(Exception):
    """Never raised here: what happens on a line is an OSError."""


class InsecureRequestWarning(Warning):
    """Never given here."""
