"""Pushes a bundle into a registry as it is: every digest is kept, and only what the registry lacks is sent."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from generator.bundle.blobs import Blobs
from generator.bundle.format.archive import Progress, quiet
from generator.bundle.format.model import Image
from generator.bundle.load import choose
from generator.config.reference import parse_reference
from generator.errors import EngineError, InputError, Problem
from generator.images import reference
from generator.images.oci import INDEX_TYPES, Descriptor, parse_config, parse_index, parse_manifest
from generator.images.strictjson import LIMIT, Malformed
from generator.registry.client import Connect, Manifest, Registry, refused_pushes
from generator.registry.explain import explain_refusals
from generator.registry.http import Refusal
from generator.registry.session import Access

KEEP = "fategen bundle save --platform P, for each; push --replace where they may go"
_AGAIN = "nothing was sent; run the same command again, or with --replace, which does not ask what stands there"
AT_ONCE = 4
"""Blobs that are sent side by side."""


@dataclass(frozen=True)
class Pushed:
    """An image under its new names, with its digest in the bundle; ``sent`` bytes went over the line for it."""

    references: tuple[str, ...]
    digest: str
    platforms: tuple[str, ...]
    state: Literal["pushed", "was there"]
    sent: int


def push(
    blobs: Blobs,
    prefix: str,
    access: Access,
    *,
    only: Sequence[str] = (),
    replace: bool = False,
    progress: Progress | None = None,
    connect: Connect = Registry,
) -> tuple[Pushed, ...]:
    """Push a bundle's images to ``prefix/NAME:TAG`` at the registry of ``access``.

    A name that has platforms there which the bundle lacks is left alone, and with it everything, unless ``replace``.
    Raises InputError (a name), EngineError (every problem with the registry before anything is sent, or what happened
    while sending), BundleError (a blob is damaged: its image's manifest is not sent). Run again, it sends what lacks.
    """
    targets = _targets(blobs, prefix, only)
    _check_rights(access, list(dict.fromkeys(path for path, _, _ in targets)))
    try:
        run = _Push(blobs, connect(access), progress or quiet)
        lost = [] if replace else [one for path, tags, image in targets for one in run.lost(path, tags, image)]
        if lost:
            raise InputError(lost, hint=KEEP)
        run.find_left_out(targets)
    except Refusal as refusal:
        raise EngineError(f"{access.host}: {refusal.words}", hint=_AGAIN) from refusal
    return tuple(run.image(path, tags, image, prefix) for path, tags, image in targets)


def _targets(blobs: Blobs, prefix: str, only: Sequence[str]) -> list[tuple[str, tuple[str, ...], Image]]:
    """Path, tags and image. The last part of a name is kept, as PREFIX in .env means it."""
    found: dict[tuple[str, str], Image] = {}
    problems = []
    for image in choose(blobs.index, only):
        for name in image.references:
            tag = name.rpartition(":")[2]
            path = parse_reference(f"{prefix}/{reference.short(name)}").path
            other = found.setdefault((path, tag), image)
            if other.target.digest != image.target.digest:
                both = f"{reference.familiar(other.references[0])} and {reference.familiar(name)}"
                problems.append(Problem(f"{path}:{tag}", f"would be both {both}"))
    if problems:
        raise InputError(problems, hint="push one of them with --only, to another prefix")
    images: dict[tuple[str, str], tuple[list[str], Image]] = {}
    for (path, tag), image in found.items():
        images.setdefault((path, image.target.digest), ([], image))[0].append(tag)
    return [(path, tuple(tags), image) for (path, _), (tags, image) in images.items()]


def _check_rights(access: Access, paths: Sequence[str]) -> None:
    problems = [found.problem for found in explain_refusals(access, refused_pushes(access, paths))]
    if problems:
        message = InputError(problems, subject=access.host).message
        raise EngineError(message, hint="correct that, then run the same command again; nothing was sent")


def _platforms(registry: Registry, path: str, tag: str) -> set[str]:
    """Those behind a tag; none where it is damaged or half of it missing: a push may be what mends it."""
    try:
        document = registry.manifest(path, tag)
        if document.media_type in INDEX_TYPES:
            children = parse_index(document.data, document.media_type)
            return {child.platform for child in children if child.platform and not child.attestation}
        config = parse_manifest(document.data, document.media_type).config
        if config.size > LIMIT:
            return set()
        with tempfile.TemporaryDirectory() as directory:
            registry.fetch_blob(path, config.digest, config.size, Path(directory))
            return {parse_config(Path(directory, config.digest.partition(":")[2]).read_bytes()).platform}
    except Malformed:
        return set()
    except Refusal as refusal:
        if refusal.kind != "missing":
            raise
        return set()


class _Push:
    def __init__(self, blobs: Blobs, registry: Registry, progress: Progress) -> None:
        self._blobs, self._registry, self._progress = blobs, registry, progress
        self._homes: dict[str, str] = {}
        self._left_out: dict[str, str] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._done, self._sent = 0, 0
        self._total = blobs.index.size

    def lost(self, path: str, tags: Sequence[str], image: Image) -> Iterator[Problem]:
        """What the registry has behind these names and would have no more."""
        for tag in tags:
            if self._standing(path, tag) not in ("", image.target.digest):
                there = _platforms(self._registry, path, tag)
                if gone := sorted(there.difference(image.platforms)):
                    said = f"has {', '.join(gone)}, which the bundle does not carry; nothing was pushed"
                    yield Problem(f"{self._registry.access.host}/{path}:{tag}", said)

    def find_left_out(self, targets: Sequence[tuple[str, Sequence[str], Image]]) -> None:
        """InputError where the registry lacks what a delta leaves out and no base was given for."""
        for path, tags, image in targets:
            if all(self._standing(path, tag) == image.target.digest for tag in tags):
                continue
            homes = dict.fromkeys((path, *(other for other, _, _ in targets)))
            for digest in {blob.digest for blob in image.blobs()} - self._blobs.members.keys() - self._left_out.keys():
                home = next((one for one in homes if self._registry.has_blob(one, digest)), None)
                if home is None:
                    self._blobs.require_all()
                else:
                    self._left_out[digest] = home

    def image(self, path: str, tags: Sequence[str], image: Image, prefix: str) -> Pushed:
        """Blobs, then manifests, then tags: whoever sees a name can pull all of it."""
        names = tuple(f"{prefix}/{path.rpartition('/')[2]}:{tag}" for tag in tags)
        target, before = image.target, self._sent
        try:
            lacking = [tag for tag in tags if self._standing(path, tag) != target.digest]
            if lacking:
                self._send_blobs(path, image)
                for variant in image.variants:
                    self._put(path, variant.manifest.digest, variant.manifest)
                for tag in lacking:
                    self._put(path, tag, target)
        except Refusal as refusal:
            host = self._registry.access.host
            raise EngineError(
                f"{names[0]}: {host} did not take it: {refusal.words}",
                hint="run the same command again: what it has taken is not sent twice",
            ) from refusal
        state: Literal["pushed", "was there"] = "pushed" if lacking else "was there"
        return Pushed(names, target.digest, image.platforms, state, self._sent - before)

    def _standing(self, path: str, tag: str) -> str:
        """The digest behind a tag before anything was sent; each is asked for once."""
        if (path, tag) not in self._known:
            self._known[path, tag] = self._registry.digest(path, tag)
        return self._known[path, tag]

    def _put(self, path: str, name: str, manifest: Descriptor) -> None:
        data = self._blobs.document(manifest.digest)
        self._registry.put_manifest(path, name, Manifest(manifest.digest, manifest.media_type, data))

    def _send_blobs(self, path: str, image: Image) -> None:
        blobs = {blob.digest: blob for v in image.variants for blob in (v.config, *(layer.blob for layer in v.layers))}
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
        home = self._homes.get(blob.digest)
        mount = home or self._left_out.get(blob.digest)
        mounts = [mount] if mount is not None and mount != path else []
        state = self._registry.push_blob(path, blob.digest, blob.size, lambda: self._chunks(blob), mounts)
        with self._lock:
            if home is None:
                self._homes[blob.digest] = path
                self._done += blob.size
            self._sent += blob.size if state == "pushed" else 0
            self._progress(f"blob {blob.digest}", self._done, self._total)

    def _chunks(self, blob: Descriptor) -> Iterator[bytes]:
        for chunk in self._blobs.chunks(blob.digest):
            if self._stopped:
                raise EngineError("stopped")
            yield chunk
