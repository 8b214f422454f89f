"""Fetches images from registries into OCI layouts that share one directory of blobs, as those that bake exports.

First come all manifests and configs, so that all problems of all images are told at once; then the layers, several at
a time, while a bundle is written of those that are complete. Blobs that are there already are not fetched again.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from generator.config import reference
from generator.config.reference import Reference, parse_reference
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import write_atomically
from generator.images.image import Image, resolve
from generator.images.layout import Layout, SourceImage, write_layout
from generator.images.oci import Descriptor, IndexEntry, platform_name
from generator.images.strictjson import Malformed
from generator.plan.plan import Target
from generator.progress import Progress, quiet
from generator.registry.client import Registries, Repository
from generator.registry.explain import pull_problem
from generator.registry.http import RegistryError
from generator.registry.session import workers
from generator.registry.transfer import Download, bytes_present
from generator.text import human

_MARGIN = 1 << 20
_TICK = 0.2
"""Seconds between two calls of ``alive`` while a layer is waited for."""


@dataclass(frozen=True)
class RemoteImage:
    """An image in a registry (``source``), and the layout that it is fetched into with its references there."""

    source: Reference
    image: SourceImage


def planned_images(
    targets: Sequence[Target], platforms: Sequence[str], layout: Callable[[str], Path]
) -> Iterator[RemoteImage]:
    """The images of a plan. A third-party image is where the plan pulls it from (a mirror, say), and keeps its name."""
    for target in targets:
        wanted = tuple(platform for platform in platforms if platform in target.platforms)
        yield RemoteImage(parse_reference(target.reference), SourceImage(target.tags, layout(target.name), wanted))


def other_images(
    references: Sequence[str], platforms: Sequence[str], layout: Callable[[str], Path]
) -> Iterator[RemoteImage]:
    """Images of any registry. InputError, with all of them, for what is no reference or has no tag to be named by."""
    problems = []
    for text in dict.fromkeys(references):
        try:
            source = parse_reference(text)
            if source.digest and not source.tag:
                raise ValueError(f"a bundle names images by tags: write {source.name}:TAG@{source.digest}")
            name = reference.normalize(f"{source.name}:{source.tag or 'latest'}")
        except ValueError as error:
            problems.append(Problem("--add", f'"{text[:300]}": {error}'))
            continue
        directory = layout("added-" + hashlib.sha256(text.encode()).hexdigest()[:12])
        yield RemoteImage(source, SourceImage((name,), directory, tuple(platforms)))
    if problems:
        raise InputError(problems)


@contextmanager
def fetching(
    images: Sequence[RemoteImage],
    registries: Registries,
    *,
    without: frozenset[str] = frozenset(),
    progress: Progress = quiet,
    at_once: int = 6,
) -> Iterator[Fetch]:
    """Fetches ``images`` into their layouts, but for the layers ``without`` (a delta leaves out those of its bases).

    Their manifests and configs are there when the block begins, and every layer when it has ended. The layers begin to
    come when the first is waited for, in the order in which a bundle stores them.

    Raises InputError or EngineError with every problem of every image (not there, not for a platform, no right, no
    room), and then has fetched no layer; EngineError, with image, digest and registry, for a registry that fails later
    or lies. What was received is kept for the next run, which needs new ``registries``: these were ended.
    """
    with workers(at_once) as pool:
        fetch = Fetch(pool, registries, progress)
        try:
            fetch.describe(images, without)
            yield fetch
            fetch.finish()
        except BaseException:
            registries.stop()
            raise


@dataclass(frozen=True)
class _Layer:
    blob: Descriptor
    source: Reference
    label: str


class Fetch:
    """Images whose layers are fetched into their layouts; see ``fetching``."""

    def __init__(self, pool: ThreadPoolExecutor, registries: Registries, progress: Progress) -> None:
        self.images: tuple[SourceImage, ...] = ()
        self._pool, self._registries, self._progress = pool, registries, progress
        self._blobs = Path()
        self._layers: dict[str, _Layer] = {}
        self._futures: dict[str, Future[bool]] = {}
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._done = 0

    def wait(self, digest: str, alive: Callable[[], object]) -> bool:
        """Waits for this layer; returns whether it was fetched, and so hashed, just now.

        ``alive`` is called a few times a second meanwhile, and may raise. Raises what stopped the fetching.
        """
        if not self._futures:
            # only now: whoever waits for a layer has checked its output first
            self._futures = {digest: self._pool.submit(self._fetch, layer) for digest, layer in self._layers.items()}
        future = self._futures.get(digest)
        while future and not self._failure and not wait([future], _TICK).done:
            alive()
        if self._failure:
            raise self._failure
        return bool(future and future.result())

    def finish(self) -> None:
        """Waits for every layer. Raises what stopped the fetching."""
        for digest in self._layers:
            self.wait(digest, lambda: None)

    def missing_bytes(self, directory: Path) -> int:
        """Bytes that are still to be fetched onto the disk that ``directory`` is on."""
        missing = self._missing()
        return missing if missing and directory.stat().st_dev == self._blobs.stat().st_dev else 0

    def after(self, progress: Progress) -> Progress:
        """The same, but shown only when all layers are there: until then the progress of the fetching is shown."""

        def show(what: str, done: int, total: int) -> None:
            if len(self._futures) == len(self._layers) and all(future.done() for future in self._futures.values()):
                progress(what, done, total)

        return show

    def describe(self, images: Sequence[RemoteImage], without: frozenset[str]) -> None:
        """Fetches the manifests and configs, and notes the layers that are to be fetched."""
        self.images = tuple(remote.image for remote in images)
        inputs: list[Problem] = []
        others: list[Problem] = []
        described: list[tuple[Image, Reference]] = []
        for remote, future in [(remote, self._pool.submit(self._describe, remote)) for remote in images]:
            host, name = remote.source.full.domain, str(remote.source)
            try:
                described.append((future.result(), remote.source))
            except InputError as error:
                inputs += error.problems
            except RegistryError as error:
                others.append(pull_problem(host, name, error))
            except (BundleError, Malformed) as error:
                others.append(Problem(name, f"{host} did not send an image: {error}"))
        # in the order of a bundle
        for image, source in sorted(described, key=lambda pair: pair[0].references[0]):
            for blob in (layer.blob for platform in image.platform_images for layer in platform.layers):
                if blob.digest not in without:
                    self._layers.setdefault(blob.digest, _Layer(blob, source, image.label))
        if missing := self._missing():
            free = shutil.disk_usage(self._blobs).free
            if free < missing:
                short = f"{human(free)} are free, the layers need {human(missing)}"
                others.append(Problem(str(self._blobs), short))
        problems = list(dict.fromkeys(inputs + others))
        hint = "fix this, then run the same command again; no layer was fetched"
        if inputs:
            raise InputError(problems, hint=hint)
        if problems:
            raise EngineError(InputError(problems).message, hint=hint)

    def _describe(self, remote: RemoteImage) -> Image:
        source, wanted = remote.source, remote.image
        registry = self._registries.of(source)
        top = registry.manifest(source.path, source.digest or source.tag or "latest")
        layout = Layout(wanted.layout)
        write_atomically(layout.blob_path(top.digest), top.data, sync=False)
        platforms = tuple(dict.fromkeys(map(platform_name, wanted.platforms)))
        repository = Repository(registry, source.path, "", layout)
        image = resolve(repository, IndexEntry(top.descriptor, "", False, ()), wanted.names, platforms).image
        write_layout(wanted.layout, top.descriptor, wanted.references)
        self._blobs = (wanted.layout / "blobs/sha256").resolve()
        return image

    def _missing(self) -> int:
        """Bytes that are still to be fetched, with a margin for the file system; 0 if nothing is missing."""
        blobs = [layer.blob for layer in self._layers.values()]
        missing = sum(max(blob.size - bytes_present(self._blobs, blob.digest), 0) for blob in blobs)
        return missing and missing + _MARGIN

    def _fetch(self, layer: _Layer) -> bool:
        """False if it was there already. The first failure stops the other downloads, and is raised by ``wait``."""
        source, blob = layer.source, layer.blob
        total = sum(layer.blob.size for layer in self._layers.values())

        def received(count: int) -> None:
            with self._lock:
                self._done += count
                self._progress(f"layer {blob.digest}", self._done, total)

        failure: BaseException
        try:
            return Download(self._registries.of(source), source.path, blob, received).into(self._blobs)
        except RegistryError as error:
            problem = pull_problem(source.full.domain, f"{layer.label}: layer {blob.digest}", error)
            failure = EngineError(str(problem), hint="finished downloads are kept: run the same command again")
        except BaseException as error:
            failure = error
        with self._lock:
            self._failure = self._failure or failure
        self._registries.stop()
        raise failure
