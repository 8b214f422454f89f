"""Pushes a bundle into a registry: every digest is kept, and only what the registry lacks is sent.

The registry's client is imported inside of functions: bundle/ needs the standard library alone until something is
pushed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from generator.bundle.bases import Blobs, open_blobs
from generator.bundle.load import choose
from generator.bundle.signature import required
from generator.config.reference import Reference, check_prefix, parse_reference
from generator.errors import EngineError, InputError, Problem
from generator.images import reference
from generator.images.image import Image
from generator.images.oci import INDEX_TYPES, Descriptor, parse_config, parse_index, parse_manifest
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
    from generator.registry.client import Registry, access_to, host_of, refused_pushes
    from generator.registry.explain import explain_refusals
    from generator.registry.http import Refusal

    host = host_of(_checked(prefix))
    with open_blobs(file, bases) as blobs:
        if key:
            required(key)(blobs.index, blobs.name)
        targets = _targets(blobs, prefix, only)
        access = access_to(host, environment)
        refusals = refused_pushes(access, list(dict.fromkeys(target.path for target in targets)))
        if problems := [refused.problem for refused in explain_refusals(access, refusals)]:
            message = InputError(problems, subject=host).message
            raise EngineError(message, hint="fix this, then run the same command again; nothing was sent")
        try:
            run = _Push(blobs, (connect or Registry)(access), progress)
            if not replace:
                run.check_platforms(targets)
            run.find_missing_blobs(targets)
        except Refusal as refusal:
            hint = "nothing was sent; run the same command again, or with --replace, which skips this check"
            raise EngineError(f"{host}: {refusal.words}", hint=hint) from refusal
        images = []
        for target in targets:
            try:
                images.append(run.push(target, prefix))
            except Refusal as refusal:
                raise EngineError(
                    f"{target.names(prefix)[0]}: {host} refused it: {refusal.words}",
                    hint="run the same command again: what it already has is not sent again",
                ) from refusal
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


class _Target(NamedTuple):
    """An image, and the repository and tags that it is pushed to."""

    path: str
    tags: tuple[str, ...]
    image: Image

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}/{self.path.rpartition('/')[2]}:{tag}" for tag in self.tags)


def _targets(blobs: Blobs, prefix: str, only: Sequence[str]) -> list[_Target]:
    """The last part of a name is kept, as PREFIX in .env means it. InputError where two images get one name."""
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
    images: dict[tuple[str, str], tuple[list[str], Image]] = {}
    for (path, tag), image in by_name.items():
        images.setdefault((path, image.target.digest), ([], image))[0].append(tag)
    return [_Target(path, tuple(tags), image) for (path, _), (tags, image) in images.items()]


class _Push:
    """One push of a bundle. Its methods raise Refusal."""

    def __init__(self, blobs: Blobs, registry: Registry, progress: Progress) -> None:
        self._blobs, self._registry, self._progress = blobs, registry, progress
        self._digests: dict[tuple[str, str], str] = {}
        self._repositories: dict[str, str] = {}
        """digest of a blob -> a repository that has it"""
        self._sending = threading.Lock()
        self._stopped = False
        self._done, self._sent = 0, 0

    def check_platforms(self, targets: Sequence[_Target]) -> None:
        """InputError with all platforms that the registry would lose."""
        problems = []
        for path, tags, image in targets:
            for tag in tags:
                if self._digest(path, tag) not in ("", image.target.digest):
                    lost = self._platforms(path, tag).difference(image.platforms)
                    if lost:
                        what = f"has {', '.join(sorted(lost))}, which the bundle does not have; nothing was pushed"
                        problems.append(Problem(f"{self._registry.access.host}/{path}:{tag}", what))
        if problems:
            raise InputError(
                problems, hint="save a bundle with --platform P for each of them, or push with --replace to drop them"
            )

    def find_missing_blobs(self, targets: Sequence[_Target]) -> None:
        """InputError where the registry lacks what a delta leaves out and no base was given for."""
        for path, tags, image in targets:
            if all(self._digest(path, tag) == image.target.digest for tag in tags):
                continue
            paths = dict.fromkeys((path, *(target.path for target in targets)))
            for digest in {blob.digest for blob in image.blobs()} - self._blobs.blobs.keys():
                if digest not in self._repositories:
                    repository = next((p for p in paths if self._registry.has_blob(p, digest)), None)
                    if repository is None:
                        self._blobs.require_all()
                    else:
                        self._repositories[digest] = repository

    def push(self, target: _Target, prefix: str) -> Pushed:
        """Blobs, then manifests, then tags: whoever sees a name can pull all of it."""
        path, tags, image = target
        before = self._sent
        changed = [tag for tag in tags if self._digest(path, tag) != image.target.digest]
        if changed:
            self._send_blobs(path, image)
            for platform_image in image.platform_images:
                self._put(path, platform_image.manifest.digest, platform_image.manifest)
            for tag in changed:
                self._put(path, tag, image.target)
        state = "pushed" if changed else "was there"
        return Pushed(target.names(prefix), image.target.digest, image.platforms, self._sent - before, state)

    def _digest(self, path: str, tag: str) -> str:
        """The digest behind a tag before anything was sent; each is asked for once."""
        if (path, tag) not in self._digests:
            self._digests[path, tag] = self._registry.digest(path, tag)
        return self._digests[path, tag]

    def _platforms(self, path: str, tag: str) -> set[str]:
        """Those behind a tag; none where it is damaged or half of it is missing: a push may be what repairs it."""
        from generator.registry.http import Refusal

        try:
            top = self._registry.manifest(path, tag)
            if top.media_type in INDEX_TYPES:
                children = parse_index(top.data, top.media_type)
                return {child.platform for child in children if child.platform and not child.attestation}
            config = parse_manifest(top.data, top.media_type).config
            return {parse_config(self._registry.small_blob(path, config.digest)).platform}
        except Malformed:
            return set()
        except Refusal as refusal:
            if refusal.kind != "missing":
                raise
            return set()

    def _put(self, path: str, name: str, manifest: Descriptor) -> None:
        self._registry.put_manifest(path, name, manifest.media_type, self._blobs.document(manifest.digest))

    def _send_blobs(self, path: str, image: Image) -> None:
        blobs = {
            blob.digest: blob for v in image.platform_images for blob in (v.config, *(layer.blob for layer in v.layers))
        }
        pool = ThreadPoolExecutor(AT_ONCE)
        futures = [pool.submit(self._send, path, blob) for blob in blobs.values()]
        try:
            for future in futures:
                future.result()
        except BaseException:
            self._stopped = True
            for future in futures:
                future.cancel()
            self._registry.stop()
            # a registry that says nothing is not waited for: it has five minutes
            pool.shutdown(wait=False)
            raise
        pool.shutdown()

    def _send(self, path: str, blob: Descriptor) -> None:
        repository = self._repositories.get(blob.digest, path)
        mounts = [repository] if repository != path else []
        state = self._registry.push_blob(path, blob.digest, blob.size, lambda: self._chunks(blob), mounts)
        with self._sending:
            if blob.digest not in self._repositories:
                self._repositories[blob.digest] = path
                self._done += blob.size
            self._sent += blob.size if state == "pushed" else 0
            self._progress(f"blob {blob.digest}", self._done, self._blobs.index.size)

    def _chunks(self, blob: Descriptor) -> Iterator[bytes]:
        for chunk in self._blobs.chunks(blob.digest):
            if self._stopped:
                raise EngineError("stopped")
            yield chunk
