"""Fetches images from registries into OCI layouts, as bake exports them: one directory each, one for all their blobs.

First come all manifests and configs, so that all problems of all images are told at once and nothing is fetched in
vain; then the layers, several at a time, while a bundle is written of those that have come. What is there already,
from bake or an earlier run, is not asked for.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from generator.config.reference import Reference, parse_reference
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import write_atomically
from generator.images import reference
from generator.images.image import Image, resolve
from generator.images.layout import Layout, SourceImage, write_layout
from generator.images.oci import INDEX_TYPES, MANIFEST_TYPES, Child, Descriptor, platform_name
from generator.images.strictjson import Malformed
from generator.plan.plan import Target
from generator.progress import Progress, quiet
from generator.registry.client import Registries, Registry, host_of
from generator.registry.explain import pull_problem
from generator.registry.http import Refusal
from generator.registry.session import Stopped
from generator.registry.transfer import bytes_present
from generator.text import human

_MARGIN = 1 << 20
_TICK = 0.2
"""Seconds between two looks at who waits for a layer."""


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
        source = target.bases[0].reference if target.kind == "third-party" else target.tags[0]
        wanted = tuple(platform for platform in platforms if platform in target.platforms)
        yield RemoteImage(parse_reference(source), SourceImage(target.tags, layout(target.name), wanted))


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
            name = reference.normalise(f"{source.name}:{source.tag or 'latest'}")
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
    come when the first is asked for, in the order in which a bundle holds them.

    Raises InputError or EngineError with every problem of every image (not there, not for a platform, no right, no
    room), and then has fetched no layer; EngineError, with image, digest and registry, for a registry that fails later
    or lies. What has come is kept for the next run, which needs ``registries`` of its own: these were ended.
    """
    pool = ThreadPoolExecutor(at_once)
    fetch = Fetch(pool, registries, images, progress)
    try:
        fetch.describe(without)
        yield fetch
        fetch.finish()
    except BaseException as error:
        fetch.stop()
        # Ctrl-C does not wait for a registry that says nothing
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


@dataclass(frozen=True)
class _Layer:
    blob: Descriptor
    source: Reference
    label: str
    directory: Path


