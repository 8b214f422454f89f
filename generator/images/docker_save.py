"""``docker save`` as a stream, and as several beside each other: one of them keeps one core of the engine busy."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from generator.bundle.format.archive import CHUNK, Progress, Reads, quiet
from generator.docker.process import Child, Docker, signals_as_exceptions
from generator.errors import EngineError
from generator.images.saved import BadStream

AGAIN = "run the same command again: what is there stays there"
_AT_ONCE = min(4, os.cpu_count() or 1)

T = TypeVar("T")


def read_side_by_side(
    docker: Docker, images: Mapping[str, Sequence[str]], read: Callable[[Reads], T], progress: Progress = quiet
) -> list[T]:
    """What ``read`` makes of each stream; together they have all ``images``.

    ``images``: what to ask for, with its layers from the lowest up. ``read`` runs in threads. The first stream that
    fails ends the others; then raises what ``read`` does, or EngineError.
    """
    saves = Saves(docker, progress)

    def one(names: Sequence[str]) -> T:
        with saves.stream(names) as stream:
            return read(stream)

    with signals_as_exceptions(), ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = []
        try:
            futures += [pool.submit(one, names) for names in shared_out(images, _AT_ONCE)]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            saves.stop()
            raise
    return [future.result() for future in futures]


def shared_out(images: Mapping[str, Sequence[str]], streams: int) -> list[list[str]]:
    """The names in at most ``streams`` groups, with about as many layers in each.

    Images that share more than their lowest layer, which is a distribution, stay together: a stream has it once.
    """
    families: dict[tuple[str, ...], list[str]] = {}
    for name, layers in images.items():
        families.setdefault(tuple(layers[:2]), []).append(name)
    groups: list[tuple[list[str], set[str]]] = [([], set()) for _ in range(min(streams, len(families)))]
    layers_of = {names[0]: {layer for name in names for layer in images[name]} for names in families.values()}
    for names in sorted(families.values(), key=lambda names: -len(layers_of[names[0]])):
        group, has = min(groups, key=lambda one: len(one[1] | layers_of[names[0]]))
        group.extend(names)
        has |= layers_of[names[0]]
    return [group for group, _ in groups]


class Saves:
    """Runs of ``docker save`` whose bytes are counted together."""

    def __init__(self, docker: Docker, progress: Progress = quiet) -> None:
        self._docker, self._progress = docker, progress
        self._lock = threading.Lock()
        self._done = 0
        self._running: list[Child] = []
        self._stopped = False

    @contextlib.contextmanager
    def stream(self, names: Iterable[str]) -> Iterator[Reads]:
        """Images as one stream. After the ``with`` block it is read to its end, and the exit code counts."""
        problem = None
        with self._docker.stream_out(["image", "save", *dict.fromkeys(names)]) as child:
            with self._lock:
                self._running.append(child)
                if self._stopped:
                    child.abort()
            stream = _Counted(child.output, self._count)
            try:
                yield stream
            except BadStream as error:
                problem = error
            while stream.read(CHUNK):
                pass  # what follows the archive's end: docker must not wait for a reader
            done = child.finish()
        # first its own word: a stream that ends in the middle is the engine's failure, and docker says which
        if not done.ok:
            raise self._docker.failure(done, hint=AGAIN) from problem
        if problem is not None:
            raise EngineError(f"what docker save wrote cannot be read: {problem}", hint=AGAIN) from problem

    def stop(self) -> None:
        """End those that run, and each that is about to: their streams end where they are."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.abort()

    def _count(self, size: int) -> None:
        """How much is done; how much there is, nobody knows before."""
        with self._lock:
            self._done += size
            self._progress("docker save", self._done, 0)


class _Counted:
    def __init__(self, stream: Reads, count: Callable[[int], None]) -> None:
        self._stream, self._count = stream, count

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._count(len(data))
        return data
