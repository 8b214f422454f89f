"""Full image references and their short forms.

A bundle holds full references only (``docker.io/library/mysql:8``): podman takes a short one for ``localhost/…``,
every loader takes a full one (facts from real engines: Docker 20.10 to 28, containerd 1.6 to 2.1, podman 4 and 5).
"""

from __future__ import annotations

from generator.config.reference import parse_reference
from generator.text import without


def normalise(reference: str) -> str:
    """The full form ``domain/path:tag`` of a reference; the tag is ``latest`` where none is given.

    Raises ``ValueError`` with the reason: not a reference, or one with a digest (an archive cannot name by digest).
    """
    try:
        parsed = parse_reference(reference).full
    except ValueError as error:
        raise ValueError(f'"{reference[:300]}" is not an image reference: {error}') from None
    if parsed.digest:
        raise ValueError(f'"{reference[:300]}" names a digest; a bundle holds names with tags')
    return f"{parsed.name}:{parsed.tag or 'latest'}"


def familiar(reference: str) -> str:
    """The short form that Docker shows: without ``docker.io/`` and ``library/``."""
    rest = without("docker.io/", reference)
    library = without("library/", rest)
    return library if rest != reference and "/" not in library else rest


def repository(reference: str) -> str:
    """A full reference without its tag."""
    return reference.rpartition(":")[0]


def short(reference: str) -> str:
    """The last part of the name, without the tag: ``egg`` for ``docker.io/federatedai/egg:1.3.0``."""
    return repository(reference).rpartition("/")[2]
