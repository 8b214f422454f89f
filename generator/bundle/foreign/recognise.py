"""What kind of file this is, told by its first bytes: a bundle, or another tool's archive; compressed or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generator.bundle.foreign.fields import is_header
from generator.bundle.foreign.tarball import TarReader
from generator.bundle.format.archive import BLOCK, CHUNK, Reads
from generator.bundle.format.members import RECORD
from generator.bundle.format.parts import list_beside
from generator.bundle.format.source import Source, opened
from generator.errors import BundleError, InputError, Problem
from generator.images.compression import UNPACK, Chained, Compression, Inflated, compression
from generator.images.inflate import INSTALL

_ENDINGS: dict[str, Compression] = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".bz2": "bzip2",
    ".tbz": "bzip2",
    ".xz": "xz",
    ".txz": "xz",
    ".zst": "zstd",
    ".tzst": "zstd",
}


@dataclass(frozen=True)
class Recognised:
    """A file that is open for reading. Exactly one of the last three is set.

    ``bundle`` is for the strict reader: the path itself, or a stream where there is none or where it is compressed.
    ``archive`` is another tool's tar, ``layout`` a directory. ``size``: of the file in bytes, ``None`` for a pipe.
    """

    name: str
    compression: Compression
    size: int | None
    bundle: Path | Reads | None = None
    archive: TarReader | None = None
    layout: Path | None = None

    @property
    def packed(self) -> str:
        """What is to be known of a bundle that ``load`` does not read for its compression, "" of one that it reads."""
        if not self.compression:
            return ""
        tool = UNPACK[self.compression]
        return f"{self.name} is {self.compression}-compressed; load, push and serve want it unpacked first: {tool}"

    @property
    def misnamed(self) -> str:
        """What the name says and is not true, in words, or ""."""
        said = next((kind for ending, kind in _ENDINGS.items() if self.name.lower().endswith(ending)), "")
        if said == self.compression or self.layout:
            return ""
        if not said:
            return f"it is {self.compression}-compressed, which its name does not say"
        what = f"{self.compression}-compressed" if self.compression else "a plain tar"
        ending = self.name.rpartition(".")[2]
        return f'it is {what} in spite of its name: tar -x, ctr and k3s, which go by ".{ending}", fail on it'


class _Named(Chained):
    """A stream that goes on behind what was looked at, and has a name for messages."""

    def __init__(self, head: bytes, stream: Reads, name: str) -> None:
        super().__init__(head, stream)
        self.name = name


_ZSTD = f"{INSTALL}; or zstd -dc FILE | fategen bundle inspect -"


@contextlib.contextmanager
def recognise(source: Path | Reads) -> Iterator[Recognised]:
    """Open a file, a directory or a stream. InputError: it cannot be read, or is no archive at all.

    BundleError: it is empty, or its compression is damaged.
    """
    if isinstance(source, Path) and source.is_dir():
        yield Recognised(str(source), "", None, layout=source)
        return
    if isinstance(source, Path) and list_beside(source):
        yield Recognised(str(source), "", None, bundle=source)
        return
    with opened(source) as (stream, name, size):
        head = _head(stream, name)
        if not head:
            raise BundleError(f"{name} is empty", hint="copy it again")
        kind = compression(head)
        whole: Reads = _Forward(stream, name) if stream.anywhere else _Named(head, stream, name)
        if kind:
            whole = Inflated(whole, kind, name, hint=_ZSTD)
            head = _head(whole, name)
            whole = _Named(head, whole, name)
        if head.startswith(RECORD.encode() + b"\0"):
            again = isinstance(source, Path) and stream.anywhere and not kind
            yield Recognised(name, kind, size, bundle=source if again else whole)
            return
        if head[257:262] != b"ustar" and not is_header(head):
            while kind and whole.read(CHUNK):
                pass  # a decompressor tells damage at the end of a block: that comes before what is in it
            inside = f"what is in it ({kind}) is" if kind else "it is"
            raise InputError(
                Problem(name, f"{inside} not an archive of images, not even a tar"),
                hint="it reads what docker save, podman save, skopeo, crane or buildx wrote, or an OCI layout",
            )
        yield Recognised(name, kind, size, archive=TarReader(whole, name, None if kind else size))


class _Forward:
    """A file from its begin, in which what is not wanted is skipped."""

    def __init__(self, source: Source, name: str) -> None:
        self.name = name
        self._source, self._position = source, 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read_at(size, self._position)
        self._position += len(data)
        return data

    def skip(self, size: int) -> None:
        self._position += size


def _head(stream: Reads, name: str) -> bytes:
    try:
        head = stream.read(BLOCK)
        while 0 < len(head) < BLOCK and (more := stream.read(BLOCK - len(head))):
            head += more
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}", hint="check that disk or that link") from error
    return head
