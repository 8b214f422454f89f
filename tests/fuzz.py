"""Throws broken and hostile archives at the reader of bundles: ``python -m tests.fuzz [SECONDS] [FILE…]``.

From seeds (bundles, and the files given) it makes others: single bytes, members taken out, doubled, moved, renamed, of
another kind or size, JSON with other values, headers with right checksums all the while, and some with right digests
too, so that what is behind them is reached.

Each is inspected, verified as a file and as a pipe, extracted from, and verified with a base bundle. It fails on any
exception but BundleError and InputError, on a file opened for writing, on one archive that takes more than 5 s, and on
more than 200 MB of memory beside the fuzzer's own.
"""

from __future__ import annotations

import contextlib
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
from typing import Any

from generator.bundle import SourceImage, extract, inspect, save, verify
from generator.bundle.bases import open_blobs
from generator.bundle.format import members_of
from generator.errors import BundleError, InputError
from generator.images.strictjson import encode
from tests.bundle.conftest import Made, add_up, descriptors, forged, rewritten
from tests.bundle.layouts import image, multi, sha256
from tests.bundle.tars import sealed
from tests.bundle.test_hostile_archives import MEMBERS
from tests.bundle.test_reader import RAW

SECONDS = 5.0
MEMORY_KIB = 200 << 10
_LARGEST = 4 << 20


class Mutator:
    """Makes an archive of another one: single bytes, members, headers and JSON are wrong, the checksums right."""

    def __init__(self, stock: Sequence[bytes], random: random.Random) -> None:
        self._stock, self.random = list(stock), random
        self._hostile, self._documents = list(MEMBERS.values()), [change for change, _ in RAW.values()]

    def fresh(self) -> bytes:
        data = self.random.choice(self._stock)
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            data = self._once(data)
        return data

    def _once(self, data: bytes) -> bytes:
        rng = self.random
        kind = rng.randrange(13)
        if kind == 0:
            return self._bytes(data)
        if kind > 9:
            return self._forged(data)
        if kind == 1:
            return data[: rng.randrange(len(data) + 1)]
        members = split(data)
        if not members:
            return self._bytes(data)
        at = rng.randrange(len(members))
        if kind == 2:
            del members[at]
        elif kind == 3:
            members.insert(rng.randrange(len(members) + 1), members[at])
        elif kind == 4:
            members.insert(at, rng.choice(self._hostile))
        elif kind == 5:
            members.insert(at, rng.choice(split(rng.choice(self._stock)) or members))
        elif kind == 6:
            members[at] = self._header(members[at])
        elif kind == 7:
            members[at] = members[at][:512] + self._bytes(members[at][512:])
        else:
            members = self._document(members)
        return b"".join(members)

    def _bytes(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.random.choice((1, 2, 16))):
            if changed:
                changed[self.random.randrange(len(changed))] = self.random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x2F, 0x2E))
        return bytes(changed)

    def _header(self, member: bytes) -> bytes:
        """Another name, kind, size or link, with a right checksum."""
        rng, block = self.random, bytearray(member[:512].ljust(512, b"\0"))
        field = rng.randrange(5)
        if field == 0:
            block[156:157] = rng.choice((b"0", b"1", b"2", b"3", b"5", b"6", b"L", b"K", b"x", b"g", b"S", b"\0", b"7"))
        elif field == 1:
            sizes = (b"%011o\0" % rng.randrange(1 << rng.randrange(34)), b"\x80" + rng.randbytes(11), rng.randbytes(12))
            block[124:136] = rng.choice(sizes)
        elif field == 2:
            name = rng.choice((b"../x", b"/x", b"./manifest.json", b"index.json", b"oci-layout", b"blobs", b"a/../b"))
            block[0:100] = name.ljust(100, b"\0")
        elif field == 3:
            block[157:257] = rng.choice((b"../x", b"manifest.json", b"x", b"../a1/layer.tar")).ljust(100, b"\0")
        else:
            block[rng.randrange(512)] = rng.randrange(256)
        return sealed(bytes(block)) + member[512:]

    def _document(self, members: list[bytes]) -> list[bytes]:
        """Another value somewhere in a JSON document, or another document in its place; the size is right."""
        places = [i for i, member in enumerate(members) if member[512:513] in (b"{", b"[")]
        if not places:
            return members
        at = self.random.choice(places)
        right = members[at][512:].rstrip(b"\0")
        try:
            value = json.loads(right)
        except (ValueError, RecursionError):
            return members
        # as ``encode``, which refuses the infinity that a flipped digit makes of a number
        content = json.dumps(self._value(value), sort_keys=True, separators=(",", ":")).encode("ascii")
        if self.random.random() < 0.1:
            content = self.random.choice(self._documents)(right)
        head = members[at][:124] + b"%011o\0" % len(content) + members[at][136:512]
        members[at] = sealed(head) + content + bytes(-len(content) % 512)
        return members

    def _forged(self, data: bytes) -> bytes:
        """A bundle with another value in its index or in a document, of which every digest and total is right."""
        try:
            found = inspect(io.BytesIO(data)).index
            made = Made(data, found, members_of(found))
            index, *others = made.members
            member = self.random.choice([index, *(m for m in others if m.role in ("index", "manifest", "config"))])
            value = self._value(json.loads(made.content(member.name)))
            content = encode(value)
        except (BundleError, ValueError, RecursionError):
            return data

        def change(document: Any) -> None:
            if member is index and isinstance(value, dict):
                document.clear()
                document.update(value)
            with contextlib.suppress(KeyError, TypeError):
                for blob in descriptors(document):
                    if blob["digest"] == member.digest:
                        blob.update(digest=sha256(content), size=len(content))
                add_up(document)

        try:
            return forged(made, change, {sha256(content): content})
        except (BundleError, KeyError):
            # no archive follows from this index, or the blobs for it are not here
            return rewritten(made, change)

    def _value(self, value: object) -> object:
        rng = self.random
        if isinstance(value, dict) and value and rng.random() < 0.9:
            key = rng.choice(list(value))
            if rng.random() < 0.1:
                return {k: v for k, v in value.items() if k != key}
            return {**value, key: self._value(value[key])}
        if isinstance(value, list) and value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            return rng.choice((value[:at] + value[at + 1 :], [*value, value[at]],
                               [*value[:at], self._value(value[at]), *value[at + 1 :]]))  # fmt: skip
        plain = (None, True, -1, 0, 1 << 70, 1.5, "", "x", "../x", "sha256:" + "0" * 64, "\x1b")
        return rng.choice((*plain, [], {}, [None], {"a": 1}))


