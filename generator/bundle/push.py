"""Pushes a bundle into a registry: every digest is kept, and only what the registry lacks is sent.

Imported only to push: the registry's client is slow to import, and the rest of bundle/ needs no third-party package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from generator.bundle.bases import Blobs, open_blobs
from generator.bundle.load import choose, renamed
from generator.bundle.reader import verify_rest
from generator.bundle.signature import signature_check
from generator.config.reference import Reference, check_prefix, parse_reference
from generator.errors import EngineError, InputError, Problem
from generator.images.image import Contents, Image
from generator.progress import Progress, quiet
from generator.registry.client import Registry, access_to
from generator.registry.explain import find_push_problems, not_published
from generator.registry.http import RegistryError
from generator.registry.publish import Publication, Published, Publisher, movable_tags


def push(
    file: Path,
    prefix: str,
    *,
    state: Path,
    bases: Sequence[Path] = (),
    only: Sequence[str] = (),
    key: Path | None = None,
    overwrite: bool = False,
    checking: Progress = quiet,
    progress: Progress = quiet,
    environment: Mapping[str, str] = os.environ,
) -> tuple[str, tuple[Published, ...]]:
    """Push a bundle's images to ``prefix/NAME:TAG`` with docker's login; returns its root digest and what was pushed.

    The whole file is checked first (``checking`` is its progress), also what the registry has already; ``key`` must
    have signed it. Then every tag is written, or none. ``overwrite`` moves tags that point to other images; none ever
    loses a platform. ``state`` is a directory for the journal of tags.

    Raises InputError (the prefix, a file, a name, a tag that may not move), EngineError (every problem with the
    registry before anything is sent, or what happened while sending), BundleError (damage or no good signature).
    """
    host = _checked(prefix).full.domain
    with open_blobs(file, bases, "no tag was written") as blobs:
        if key:
            signature_check(key)(blobs.bundle.index, blobs.bundle.name)
        publications = _publications(blobs, prefix, only)
        access = access_to(host, environment)
        paths = list(dict.fromkeys(publication.path for publication in publications))
        if problems := [refused.problem for refused in find_push_problems(access, paths)]:
            message = InputError(problems, subject=host).message
            raise EngineError(message, hint="fix this, then run the same command again; nothing was sent")
        verify_rest(blobs.bundle, checking)
        try:
            publisher = Publisher(Registry(access), publications, state, progress)
            return blobs.bundle.index.root, publisher.publish(movable_tags((), overwrite))
        except RegistryError as error:
            raise not_published(access, prefix, error, state) from error


def _checked(prefix: str) -> Reference:
    try:
        check_prefix(prefix)
        name = parse_reference(f"{prefix}/image")
    except ValueError as error:
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}": {error}')) from None
    if name.domain and name.path == "image":
        hint = f"{prefix}/PROJECT; on Docker Hub docker.io/NAMESPACE"
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}" is a registry without a path'), hint=hint)
    if not name.domain:
        hint = f"such as 10.0.0.5:8443/{prefix}, or docker.io/{prefix}"
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}" names no registry'), hint=hint)
    return name


def _publications(blobs: Blobs, prefix: str, only: Sequence[str]) -> list[Publication]:
    index = blobs.bundle.index
    tags: dict[tuple[str, str], dict[str, None]] = {}
    images: dict[str, Image] = {}
    for image in renamed(replace(index, images=choose(index, only)), prefix, "REGISTRY/PREFIX").images:
        images[image.target.digest] = image
        for name in map(parse_reference, image.references):
            tags.setdefault((name.path, image.target.digest), {})[name.tag] = None
    publications = []
    for (path, digest), names in tags.items():
        image = images[digest]
        manifests = tuple(platform_image.manifest for platform_image in image.platform_images)
        below = tuple(blob for blob in image.blobs() if blob not in (image.target, *manifests))
        everything = Contents(image.platform_images, manifests, below)
        absent = frozenset(blob.digest for blob in below if blob.digest not in blobs.blobs)
        publications.append(Publication(path, tuple(names), image.target, everything, blobs.chunks, absent))
    return publications
