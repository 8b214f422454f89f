"""Fills OCI layouts from registries, as bake's export fills them: one directory for an image, one for all their blobs.

First every manifest and config, so that all problems of all images are told at once and nothing is brought in vain;
then the layers, several at a time, while somebody may write those that have come. What is there already, from bake or
an earlier run, is not asked for.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from generator.bake.layouts import empty_layout
from generator.bundle.format.model import BundleIndex
from generator.config.reference import Reference
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.images import reference
from generator.images.layout import SourceImage, read, write_layout
from generator.images.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    parse_index,
    parse_manifest,
    platform_name,
)
from generator.images.strictjson import LIMIT, Malformed
from generator.images.wanted import WantedImage
from generator.progress import Progress, quiet
from generator.registry.client import Manifest, Registries, Registry, host_of
from generator.registry.download import bytes_present
from generator.registry.explain import pull_problem
from generator.registry.http import Refusal
from generator.registry.session import Stopped
from generator.text import human

AT_ONCE = 6
"""Blobs that are fetched side by side."""
_MARGIN = 1 << 20
_TICK = 0.2
"""Seconds between two looks at who waits for a layer."""


@contextmanager
def fetching(
    images: Sequence[WantedImage],
    state: Path,
    registries: Registries,
    *,
    bases: Sequence[BundleIndex] = (),
    progress: Progress | None = None,
) -> Iterator[Coming]:
    """Brings ``images`` into layouts below ``state``, as bake does; what it gives is for ``save``.

    What describes them is there when the block begins, and every layer when it has ended. When the first is asked for,
    they begin to come, in the order in which a bundle holds them, so that one can be written at the same time. Layers
    that ``bases`` have are not brought: a delta leaves them out.

    Raises InputError or EngineError with every problem of every image (not there, not for a platform, no right, no
    room), and then has brought no layer; EngineError, with image, digest and registry, for a registry that fails later
    or lies. What has come is kept for the next run, which needs ``registries`` of its own: these were ended.
    """
    without = frozenset(blob for base in bases for blob in base.blobs())
    sources = {i: SourceImage(i.references, empty_layout(state / "layouts", i.directory), i.platforms) for i in images}
    pool = ThreadPoolExecutor(AT_ONCE)
    coming = Coming(pool, registries, tuple(sources.values()), without, progress or quiet)
    try:
        coming._describe_all(sources)
        yield coming
        coming.finish()
    except BaseException as error:
        coming._stop()
        # who wants to leave does not wait for a registry that says nothing
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


@dataclass(frozen=True)
class _Layer:
    blob: Descriptor
    image: WantedImage
    label: str
    blobs: Path


class Coming:
    """``images`` whose layers are on their way into their layouts; ``fetching`` makes it."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        registries: Registries,
        images: tuple[SourceImage, ...],
        without: frozenset[str],
        progress: Progress,
    ) -> None:
        self.images = images
        self._pool, self._registries, self._without, self._progress = pool, registries, without, progress
        self._layers: dict[str, _Layer] = {}
        self._coming: dict[str, Future[bool]] = {}
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._stopped = False
        self._done = self._total = 0

    def wait(self, digest: str, alive: Callable[[], object]) -> bool:
        """Returns when this layer is there, as what is not fetched is; whether it came, and so was hashed just now.

        ``alive`` is called some times a second meanwhile, and ends it by raising. Raises what stopped the fetching.
        """
        self._begin()
        coming = self._coming.get(digest)
        if coming is None:
            return False
        while not wait([coming], _TICK).done:
            alive()
        self._raise_failure()
        return coming.result()

    def finish(self) -> None:
        """Returns when every layer is there. Raises what stopped the fetching."""
        self._begin()
        wait(self._coming.values())
        self._raise_failure()

    def missing_bytes(self, directory: Path) -> int:
        """Bytes that are yet to come onto the disk which this directory is on."""
        disk = directory.stat().st_dev
        return sum(size for place, size in self._yet_to_come().items() if place.stat().st_dev == disk)

    def after(self, progress: Progress) -> Progress:
        """Progress of who uses the layers, told from when all are there: until then it is that of the fetching."""

        def told(what: str, done: int, total: int) -> None:
            if len(self._coming) == len(self._layers) and all(future.done() for future in self._coming.values()):
                progress(what, done, total)

        return told

    def _describe_all(self, images: Mapping[WantedImage, SourceImage]) -> None:
        inputs: list[Problem] = []
        others: list[Problem] = []
        found: list[tuple[str, list[_Layer]]] = []
        for image, future in [(image, self._pool.submit(self._describe, image, own)) for image, own in images.items()]:
            try:
                found.append(future.result())
            except InputError as error:
                inputs += error.problems
            except Refusal as refusal:
                others.append(pull_problem(host_of(image.source), str(image.source), refusal))
            except (BundleError, Malformed) as error:
                others.append(Problem(str(image.source), f"{host_of(image.source)} sends no image: {error}"))
        # in the order of a bundle; the blobs of several layouts are one directory
        for _, layers in sorted(found, key=lambda one: one[0]):
            for layer in layers:
                self._layers.setdefault(layer.blob.digest, layer)
        others += self._room()
        problems = list(dict.fromkeys(inputs + others))
        hint = "correct that, then run the same command again; no layer was fetched"
        if inputs:
            raise InputError(problems, hint=hint)
        if problems:
            raise EngineError(InputError(problems).message, hint=hint)

    def _begin(self) -> None:
        """When the first layer is asked for: whoever takes them has looked by then whether it can."""
        if not self._coming:
            self._total = sum(layer.blob.size for layer in self._layers.values())
            self._coming = {digest: self._pool.submit(self._bring, layer) for digest, layer in self._layers.items()}

    def _stop(self) -> None:
        self._stopped = True
        for future in self._coming.values():
            future.cancel()
        # or a registry that says nothing would be waited for
        self._registries.stop()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _room(self) -> list[Problem]:
        lacking = self._yet_to_come()
        free = {directory: shutil.disk_usage(directory).free for directory in lacking}
        return [
            Problem(str(directory), f"{human(free[directory])} are free, the layers need {human(size)}")
            for directory, size in lacking.items()
            if free[directory] < size
        ]

    def _yet_to_come(self) -> dict[Path, int]:
        """Bytes that are yet to come, by the directory that they come into."""
        found: dict[Path, int] = {}
        for layer in self._layers.values():
            more = layer.blob.size - bytes_present(layer.blobs, layer.blob.digest)
            if more > 0:
                found[layer.blobs] = found.get(layer.blobs, _MARGIN) + more
        return found

    def _describe(self, image: WantedImage, own: SourceImage) -> tuple[str, list[_Layer]]:
        """Brings what describes an image, and gives its first full name, by which a bundle orders, and its layers."""
        if self._stopped:
            raise Stopped
        registry = self._registries.of(image.source)
        blobs = own.layout / "blobs" / "sha256"
        top = registry.manifest(image.source.path, image.source.digest or image.source.tag or "latest")
        _put(blobs, top)
        described = Descriptor(top.digest, len(top.data), top.media_type)
        manifests = [(described, top.data)]
        if top.media_type in INDEX_TYPES:
            wanted = {platform_name(platform) for platform in image.platforms}
            children = [
                child.descriptor
                for child in parse_index(top.data, top.media_type)
                if child.platform in wanted and not child.attestation and child.descriptor.media_type in MANIFEST_TYPES
            ]
            manifests = [(child, self._child(registry, image.source, blobs, child)) for child in children]
        for manifest, data in manifests:
            if manifest.media_type in MANIFEST_TYPES:
                config = parse_manifest(data, manifest.media_type).config
                if config.size > LIMIT:
                    raise Malformed(f"config {config.digest} has {config.size:,} bytes, at most {LIMIT:,}")
                registry.fetch_blob(image.source.path, config.digest, config.size, blobs)
        write_layout(own.layout, described, own.references)
        found = read(own).image
        label = reference.short(found.references[0])
        layers = (layer.blob for variant in found.variants for layer in variant.layers)
        needed = [_Layer(blob, image, label, blobs.resolve()) for blob in layers if blob.digest not in self._without]
        return found.references[0], needed

    def _child(self, registry: Registry, source: Reference, blobs: Path, child: Descriptor) -> bytes:
        with suppress(OSError):
            data = (blobs / child.digest.partition(":")[2]).read_bytes()
            if "sha256:" + hashlib.sha256(data).hexdigest() == child.digest:
                return data
        document = registry.manifest(source.path, child.digest)
        _put(blobs, document)
        return document.data

    def _bring(self, layer: _Layer) -> bool:
        """Whether it came, and was hashed on its way; not where it was there, or where it failed or was stopped."""
        source, blob = layer.image.source, layer.blob

        def received(count: int) -> None:
            with self._lock:
                if self._stopped:
                    raise Stopped
                self._done += count
                self._progress(f"layer {blob.digest}", self._done, self._total)

        try:
            registry = self._registries.of(source)
            return registry.fetch_blob(source.path, blob.digest, blob.size, layer.blobs, received)
        except Refusal as refusal:
            problem = pull_problem(host_of(source), f"{layer.label}: layer {blob.digest}", refusal)
            self._fail(EngineError(str(problem), hint="what has come is kept: run the same command again"))
        except Stopped:
            pass
        except BaseException as error:
            self._fail(error)
        return False

    def _fail(self, error: BaseException) -> None:
        """The first failure is the one to tell; it stops the others."""
        with self._lock:
            self._failure = self._failure or error
        self._stop()


def _put(blobs: Path, document: Manifest) -> None:
    path = blobs / document.digest.partition(":")[2]
    _write(path, document.data)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{threading.get_ident()}.part")
    part.write_bytes(data)
    part.replace(path)