def split(data: bytes) -> list[bytes]:
    """The members of a tar as they stand, the end mark as the last; empty where it is none."""
    found, at = [], 0
    while at + 512 <= len(data) and data[at : at + 512].strip(b"\0"):
        try:
            size = int(data[at + 124 : at + 135].strip(b"\0 ") or b"0", 8)
        except ValueError:
            return []
        end = at + 512 + size + -size % 512
        found.append(data[at:end])
        at = end
    return [*found, data[at:]] if found else []


def seeds(files: Sequence[Path]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        images = [image(path, "a"),
                  SourceImage(("fgtest/m:1.0",), multi(path / "m", "m"), ("linux/amd64", "linux/arm64"))]  # fmt: skip
        whole = save(images, path / "whole", name="whole", files={"compose.yaml": b"services: {}"}).path
        delta = save(images, path / "delta", name="delta", bases=[inspect(whole).index]).path
        found = [whole.read_bytes(), delta.read_bytes()]
    return found + [path.read_bytes() for path in files if path.is_file() and path.stat().st_size <= _LARGEST]


def _memory() -> int:
    """The most that this process had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


WRITTEN = {
    **dict.fromkeys(("open", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"), slice(1)),
    **dict.fromkeys(("os.rename", "os.link"), slice(2)),
    "os.symlink": slice(1, 2),
}
"""Audit event → which of its arguments are paths that it writes to."""


class Target:
    """What is fuzzed, and what is watched meanwhile."""

    def __init__(self, directory: Path, base: bytes) -> None:
        directory.mkdir()
        self._directory = directory
        self._base = directory / "base.tar"
        self._base.write_bytes(base)
        self._watching = False
        self._start = self._said = time.monotonic()
        self.count = self.refused = 0
        self._memory = _memory()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watching:
            return
        assert event not in ("subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"), f"{event} {args}"
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if event == "open" and not (isinstance(args[2], int) and args[2] & writes):
            return
        for path in args[WRITTEN.get(event, slice(0))]:
            if isinstance(path, (str, bytes)) and os.fsdecode(path) != "/dev/null":
                place = os.path.normpath(Path(os.fsdecode(path)).absolute())
                assert place.startswith(f"{self._directory}/"), f"{event} {path!r}"

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
                for bundle, member in blobs.blobs.values():
                    list(bundle.chunks(member))

    def summary(self) -> str:
        return f"{time.monotonic() - self._start:.0f} s, {self.count:,} archives ({self.refused:,} of them refused)"


def main(arguments: Sequence[str]) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1:])
