"""Throws broken and hostile archives at the reader of bundles: ``python -m tests.fuzz [SECONDS] [FILE…]``.

From seeds (bundles, and the files given) it makes others: single bytes, members taken out,
doubled, moved, renamed, of another kind or size, JSON with other values, headers with right checksums all the while, so
that what is behind them is reached.

Each is inspected, verified as a file and as a pipe, extracted from, and verified with a base bundle. It fails on any
exception but BundleError and InputError, on a file opened for writing, on one archive that takes more than 5 s, and on
more than 200 MB of memory beside the fuzzer's own.
"""

from __future__ import annotations

import io
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from generator.bundle import SourceImage, extract, inspect, save, verify
from generator.bundle.bases import open_blobs
from generator.errors import BundleError, InputError
from tests.bundle.layouts import multi, simple
from tests.mutate import Mutator

SECONDS = 5.0
MEMORY_KIB = 200 << 10
_LARGEST = 4 << 20


def seeds(files: Sequence[Path]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        images = [SourceImage(("fgtest/a:1.0",), simple(path / "a", "a"), ("linux/amd64",)),
                  SourceImage(("fgtest/m:1.0",), multi(path / "m", "m"), ("linux/amd64", "linux/arm64"))]  # fmt: skip
        whole = save(images, path / "whole", name="whole", files={"compose.yaml": b"services: {}"}).path
        delta = save(images, path / "delta", name="delta", bases=[inspect(whole).index]).path
        found = [whole.read_bytes(), delta.read_bytes()]
    return found + [path.read_bytes() for path in files if path.is_file() and path.stat().st_size <= _LARGEST]


def _memory() -> int:
    """The most that this process had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Target:
    """What is fuzzed, and what is watched meanwhile."""

    def __init__(self, directory: Path, base: bytes) -> None:
        directory.mkdir()
        self._directory = directory
        self._base = directory / "base.tar"
        self._base.write_bytes(base)
        self._inside = os.fsencode(directory) + b"/"
        self._watching = False
        self._start = self._said = time.monotonic()
        self.count = self.runs = self.refused = 0
        self.slowest = 0.0
        self._memory = _memory()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watching:
            return
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            paths: tuple[object, ...] = args[:1]
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"):
            paths = args[:1]
        elif event in ("os.rename", "os.link"):
            paths = args[:2]
        elif event == "os.symlink":
            paths = args[1:2]
        elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"):
            raise AssertionError(f"{event} {args}")
        else:
            return
        for path in paths:
            if isinstance(path, (str, bytes)) and b"/" in os.fsencode(path) and os.fsencode(path) != b"/dev/null":
                assert os.path.normpath(os.fsencode(path)).startswith(self._inside), f"{event} {path!r}"

    def __call__(self, data: bytes) -> None:
        path = self._directory / "in.tar"
        path.write_bytes(data)
        start = time.process_time()
        refused = 0
        self._watching = True
        try:
            for work in (
                lambda: inspect(path),
                lambda: verify(path),
                lambda: verify(io.BytesIO(data)),
                lambda: extract(path, "compose.yaml"),
                lambda: self._load(path),
            ):
                self.runs += 1
                try:
                    work()
                except (BundleError, InputError) as error:
                    refused += 1
                    assert "\x1b" not in error.render()
        finally:
            self._watching = False
        taken = time.process_time() - start
        self.count += 1
        self.refused += refused > 0
        self.slowest = max(self.slowest, taken)
        assert taken < SECONDS, f"{taken:.1f} s"
        used = _memory() - self._memory
        assert used < MEMORY_KIB, f"{used:,} KiB of memory"
        if time.monotonic() > self._said + 30:
            self._said = time.monotonic()
            print(self.summary(), flush=True)

    def _load(self, path: Path) -> None:
        """Reads it together with a bundle that may be its base."""
        for pair in ((path, self._base), (self._base, path)):
            with open_blobs(pair[0], pair[1:]) as blobs:
                for digest, blob in blobs.blobs.items():
                    if blob.member.role == "layer":
                        list(blobs.chunks(digest))
                    else:
                        blobs.document(digest)

    def summary(self) -> str:
        return (
            f"{time.monotonic() - self._start:.0f} s, {self.count:,} archives ({self.refused:,} of them refused), "
            f"read {self.runs:,} times, slowest {self.slowest:.2f} s, {(_memory() - self._memory) >> 10} MiB of memory"
        )


def main(arguments: Sequence[str]) -> int:
    seconds = int(arguments[0]) if arguments else 60
    stock = seeds([Path(name) for name in arguments[1:]])
    seed = int.from_bytes(os.urandom(4), "big")
    mutator = Mutator(stock, random.Random(seed))
    directory = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
    target = Target(directory / "work", stock[0])
    os.fsync = lambda _number: None  # what is written is thrown away
    print(f"{len(stock)} seeds, random seed {seed}, {seconds} s, a failing archive is kept in {directory}", flush=True)
    for data in stock:
        target(data)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutator.fresh()
        try:
            target(data)
        except Exception:
            (directory / "crash.tar").write_bytes(data)
            raise
    print(target.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
