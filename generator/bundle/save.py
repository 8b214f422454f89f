"""Writes a bundle in one pass over the layouts: every blob is verified, and the file is complete or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from generator.bundle.format import TRAILER, Member, header, members_of, padding, whole_size
from generator.bundle.index import NAME, BaseBundle, BundleIndex, MissingLayer, arrange, small_file
from generator.bundle.reader import inspect
from generator.bundle.signature import SUFFIX
from generator.config import reference
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.files import disk_errors, lock, sync_directory, write_atomically
from generator.images.compression import compression_of
from generator.images.image import read_pieces, sha256
from generator.images.layout import SourceImage, read_all
from generator.images.oci import compressed_with
from generator.images.strictjson import Malformed
from generator.progress import Progress, quiet
from generator.text import printable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from generator.registry.fetch import Fetch

LONGEST_NAME = 238
"""Bytes in the name of a bundle: the checksum's name, while that is written, has 17 more, and a file's at most 255."""
_MARGIN = 1 << 20
_ANOTHER_DISK = "free some space there, or name a file on another disk with -o (FAT32 holds files of up to 4 GiB)"
_BATCH = 32 << 20
"""Bytes that are written before the disk is waited for."""


@dataclass(frozen=True)
class SaveResult:
    """A saved bundle: ``size`` in bytes, ``sha256`` of the whole file in hexadecimal."""

    path: Path
    size: int
    sha256: str
    index: BundleIndex

    @property
    def root(self) -> str:
        return self.index.root

    @property
    def shared(self) -> int:
        """Bytes that would have been written twice or more if each image had its own file."""
        alone = [{blob.digest: blob.size for blob in image.blobs()} for image in self.index.images]
        return sum(sum(sizes.values()) for sizes in alone) - self.index.size


def save(
    images: Sequence[SourceImage],
    output: Path | SupportsWrite[bytes],
    *,
    name: str,
    bases: Sequence[BundleIndex] = (),
    files: Mapping[str, bytes] | None = None,
    prefix: str = "",
    progress: Progress = quiet,
    fetching: Fetch | None = None,
) -> SaveResult:
    """Write ``images`` to ``output`` and, if it is a path, their checksum to ``output`` + ``.sha256``.

    Layers that ``bases`` have are left out. ``files`` are small files that go with them, by name: see
    ``index.open_files``. ``prefix`` is for images with a path of their own below it, such as ``web/api``: another
    registry gets them with it. Layers that ``fetching`` brings are waited for.

    The same layouts give the same bytes, on every host and on every run. Raises InputError (all problems of all images
    at once), BundleError (a layout that is damaged or lies; names image and digest), EngineError (the disk is full or
    fails). Whatever it raises, the file ``output`` is what it was before, or whole and without its checksum. A stream
    raises BrokenPipeError if nobody reads it any more; who reads it can tell whether it is complete, since a bundle has
    an end.
    """
    index, read = _planned(images, name, bases, files or {}, prefix)
    members = members_of(index)
    size = whole_size(members)
    if isinstance(output, Path):
        check_place(output)
        with _output_file(output) as file:
            # what a killed save left of this file is freed now
            _check_space(output, size, fetching.missing_bytes(output.parent) if fetching else 0)
            digest = _write(file, members, size, read, fetching, progress)
        sums = output.with_name(output.name + ".sha256")
        with disk_errors(sums, _ANOTHER_DISK):
            write_atomically(sums, f"{digest}  {output.name}\n")
            sync_directory(sums.parent)
        return SaveResult(output, size, digest, index)
    try:
        digest = _write(output, members, size, read, fetching, progress)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EngineError(
            f"the output cannot be written: {error.strerror}", hint="check the disk or the pipe that it goes to"
        ) from error
    return SaveResult(Path("-"), size, digest, index)


def leave_out(index: BundleIndex, bases: Sequence[BundleIndex]) -> BundleIndex:
    """``index`` without the layers that ``bases`` have, or leave out themselves because their own bases have them.

    Bases that have none of its layers are not named; ``index`` is returned as it is if no base has any.
    """
    layers, used = index.layers(), set()
    users: dict[str, set[str]] = {}
    for base in bases:
        for digest, manifests in base.layers().items():
            if digest in layers:
                users.setdefault(digest, set()).update(manifests)
                used.add(BaseBundle(base.name, base.root))
    missing = tuple(MissingLayer(digest, tuple(sorted(manifests))) for digest, manifests in users.items())
    return arrange(replace(index, bases=tuple(used), missing=missing)) if missing else index


def root_digest(output: Path) -> str | None:
    """The root digest of the bundle at ``output``; "" if it is not a bundle, None if there is no file."""
    if not output.is_file():
        # a pipe would be waited for
        return None
    try:
        return inspect(output).index.root
    except BundleError:
        return ""
    except InputError:
        return None


Read = Callable[[Member, bool], Iterator[bytes]]
"""The verified content of a member, in pieces; BundleError at its end if it is not what its digest says.

