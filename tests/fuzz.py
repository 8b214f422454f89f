"""Throws broken and hostile archives at both readers: ``python -m tests.fuzz [SECONDS] [FILE…]``.

From seeds (archives as every tool writes them, and the files given) it makes others: single bytes, members taken out,
doubled, moved, renamed, of another kind or size, JSON with other values, headers with right checksums all the while, so
that what is behind them is reached. With atheris installed (``pip install atheris``) what reaches new code is kept and
changed further; without, every archive is made from a seed.

Of each: inspect, verify and convert by the reader of other tools' archives, inspect and verify by that of bundles. It
fails on any exception but BundleError and InputError, on a file opened for writing outside of the conversion's own
directory, on one archive that takes more than 5 s, and on more than 200 MB of memory beside the fuzzer's own.
"""

from __future__ import annotations

import atexit
import gzip
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mutate import Mutator

SECONDS = 5.0
MEMORY_KIB = 200 << 10
_LARGEST = 4 << 20


def _watched() -> bool:
    """Loads what is fuzzed, with atheris watching; whether it is installed."""
    try:
        import atheris
    except ImportError:
        return False
    with atheris.instrument_imports(include=["generator.bundle"]):
        import generator.bundle.check
        import generator.bundle.foreign.convert
        import generator.bundle.foreign.survey  # noqa: F401
    return True


def seeds(files: Sequence[Path]) -> list[bytes]:
    from generator.images.layout import SourceImage
    from tests.bundle import tars
    from tests.bundle.conftest import bundle
    from tests.bundle.layouts import multi, simple

    found = [tars.tar(files()) for files in tars.SAVED.values()]
    found += [tars.tar(tars.multi()), tars.tar(tars.multi(absent=True)), tars.tar(tars.multi(half=True))]
    found += [gzip.compress(found[0]), gzip.compress(found[2])]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        images = [SourceImage(("fgtest/a:1.0",), simple(path / "a", "a"), ("linux/amd64",)),
                  SourceImage(("fgtest/m:1.0",), multi(path / "m", "m"), ("linux/amd64", "linux/arm64"))]  # fmt: skip
        found.append(bundle(path, images).data)
    return found + [path.read_bytes() for path in files if path.is_file() and path.stat().st_size <= _LARGEST]


def _memory() -> int:
    """The most that this process had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Target:
    """What is fuzzed, and what is watched meanwhile."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
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
            # rmtree works with names relative to a directory that it holds open
            if isinstance(path, (str, bytes)) and b"/" in os.fsencode(path) and os.fsencode(path) != b"/dev/null":
                assert os.path.normpath(os.fsencode(path)).startswith(self._inside), f"{event} {path!r}"

    def __call__(self, data: bytes) -> None:
        from generator.bundle import check
        from generator.bundle.foreign.convert import convert
        from generator.bundle.foreign.recognise import recognise
        from generator.bundle.foreign.report import as_json, rows
        from generator.bundle.foreign.survey import inspect_foreign, verify_foreign
        from generator.errors import BundleError, InputError

        path, output = self._directory / "in.tar", self._directory / "out" / "x.fate.tar"
        output.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        start = time.process_time()
        refused = 0
        self._watching = True
        try:
            for work in ("inspect", "verify", "keep", "raw", "gzip", "bundle", "pipe"):
                self.runs += 1
                try:
                    if work == "bundle":
                        check.inspect(path)
                        check.verify(path)
                        continue
                    with recognise(io.BytesIO(data) if work == "pipe" else path) as found:
                        if found.bundle is not None:
                            check.verify(found.bundle)
                        elif work in ("inspect", "pipe"):
                            seen = inspect_foreign(found)
                            assert str(rows(seen)).isprintable() and json.dumps(as_json(seen))
                        elif work == "verify":
                            verify_foreign(found)
                        else:
                            convert(found, output, layers=work)  # type: ignore[arg-type]
                            check.verify(output)
                except (BundleError, InputError) as error:
                    refused += work != "bundle"
                    assert "\x1b" not in error.render()
        finally:
            self._watching = False
        taken = time.process_time() - start
        self.count += 1
        self.refused += refused > 0
        self.slowest = max(self.slowest, taken)
        left = {one.name for one in output.parent.iterdir()} - {"x.fate.tar", "x.fate.tar.sha256"}
        assert not left, left
        assert taken < SECONDS, f"{taken:.1f} s"
        used = _memory() - self._memory
        assert used < MEMORY_KIB, f"{used:,} KiB of memory"
        if time.monotonic() > self._said + 30:
            self._said = time.monotonic()
            print(self.summary(), flush=True)

    def summary(self) -> str:
        return (
            f"{time.monotonic() - self._start:.0f} s, {self.count:,} archives ({self.refused:,} of them refused), "
            f"read {self.runs:,} times, slowest {self.slowest:.2f} s, {(_memory() - self._memory) >> 10} MiB of memory"
        )


def guided(target: Target, stock: Sequence[bytes], mutator: Mutator, directory: Path, seconds: int) -> None:
    import atheris

    corpus = directory / "corpus"
    corpus.mkdir()
    for number, data in enumerate(stock):
        (corpus / str(number)).write_bytes(data)

    def custom(data: bytes, size: int, seed: int) -> bytes:
        mutator.random.seed(seed)
        return mutator.mutate(data if len(data) > 512 else mutator.random.choice(stock))[:size]

    options = [f"-max_total_time={seconds}", f"-max_len={_LARGEST}", "-timeout=60", f"-artifact_prefix={directory}/",
               "-print_final_stats=1"]  # fmt: skip
    atexit.register(lambda: print(target.summary(), flush=True))
    atheris.Setup([sys.argv[0], *options, str(corpus)], target, custom_mutator=custom)
    atheris.Fuzz()


def plain(target: Target, mutator: Mutator, directory: Path, seconds: int) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutator.fresh()
        try:
            target(data)
        except Exception:
            (directory / "crash.tar").write_bytes(data)
            raise
    print(target.summary())


def main(arguments: Sequence[str]) -> int:
    seconds = int(arguments[0]) if arguments else 60
    watched = _watched()
    stock = seeds([Path(name) for name in arguments[1:]])
    seed = int.from_bytes(os.urandom(4), "big")
    from tests.mutate import Mutator

    mutator = Mutator(stock, random.Random(seed))
    directory = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
    target = Target(directory / "work")
    os.fsync = lambda _number: None  # what is written is thrown away
    print(f"{len(stock)} seeds, random seed {seed}, {seconds} s, a failing archive is kept in {directory}", flush=True)
    for data in stock:
        target(data)
    if watched:
        guided(target, stock, mutator, directory, seconds)
    else:
        plain(target, mutator, directory, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
