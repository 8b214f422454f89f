"""Pushes a bundle into a registry: every digest is kept, and only what the registry lacks is sent.

The registry's client is imported when something is pushed: until then bundle/ needs the standard library alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bundle.bases import Blobs, open_blobs
from generator.bundle.load import choose
from generator.bundle.signature import signature_check
from generator.config import reference
from generator.config.reference import Reference, check_prefix, parse_reference
from generator.errors import EngineError, InputError, Problem
from generator.images.image import Image
from generator.images.oci import Descriptor
from generator.images.strictjson import Malformed
from generator.progress import Progress, quiet

if TYPE_CHECKING:
    from generator.registry.client import Connect, Registry

AT_ONCE = 4
"""Blobs that are sent side by side."""


@dataclass(frozen=True)
class Pushed:
    """An image under its new names, with its digest in the bundle; ``sent`` bytes went over the network for it."""

    references: tuple[str, ...]
    digest: str
    platforms: tuple[str, ...]
    sent: int
    state: str
    """``pushed`` or ``was there``"""


@dataclass(frozen=True)
class PushResult:
    """What was pushed; ``root`` is the bundle's root digest."""

    root: str
    images: tuple[Pushed, ...]


def push(
    file: Path,
    prefix: str,
    *,
    bases: Sequence[Path] = (),
    only: Sequence[str] = (),
    key: Path | None = None,
    replace: bool = False,
    progress: Progress = quiet,
    environment: Mapping[str, str] = os.environ,
    connect: Connect | None = None,
) -> PushResult:
    """Push a bundle's images to ``prefix/NAME:TAG`` with docker's login; ``key`` must have signed the bundle.

    A name that has platforms in the registry which the bundle lacks is left alone, and with it everything, unless
    ``replace``. Run again, it sends what is missing. ``connect`` is for tests.

    Raises InputError (the prefix, a file, a name), EngineError (every problem with the registry before anything is
    sent, or what happened while sending), BundleError (damage: the damaged image's manifest is not sent; no good
    signature).
    """
    from generator.registry.client import Registry, access_to, host_of
    from generator.registry.explain import find_push_problems
    from generator.registry.http import RegistryError

    host = host_of(_checked(prefix))
    with open_blobs(file, bases) as blobs:
        if key:
            signature_check(key)(blobs.index, blobs.name)
        targets = _targets(blobs, prefix, only)
        access = access_to(host, environment)
        paths = list(dict.fromkeys(target.path for target in targets))
        if problems := [refused.problem for refused in find_push_problems(access, paths)]:
            message = InputError(problems, subject=host).message
            raise EngineError(message, hint="fix this, then run the same command again; nothing was sent")
        try:
            run = _Push(blobs, (connect or Registry)(access), targets, progress)
            if not replace:
                run.check_platforms()
            run.find_missing_blobs()
        except RegistryError as error:
            hint = "nothing was sent; run the same command again, or with --replace, which skips this check"
            raise EngineError(f"{host}: {error.detail}", hint=hint) from error
        images = []
        for target in targets:
            names = tuple(f"{prefix}/{target.path.rpartition('/')[2]}:{tag}" for tag in target.tags)
            try:
                sent = run.push(target)
            except RegistryError as error:
                raise EngineError(
                    f"{names[0]}: {host} refused it: {error.detail}",
                    hint="run the same command again: what it already has is not sent again",
                ) from error
            state = "was there" if sent is None else "pushed"
            images.append(Pushed(names, target.image.target.digest, target.image.platforms, sent or 0, state))
        return PushResult(blobs.index.root, tuple(images))


def _checked(prefix: str) -> Reference:
    try:
        check_prefix(prefix)
        name = parse_reference(f"{prefix}/image")
    except ValueError as error:
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}": {error}')) from None
    if not name.domain:
        hint = f"such as 10.0.0.5:8443/{prefix}, or docker.io/{prefix}"
        raise InputError(Problem("REGISTRY/PREFIX", f'"{prefix}" names no registry'), hint=hint)
    return name


@dataclass(frozen=True)
class _Target:
    """An image, and the repository and tags that it is pushed to."""

    path: str
    tags: tuple[str, ...]
    image: Image