With True its digest was checked a moment ago."""


def _planned(
    images: Sequence[SourceImage], name: str, bases: Sequence[BundleIndex], files: Mapping[str, bytes], prefix: str
) -> tuple[BundleIndex, Read]:
    """What is saved, and what reads it: from layouts, or from memory (a rewritten index, a small file)."""
    problems = []
    if not NAME.fullmatch(name):
        problems.append(Problem("", f"{name!r} is not a valid bundle name (letters, digits, '.', '_', '-')"))
    if not images:
        problems.append(Problem("", "a bundle needs at least one image"))
    resolved = read_all(images, problems)
    try:
        chosen = tuple(image.image for image in resolved)
        small_files = tuple(small_file(*file) for file in files.items())
        full = reference.repository(reference.normalize(f"{prefix}/x")).rpartition("/")[0] if prefix else ""
        index = BundleIndex(name, chosen, files=small_files, prefix=full)
        # without it where no image has a path of its own below it
        paths = any("/" in index.own_name(name) for image in chosen for name in image.references)
        index = arrange(index if paths else replace(index, prefix=""))
    except Malformed as error:
        raise InputError(Problem("", f"cannot make a bundle of these images: {error}")) from None
    in_memory = {sha256(data): data for data in files.values()}
    stored = {}
    for image in resolved:
        in_memory.update(image.rewritten)
        stored.update({blob.digest: (image.source, blob) for blob in image.image.blobs()})

    def read(member: Member, hashed: bool) -> Iterator[bytes]:
        content = in_memory.get(member.digest, member.content)
        if content is not None:
            yield content
            return
        (source, blob), what = stored[member.digest], f"{', '.join(member.images)}: {member.role}"
        for number, chunk in enumerate(read_pieces(source, blob, what, hashed=hashed)):
            if number == 0 and member.role == "layer" and compression_of(chunk) != compressed_with(blob.media_type):
                raise BundleError(f"{what} {blob.digest} is not compressed as its media type says", hint=source.hint)
            yield chunk

    return leave_out(index, bases), read


def _write(
    file: SupportsWrite[bytes], members: Sequence[Member], size: int, read: Read, fetching: Fetch | None, show: Progress
) -> str:
    """Writes all members, ``size`` bytes; returns their sha256, in hexadecimal."""
    whole = hashlib.sha256()
    done = 0

    def take(data: bytes) -> None:
        whole.update(data)
        file.write(data)

    # in another thread, one piece behind the reading (hashlib and writes let other threads run)
    with ThreadPoolExecutor(1) as pool:
        behind = pool.submit(take, b"")

        def put(data: bytes) -> None:
            nonlocal done, behind
            behind.result()
            behind = pool.submit(take, data)
            done += len(data)

        for member in members:
            put(header(member.name, member.size))
            # while a layer is waited for, errors of the output are noticed
            hashed = fetching is not None and member.role == "layer" and fetching.wait(member.digest, lambda: put(b""))
            for chunk in read(member, hashed):
                put(chunk)
                show(member.label, done, size)
            put(bytes(padding(member.size)))
        put(TRAILER)
        behind.result()
    show("", done, size)
    return whole.hexdigest()


def check_place(output: Path) -> None:
    """Raises InputError if no file can be written to ``output``."""
    # the name is written into the checksum, whose own name is longer
    if not output.name.isprintable() or len(output.name.encode()) > LONGEST_NAME:
        expected = f"expected a file name of printable characters, at most {LONGEST_NAME} bytes in UTF-8"
        raise InputError(Problem("-o", f"{printable(output.name[:80])}: {expected}"), hint="-o NAME.tar")
    if output.is_dir():
        raise InputError(Problem("-o", f"{output} is a directory"), hint=f"-o {output}/NAME.tar")
    if output.exists() and not output.is_file():
        # the rename at the end would take its place
        problem = Problem("-o", f"{output} is a pipe or a device, not a file")
        raise InputError(problem, hint="-o - writes to standard output, into any pipe")
    if not output.parent.is_dir():
        why = "" if output.parent.exists() else ": it does not exist"
        hint = f"mkdir -p {shlex.quote(str(output.parent))}"
        raise InputError(Problem("-o", f"{output.parent} is not a directory{why}"), hint=hint)


def _check_space(output: Path, size: int, fetched: int) -> None:
    """Raises EngineError if there is no room for ``size`` bytes and for the layers ``fetched`` onto the same disk."""
    free = shutil.disk_usage(output.parent).free
    if free < size + _MARGIN + fetched:
        layers = f", and the layers that are fetched for it {fetched:,}" if fetched else ""
        raise EngineError(
            f"{output.parent} has {free:,} bytes free, the bundle needs {size + _MARGIN:,}{layers}",
            hint="free some space there, or name a file on another disk with -o",
        )


@contextlib.contextmanager
def _output_file(output: Path) -> Iterator[SyncedFile]:
    """A hidden file beside ``output`` that takes its place at the end of the block; on any error it is removed.

    Checksum and signature of an older file are deleted before the rename, so they never sit next to a bundle they
    don't match. A killed run leaves only the hidden file, and the next one writes over it. Raises EngineError if the
    disk is full or fails, or another fategen writes ``output``.
    """
    part = output.with_name(f".{output.name}.part")

    def busy() -> None:
        message = f"{output} is being written by another fategen"
        raise EngineError(message, hint="wait for it, or name another file with -o")

    with disk_errors(output, _ANOTHER_DISK):
        with lock(part, busy) as locked:
            try:
                locked.truncate(0)
                with ThreadPoolExecutor(1) as thread:
                    file = SyncedFile(locked.fileno(), thread)
                    yield file
                    file.finish()
                for suffix in (".sha256", SUFFIX):
                    output.with_name(output.name + suffix).unlink(missing_ok=True)
                part.replace(output)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        sync_directory(output.parent)


class SyncedFile:
    """An open file that ``thread`` has brought to the disk while more is written. Methods raise OSError.

    So little is left for the end, no other program's pages have to leave the memory for it, and a disk that is full or
    fails is noticed early.
    """

    def __init__(self, number: int, thread: ThreadPoolExecutor) -> None:
        self._number, self._thread, self._unsynced = number, thread, 0
        self._syncing: Future[None] = thread.submit(lambda: None)

    def write(self, data: bytes, /) -> None:
        """Write the next bytes; they are on the disk after ``finish``. Raises any error from earlier ones too."""
        if self._syncing.done():
            self._syncing.result()
        left = memoryview(data)
        while left:
            left = left[os.write(self._number, left) :]
        self._unsynced += len(data)
        if self._unsynced >= _BATCH:
            self._syncing.result()
            self._syncing, self._unsynced = self._thread.submit(self._sync), 0

    def finish(self) -> None:
        """Returns when everything is on the disk."""
        self._syncing.result()
        os.fsync(self._number)

    def _sync(self) -> None:
        os.fdatasync(self._number)
        os.posix_fadvise(self._number, 0, 0, os.POSIX_FADV_DONTNEED)