class Fetch:
    """Images whose layers are fetched into their layouts; see ``fetching``."""

    def __init__(
        self, pool: ThreadPoolExecutor, registries: Registries, remote: Sequence[RemoteImage], progress: Progress
    ) -> None:
        self.images = tuple(image.image for image in remote)
        self._pool, self._registries, self._remote, self._progress = pool, registries, remote, progress
        self._layers: dict[str, _Layer] = {}
        self._futures: dict[str, Future[bool]] = {}
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False
        self._done = self._total = 0

    def wait(self, digest: str, alive: Callable[[], object]) -> bool:
        """Returns when this layer is there: whether it was fetched, and so hashed, just now.

        ``alive`` is called some times a second meanwhile, and ends it by raising. Raises what stopped the fetching.
        """
        self._begin()
        future = self._futures.get(digest)
        if future is None:
            return False
        while not wait([future], _TICK).done:
            alive()
        self._raise_failure()
        return future.result()

    def finish(self) -> None:
        """Returns when every layer is there. Raises what stopped the fetching."""
        self._begin()
        wait(self._futures.values())
        self._raise_failure()

    def stop(self) -> None:
        self._stopped = True
        for future in self._futures.values():
            future.cancel()
        # or a registry that says nothing would be waited for
        self._registries.stop()

    def missing_bytes(self, directory: Path) -> int:
        """Bytes that are yet to come onto the disk which this directory is on."""
        disk = directory.stat().st_dev
        return sum(size for place, size in self._missing().items() if place.stat().st_dev == disk)

    def after(self, progress: Progress) -> Progress:
        """Progress of whoever uses the layers, shown from when all are there: until then it is that of the fetching."""

        def show(what: str, done: int, total: int) -> None:
            if len(self._futures) == len(self._layers) and all(future.done() for future in self._futures.values()):
                progress(what, done, total)

        return show

    def describe(self, without: frozenset[str]) -> None:
        """Fetches what describes the images."""
        inputs: list[Problem] = []
        others: list[Problem] = []
        described: list[tuple[RemoteImage, Image]] = []
        for remote, future in [(remote, self._pool.submit(self._describe, remote)) for remote in self._remote]:
            try:
                described.append((remote, future.result()))
            except InputError as error:
                inputs += error.problems
            except Refusal as refusal:
                others.append(pull_problem(host_of(remote.source), str(remote.source), refusal))
            except (BundleError, Malformed) as error:
                others.append(Problem(str(remote.source), f"{host_of(remote.source)} did not send an image: {error}"))
        # in the order of a bundle; the blobs of several layouts are one directory
        for remote, image in sorted(described, key=lambda pair: pair[1].references[0]):
            directory = (remote.image.layout / "blobs/sha256").resolve()
            for blob in (layer.blob for platform_image in image.platform_images for layer in platform_image.layers):
                if blob.digest not in without:
                    self._layers.setdefault(blob.digest, _Layer(blob, remote.source, image.label, directory))
        others += self._no_room()
        problems = list(dict.fromkeys(inputs + others))
        hint = "fix this, then run the same command again; no layer was fetched"
        if inputs:
            raise InputError(problems, hint=hint)
        if problems:
            raise EngineError(InputError(problems).message, hint=hint)

    def _describe(self, remote: RemoteImage) -> Image:
        if self._stopped:
            raise Stopped
        source, wanted = remote.source, remote.image
        registry = self._registries.of(source)
        top = registry.manifest(source.path, source.digest or source.tag or "latest")
        descriptor = Descriptor(top.digest, len(top.data), top.media_type)
        blobs = _FetchedBlobs(registry, source.path, Layout(wanted.layout))
        blobs.keep(descriptor, top.data)
        names = tuple(sorted(map(reference.normalise, wanted.references)))
        platforms = tuple(dict.fromkeys(map(platform_name, wanted.platforms)))
        if not platforms:
            raise InputError(Problem(reference.short(names[0]), "no platform is given"))
        image = resolve(blobs, Child(descriptor, "", False, ()), names, platforms).image
        write_layout(wanted.layout, descriptor, wanted.references)
        return image

    def _begin(self) -> None:
        """When the first layer is asked for: whoever takes them has looked by then whether it can."""
        if not self._futures:
            self._total = sum(layer.blob.size for layer in self._layers.values())
            self._futures = {digest: self._pool.submit(self._fetch, layer) for digest, layer in self._layers.items()}

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _no_room(self) -> list[Problem]:
        missing = self._missing()
        free = {directory: shutil.disk_usage(directory).free for directory in missing}
        return [
            Problem(str(directory), f"{human(free[directory])} are free, the layers need {human(size)}")
            for directory, size in missing.items()
            if free[directory] < size
        ]

    def _missing(self) -> dict[Path, int]:
        """Bytes that are yet to come, by the directory that they come into."""
        missing: dict[Path, int] = {}
        for layer in self._layers.values():
            size = layer.blob.size - bytes_present(layer.directory, layer.blob.digest)
            if size > 0:
                missing[layer.directory] = missing.get(layer.directory, _MARGIN) + size
        return missing

    def _fetch(self, layer: _Layer) -> bool:
        """Whether it was asked for; not where it was there, or where it failed or was stopped. The first failure stops
        the others, and is the one to tell."""
        source, blob = layer.source, layer.blob

        def received(count: int) -> None:
            with self._lock:
                if self._stopped:
                    raise Stopped
                self._done += count
                self._progress(f"layer {blob.digest}", self._done, self._total)

        failure: BaseException
        try:
            return self._registries.of(source).fetch_blob(
                source.path, blob.digest, blob.size, layer.directory, received
            )
        except Stopped:
            return False
        except Refusal as refusal:
            problem = pull_problem(host_of(source), f"{layer.label}: layer {blob.digest}", refusal)
            failure = EngineError(str(problem), hint="finished downloads are kept: run the same command again")
        except BaseException as error:
            failure = error
        with self._lock:
            self._failure = self._failure or failure
        self.stop()
        return False


@dataclass(frozen=True)
class _FetchedBlobs:
    """What describes an image: in its layout, and fetched where it is not there yet."""

    registry: Registry
    path: str
    layout: Layout
    hint: str = ""

    def open(self, blob: Descriptor, /) -> IO[bytes]:
        with suppress(OSError):
            data = self.layout.blob_path(blob.digest).read_bytes()
            if "sha256:" + hashlib.sha256(data).hexdigest() == blob.digest:
                return self.layout.open(blob)
        if blob.media_type in INDEX_TYPES | MANIFEST_TYPES:
            data = self.registry.manifest(self.path, blob.digest).data
        else:
            data = self.registry.small_blob(self.path, blob.digest)
        self.keep(blob, data)
        return self.layout.open(blob)

    def keep(self, blob: Descriptor, data: bytes) -> None:
        write_atomically(self.layout.blob_path(blob.digest), data, sync=False)