def _targets(blobs: Blobs, prefix: str, only: Sequence[str]) -> list[_Target]:
    """The last part of a name is kept, as PREFIX in .env means it. Raises InputError if two images get one name."""
    by_name: dict[tuple[str, str], Image] = {}
    problems = []
    for image in choose(blobs.index, only):
        for name in image.references:
            tag = name.rpartition(":")[2]
            path = parse_reference(f"{prefix}/{reference.short(name)}").path
            other = by_name.setdefault((path, tag), image)
            if other.target.digest != image.target.digest:
                both = f"{reference.familiar(other.references[0])} and {reference.familiar(name)}"
                problems.append(Problem(f"{path}:{tag}", f"would both be {both}"))
    if problems:
        raise InputError(problems, hint="push one of them with --only, to another prefix")
    tags: dict[tuple[str, str], list[str]] = {}
    for (path, tag), image in by_name.items():
        tags.setdefault((path, image.target.digest), []).append(tag)
    return [_Target(path, tuple(names), by_name[path, names[0]]) for (path, _), names in tags.items()]


class _Push:
    """One push of a bundle. Its methods raise RegistryError."""

    def __init__(self, blobs: Blobs, registry: Registry, targets: Sequence[_Target], progress: Progress) -> None:
        self._blobs, self._registry, self._targets, self._progress = blobs, registry, targets, progress
        self._tagged = {(t.path, tag): registry.digest(t.path, tag) for t in targets for tag in t.tags}
        """what a tag points to before anything is sent ("": nothing)"""
        self._repositories: dict[str, str] = {}
        """digest of a blob -> a repository that has it"""
        self._lock = threading.Lock()
        self._done, self._sent = 0, 0

    def check_platforms(self) -> None:
        """InputError with all platforms that the registry would lose."""
        problems = []
        for target in self._targets:
            for tag in self._changed(target):
                platforms = self._platforms(target.path, tag) if self._tagged[target.path, tag] else ()
                if lost := set(platforms).difference(target.image.platforms):
                    what = f"has {', '.join(sorted(lost))}, which the bundle does not have; nothing was pushed"
                    problems.append(Problem(f"{self._registry.access.host}/{target.path}:{tag}", what))
        if problems:
            raise InputError(
                problems, hint="save a bundle with --platform P for each of them, or push with --replace to drop them"
            )

    def find_missing_blobs(self) -> None:
        """Raises InputError if the registry lacks what a delta leaves out and no base bundle was given for."""
        for target in filter(self._changed, self._targets):
            paths = dict.fromkeys((target.path, *(other.path for other in self._targets)))
            missing = {blob.digest for blob in target.image.blobs()} - self._blobs.blobs.keys()
            for digest in missing - self._repositories.keys():
                repository = next((path for path in paths if self._registry.has_blob(path, digest)), None)
                if repository is None:
                    self._blobs.require_all()
                else:
                    self._repositories[digest] = repository

    def push(self, target: _Target) -> int | None:
        """Pushes blobs, manifests, then tags: a visible tag is complete. Returns the bytes sent; None: it was there."""
        before, changed = self._sent, self._changed(target)
        if not changed:
            return None
        self._send_blobs(target)
        for image in target.image.platform_images:
            self._put(target.path, image.manifest.digest, image.manifest)
        for tag in changed:
            self._put(target.path, tag, target.image.target)
        return self._sent - before

    def _changed(self, target: _Target) -> list[str]:
        """Its tags that are not there, or point to something else."""
        return [tag for tag in target.tags if self._tagged[target.path, tag] != target.image.target.digest]

    def _platforms(self, path: str, tag: str) -> tuple[str, ...]:
        """The platforms behind a tag; none if it is damaged or incomplete: this push may repair it."""
        from generator.registry.http import RegistryError

        try:
            return self._registry.platforms(path, tag)
        except Malformed:
            return ()
        except RegistryError as error:
            if error.kind != "missing":
                raise
            return ()

    def _put(self, path: str, name: str, manifest: Descriptor) -> None:
        self._registry.put_manifest(path, name, manifest.media_type, self._blobs.document(manifest.digest))

    def _send_blobs(self, target: _Target) -> None:
        manifests = {target.image.target, *(image.manifest for image in target.image.platform_images)}
        blobs = [blob for blob in dict.fromkeys(target.image.blobs()) if blob not in manifests]
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for future in [pool.submit(self._send, target.path, blob) for blob in blobs]:
                future.result()
        except BaseException:
            self._registry.stop()
            # does not wait for a registry that does not answer: its timeout is five minutes
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()

    def _send(self, path: str, blob: Descriptor) -> None:
        repository = self._repositories.get(blob.digest, path)
        mount = repository if repository != path else ""
        state = self._registry.push_blob(path, blob.digest, blob.size, lambda: self._blobs.chunks(blob.digest), mount)
        with self._lock:
            if blob.digest not in self._repositories:
                self._repositories[blob.digest] = path
                self._done += blob.size
            self._sent += blob.size if state == "pushed" else 0
            self._progress(f"blob {blob.digest}", self._done, self._blobs.index.size)
