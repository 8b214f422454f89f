"""Images of layouts in the local engine for as long as they are started, under names that nobody else has."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from generator.bundle.engines import DockerEngine
from generator.bundle.load import load
from generator.bundle.save import save
from generator.docker.process import Docker
from generator.images.layout import SourceImage
from generator.verify.subjects import Subject

NAMES = "fategen.invalid/verify"
"""A registry that nobody can push to or pull from (RFC 2606); a random part follows."""


@contextlib.contextmanager
def loaded(
    docker: Docker, subjects: Sequence[Subject], layouts: Mapping[str, Path], directory: Path
) -> Iterator[dict[Subject, Subject]]:
    """Those of the engine's own platform, loaded as a bundle: so every byte is checked, and what the engine has then.

    ``layouts`` has the layout of each subject's reference. Nothing of it stays, neither the file nor a name.
    """
    loader, run = DockerEngine(docker), secrets.token_hex(4)
    own = [subject for subject in subjects if subject.platform == loader.platform()]
    named = {subject: replace(subject, reference=f"{NAMES}-{run}/{subject.image}:1") for subject in own}
    if not named:
        yield {}
        return
    images = [SourceImage((one.reference,), layouts[s.reference], (s.platform,)) for s, one in named.items()]
    file = directory / f"{run}.fate.tar"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save(images, file, name="verify")
        load(file, loader, platform=own[0].platform)
        file.unlink()
        yield named
    finally:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)
        for one in named.values():
            loader.untag(one.reference)
