"""Writes a bundle: one pass over the layouts, no blob that was not hashed, the file whole or not at all.

The file is written beside its final name under a hidden one, forced to the disk and renamed. A killed run leaves the
hidden file only, and the next save of the same bundle writes over it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from generator.bundle.delta import leave_out
from generator.bundle.disk_file import DiskFile
from generator.bundle.format.archive import CHUNK, TRAILER, Progress, Writes, header, padding, quiet
from generator.bundle.format.base import NAME
from generator.bundle.format.members import Contents, Expected, contents
from generator.bundle.format.model import BundleIndex, arrange
from generator.bundle.format.small_files import small_file
from generator.bundle.output import check_output, disk_errors, forget, part_file, sync_directory, write_sums
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.images.inflate import compressed
from generator.images.layout import Found, SourceImage, blob_path, build_again, read_all
from generator.images.oci import compressed_with
from generator.images.strictjson import Malformed


class Arriving(Protocol):
    """Layers that are on their way into the layouts: ``from_registry.Coming``, which says what these do."""

    def ready(self, digest: str, alive: Callable[[], object], /) -> bool: ...
    def lacking(self, directory: Path, /) -> int: ...


class _Here:
    """Nothing is on its way."""

    def ready(self, digest: str, alive: Callable[[], object], /) -> bool:
        return False

    def lacking(self, directory: Path, /) -> int:
        return 0


@dataclass(frozen=True)
class SaveResult:
    """A saved bundle: ``size`` in bytes, ``sha256`` of the whole file in hexadecimal, ``root`` as ``sha256:…``.

    ``shared`` is what would have been written twice or more if each image had its own file, in bytes.
    """

    path: Path
    size: int
    sha256: str
    root: str
    index: BundleIndex
    shared: int


def save(
    images: Sequence[SourceImage],
    output: Path,
    *,
    name: str,
    bases: Sequence[BundleIndex] = (),
    files: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
    arriving: Arriving | None = None,
) -> SaveResult:
    """Write ``images`` to ``output`` and their checksum to ``output`` + ``.sha256`` (for ``sha256sum -c``).

    Layers that ``bases`` have are left out. ``files`` are small files that go with them, by name: see
    ``small_files.open_files``. Of ``arriving``, layers are waited for, and those that were hashed on their way are not
    hashed again.


    The same layouts give the same bytes, on every host and on every run. Raises InputError (all problems of all images
    at once), BundleError (a layout that is damaged or lies; names image and digest), EngineError (the disk is full or
    fails). Whatever it raises, ``output`` is what it was before.
    """
    plan, sources, shared = _prepare(images, name, bases, files or {}, arriving)
    check_output(output, plan.size, sources.arriving.lacking)
    sums = output.with_name(output.name + ".sha256")
    with disk_errors(output, plan.size), part_file(output) as (number, part):
        with contextlib.closing(DiskFile(os.dup(number))) as file:
            digest = _write(file, plan, sources, progress or quiet)
            file.finish()
        forget(output)
        part.replace(output)
        sync_directory(output.parent)
    with disk_errors(sums, 0):
        write_sums(sums, f"{digest}  {output.name}\n")
    return SaveResult(output, plan.size, digest, plan.index.root, plan.index, shared)


def save_to(
    images: Sequence[SourceImage],
    stream: Writes,
    *,
    name: str,
    bases: Sequence[BundleIndex] = (),
    files: Mapping[str, bytes] | None = None,
    progress: Progress | None = None,
    arriving: Arriving | None = None,
) -> SaveResult:
    """The same bytes as ``save`` writes, into a stream; ``path`` of the result is ``-``.

    Who reads it sees by itself whether it is whole: a bundle has an end. Raises what ``save`` raises, and
    BrokenPipeError where nobody reads it any more.
    """
    plan, sources, shared = _prepare(images, name, bases, files or {}, arriving)
    try:
        digest = _write(stream, plan, sources, progress or quiet)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EngineError(f"the output cannot be written: {error.strerror}", hint="see where it goes") from error
    return SaveResult(Path("-"), plan.size, digest, plan.index.root, plan.index, shared)


def _prepare(
    images: Sequence[SourceImage],
    name: str,
    bases: Sequence[BundleIndex],
    files: Mapping[str, bytes],
    arriving: Arriving | None,
) -> tuple[Contents, _Sources, int]:
    """What is written, from where, and the bytes that images share."""
    problems = []
    if not NAME.fullmatch(name):
        problems.append(Problem("", f"{name!r} cannot be a bundle's name (letters, digits, '.', '_', '-')"))
    if not images:
        problems.append(Problem("", "a bundle needs at least one image"))
    found = read_all(images, problems)
    try:
        index = arrange(name, [one.image for one in found], [small_file(*file) for file in files.items()])
    except Malformed as error:
        raise InputError(f"these images do not make a bundle: {error}") from None
    return contents(leave_out(index, bases)), _Sources(found, files.values(), arriving or _Here()), _shared(index)


def _shared(index: BundleIndex) -> int:
    alone = sum(sum(blob.size for blob in {b.digest: b for b in image.blobs()}.values()) for image in index.images)
    return alone - index.size


class _Sources:
    """Where the bytes of each blob are: in a layout's file, or here (a rewritten index, a small file)."""

    def __init__(self, found: Sequence[Found], files: Iterable[bytes], arriving: Arriving) -> None:
        self.arriving = arriving
        self._layouts: dict[str, Path] = {}
        self._made = {"sha256:" + hashlib.sha256(data).hexdigest(): data for data in files}
        self._kinds: dict[str, str] = {}
        for one in found:
            self._made.update(one.made)
            for blob in one.image.blobs():
                self._layouts.setdefault(blob.digest, one.layout)
                self._kinds[blob.digest] = compressed_with(blob.media_type)

    def chunks(self, member: Expected, alive: Callable[[], object]) -> Iterator[bytes]:
        """The checked content of a member, in pieces; BundleError after the last one when it is not what it must be.

        ``alive`` is called while it is waited for.
        """
        content = self._made.get(member.digest, member.content)
        if content is not None:
            yield content
            return
        what = f"{', '.join(member.images)}: {member.role} {member.digest}"
        hashed = self.arriving.ready(member.digest, alive)
        layout = self._layouts[member.digest]
        path = blob_path(layout, member.digest)
        try:
            file = path.open("rb")
        except OSError as error:
            raise BundleError(f"{what} cannot be read: {error.strerror}", hint=build_again(layout)) from error
        total, sha = 0, None if hashed else hashlib.sha256()
        with file:
            while total <= member.size and (chunk := _read(file, what)):
                if total == 0 and member.role == "layer":
                    self._check_compression(chunk, member, what)
                total += len(chunk)
                if sha is not None:
                    sha.update(chunk)
                if total <= member.size:
                    yield chunk
        if total != member.size:
            raise BundleError(
                f"{what} has not the {member.size:,} bytes that its manifest says", hint=build_again(layout)
            )
        if sha is not None and "sha256:" + sha.hexdigest() != member.digest:
            raise BundleError(f"{what} does not match its digest", hint=build_again(layout))

    def _check_compression(self, chunk: bytes, member: Expected, what: str) -> None:
        if compressed(chunk) != self._kinds[member.digest]:
            hint = build_again(self._layouts[member.digest])
            raise BundleError(f"{what} is not compressed as its media type says", hint=hint)


def _write(file: Writes, plan: Contents, sources: _Sources, progress: Progress) -> str:
    """Writes all members; gives the sha256 of what was written, in hexadecimal."""
    whole = hashlib.sha256()
    done = 0

    def take(data: bytes) -> None:
        whole.update(data)
        file.write(data)

    # beside the reading, one piece behind (hashlib lets other threads run)
    with ThreadPoolExecutor(1) as beside:
        behind = beside.submit(take, b"")

        def put(data: bytes) -> None:
            nonlocal done, behind
            behind.result()
            behind = beside.submit(take, data)
            done += len(data)

        for member in plan.members:
            put(header(member.name, member.size))
            # while a layer is waited for, what became of the file is heard
            for chunk in sources.chunks(member, lambda: put(b"")):
                put(chunk)
                progress(member.label, done, plan.size)
            put(bytes(padding(member.size)))
        put(TRAILER)
        behind.result()
    progress("", done, plan.size)
    return whole.hexdigest()


def _read(file: IO[bytes], what: str) -> bytes:
    try:
        return file.read(CHUNK)
    except OSError as error:
        raise BundleError(f"{what} cannot be read: {error.strerror}", hint="check that disk") from error
