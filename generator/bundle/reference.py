"""Image references, after the distribution reference grammar (distribution/reference, regexp.go and normalize.go).

A bundle holds full references only (``docker.io/library/mysql:8``): podman takes a short one for ``localhost/…``,
every loader takes a full one (facts from real engines: Docker 20.10 to 28, containerd 1.6 to 2.1, podman 4 and 5).
"""

from __future__ import annotations

import re

_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]{{1,5}})?")
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def normalise(reference: str) -> str:
    """The full form ``domain/path:tag`` of a reference; the tag is ``latest`` where none is given.

    Raises ``ValueError`` with the reason: not a reference, or one with a digest (an archive cannot name by digest).
    """
    if "@" in reference:
        raise ValueError(f"{reference!r} names a digest; a bundle holds names with tags")
    if len(reference) > 400:
        raise ValueError(f"{reference[:40]!r}… is too long for an image name")
    head, slash, rest = reference.partition("/")
    if slash and (any(c in head for c in ".:[") or head == "localhost" or head != head.lower()):
        domain, remainder = head, rest
    else:
        domain, remainder = "docker.io", reference
    domain = "docker.io" if domain == "index.docker.io" else domain
    path, colon, tag = remainder.partition(":")
    tag = tag if colon else "latest"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or len(domain) + 1 + len(path) > 255:
        raise ValueError(f"{reference!r} is not an image name")
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{reference!r} has no valid tag (letters, digits, '.', '_', '-', at most 128)")
    return f"{domain}/{path}:{tag}"


def familiar(reference: str) -> str:
    """The short form that Docker shows: without ``docker.io/`` and ``library/``."""
    for prefix in ("docker.io/library/", "docker.io/"):
        rest = reference[len(prefix) :]
        if reference.startswith(prefix) and (prefix.endswith("library/") or "/" in rest):
            return rest
    return reference


def repository(reference: str) -> str:
    """A full reference without its tag."""
    return reference.rpartition(":")[0]


def short(reference: str) -> str:
    """The last part of the name, without the tag: ``egg`` for ``docker.io/federatedai/egg:1.3.0``."""
    return repository(reference).rpartition("/")[2]
