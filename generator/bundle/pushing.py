"""``bundle push`` behind its options: checks, login, and what is said of it. The command lines import it when asked:
a registry's client is slow to import, and not every Python that runs ``fategen-load.pyz`` has what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.bundle.blobs import open_blobs
from generator.bundle.format.archive import Progress
from generator.bundle.push import Pushed, push
from generator.bundle.signature import required
from generator.config.reference import Reference, check_prefix, parse_reference
from generator.errors import InputError, Problem
from generator.registry.client import access_to, host_of
from generator.text import human, table


@dataclass(frozen=True)
class PushedBundle:
    """``root`` is the bundle's root digest."""

    root: str
    images: tuple[Pushed, ...]


def push_file(
    file: Path,
    prefix: str,
    *,
    bases: Sequence[Path] = (),
    only: Sequence[str] = (),
    key: Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
    environment: Mapping[str, str] = os.environ,
) -> PushedBundle:
    """Push a bundle's file to ``prefix`` with docker's login for that registry; ``key`` must have signed it.

    Raises InputError (the prefix, a file), BundleError (damage, no good signature), and what ``push`` raises.
    """
    reference = _checked(prefix)
    approve = required(key) if key else None
    with open_blobs(file, bases) as blobs:
        if approve:
            approve(blobs.index, blobs.name)
        access = access_to(host_of(reference), environment)
        return PushedBundle(
            blobs.index.root, push(blobs, prefix, access, only=only, replace=replace, progress=progress)
        )


def _checked(prefix: str) -> Reference:
    try:
        check_prefix(prefix)
        reference = parse_reference(f"{prefix}/image")
    except ValueError as error:
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}": {error}')) from None
    if not reference.domain:
        message = f'"{prefix}" names no registry'
        hint = f"such as 10.0.0.5:8443/{prefix}, or docker.io/{prefix}"
        raise InputError(Problem("REGISTRY/PREFIX", message), hint=hint)
    return reference


def pushed_json(pushed: PushedBundle) -> dict[str, Any]:
    rows = [
        {"references": i.references, "digest": i.digest, "platforms": i.platforms, "state": i.state, "sent": i.sent}
        for i in pushed.images
    ]
    return {"root": pushed.root, "images": rows}


def pushed_table(pushed: PushedBundle) -> str:
    lines: list[tuple[str, ...]] = []
    for image in pushed.images:
        first, *others = image.references
        lines.append((first, " ".join(image.platforms), image.digest, image.state, human(image.sent)))
        lines += [(name, "", "", "", "") for name in others]
    return table(("IMAGE", "PLATFORMS", "DIGEST", "", ">SENT"), lines)
