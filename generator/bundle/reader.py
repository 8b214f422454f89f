"""Reads bundles from untrusted sources: ``inspect`` reads the index, ``verify`` every byte.

The place and the header of every member follow from the bundle index, so each can be checked alone: one after the other
as a pipe gives them, or by several threads. That is why damage in one place does not hide damage in another. Memory is
bounded, and nothing is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shlex
import stat
import sys
import threading
from collections.abc import Generator, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from generator.bundle.format import (
    BLOCK,
    FOLDER,
    INDEX_FILE,
    TRAILER,
    Member,
    header,
    index_size,
    members_of,
    padding,
    whole_size,
)
from generator.bundle.index import BundleIndex, decode, short_root
from generator.errors import BundleError, InputError, Problem, did_you_mean
from generator.images.image import Readable
from generator.images.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Manifest,
    architecture,
    parse_config,
    parse_index,
    parse_manifest,
)
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed
from generator.progress import Progress, quiet
from generator.text import printable

_PIECE = 256 << 10
"""Bytes that are read and hashed at a time."""
PIPED = "standard input"
"""The name of a bundle that has no path."""
_AGAIN = "get the bundle again from its sender"
_CHECKSUM = re.compile(rb"[0-9a-f]{64} [ *]([^\r\n]+)[\r\n]*")
_MISSING = "is missing"
_TOO_LONG = "the end"
_SHOWN = 20
"""Places that a message lists; ``DamagedError.damages`` has all."""
_COMPRESSED = {
    b"\x1f\x8b": ("gzip-compressed", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", "unzstd"),
    b"BZh": ("bzip2-compressed", "bunzip2"),
    b"\xfd7zXZ": ("xz-compressed", "unxz"),
    b"PK\x03\x04": ("a zip file", "unzip"),
}
_DOCUMENTS = ("index", "manifest", "config")
"""Roles of blobs that are JSON, and say what the bundle index says."""
_IMAGE_ARCHIVE = re.compile(
    rb"manifest\.json|repositories|[0-9a-f]{64}(/.*|\.json|\.tar|\.tar\.gz)|sha256:.*"
    rb"|(\./)?(blobs/.*|index\.json|oci-layout|)"
)


class Approve(Protocol):
    """Returns the signer of a bundle, given its index and its name, before the rest is read; raises if unsigned."""

    def __call__(self, index: BundleIndex, name: str, /) -> str: ...


@dataclass(frozen=True)
class Inspection:
    """A bundle that was inspected or verified: ``size`` in bytes is what its file must have, ``file_size`` what it has,
    None for a pipe. ``signer`` is that of a verified one, if asked."""

    name: str
    index: BundleIndex
    size: int
    file_size: int | None
    signer: str = ""

    @property
    def blobs(self) -> int:
        return len(self.index.carried())


def inspect(source: Path | Readable) -> Inspection:
    """Read the index, the first member, and nothing else. Its root digest is checked, the rest is unread."""
    with open_bundle(source) as bundle:
        return Inspection(bundle.name, bundle.index, bundle.size, bundle.file_size)


def verify(source: Path | Readable, *, approve: Approve | None = None, progress: Progress = quiet) -> Inspection:
    """Check every byte of a bundle, of a file on all cores; ``approve`` is called first. DamagedError lists all."""
    with open_bundle(source) as bundle:
        signer = approve(bundle.index, bundle.name) if approve else ""
        verify_rest(bundle, progress)
        return Inspection(bundle.name, bundle.index, bundle.size, bundle.file_size, signer)


def extract(source: Path | Readable, name: str) -> bytes:
    """The content of the small file ``fategen/NAME``, checked; what comes after it is not read."""
    with open_bundle(source) as bundle:
        names = [file.name for file in bundle.index.files]
        if name not in names:
            wrong = f"is not in {bundle.name}{did_you_mean(name, names)}"
            raise InputError(Problem(name, wrong), hint=f"it contains {', '.join(names) or 'images only'}")
        checker = Checker(bundle)
        for member in bundle.members[1:]:
            # damage in another one does not matter
            checker.damages.clear()
            data = b"".join(checker.member(member, bundle.stream))
            if member.name == FOLDER + name:
                break
    if checker.damages:
        raise damaged(bundle, checker.damages)
    return data[BLOCK : BLOCK + member.size]


class Stream:
    """Reads a bundle from byte ``position`` on: an open file by its descriptor, or anything with ``read``."""

    def __init__(self, source: int | Readable, name: str, position: int = 0) -> None:
        self._source, self.name, self.position = source, name, position

    def at(self, position: int) -> Stream:
        """The same file from another byte on."""
        assert isinstance(self._source, int), "a pipe is read once, from its beginning"
        return Stream(self._source, self.name, position)

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end (a pipe gives them in pieces). BundleError if a disk failed."""
        data = b""
        try:
            while len(data) < size:
                left = size - len(data)
                source = self._source
                piece = os.pread(source, left, self.position) if isinstance(source, int) else source.read(left)
                if not piece:
                    break
                self.position += len(piece)
                data = data + piece if data else piece
        except OSError as error:
            message = f"{self.name} cannot be read: {error.strerror}"
            raise BundleError(message, hint="check the disk or the connection") from error
        return data


@dataclass(frozen=True)
class Bundle:
    """An open bundle; ``stream`` continues after its index. ``file_size`` is None for a pipe. ``outcome`` ends the
    messages about its damage: what became of the command."""

    name: str
    index: BundleIndex
    members: tuple[Member, ...]
    stream: Stream
    file_size: int | None
    outcome: str = ""

    @property
    def size(self) -> int:
        """Bytes that the file must have."""
        return whole_size(self.members)

    @cached_property
    def documents(self) -> dict[str, set[tuple[str, Hashable]]]:
        """What the index says about each OCI index, manifest and config, by digest: media type and ``_content``."""
        contents: list[tuple[Descriptor, Hashable]] = []
        for image in self.index.images:
            if image.nested:
                contents.append((image.target, frozenset((p.platform, p.manifest) for p in image.platform_images)))
            for p in image.platform_images:
                contents.append((p.manifest, Manifest(p.config, tuple(layer.blob for layer in p.layers))))
                contents.append((p.config, (architecture(p.platform), tuple(layer.diff_id for layer in p.layers))))
        documents: dict[str, set[tuple[str, Hashable]]] = {}
        for blob, content in contents:
            documents.setdefault(blob.digest, set()).add((blob.media_type, content))
        return documents

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content of a member of a file; the last piece comes when all of it is right, else DamagedError.

        Damage around it does not matter: its digest says whether it is right.
        """
        if wrong := (yield from Checker(self).content(member, self.stream.at(member.start))):
            raise damaged(self, [Damage(member.label, member.images, member.start, member.start + member.size, wrong)])


@contextlib.contextmanager
def open_bundle(source: Path | Readable, outcome: str = "") -> Iterator[Bundle]:
    """Open a bundle and read its index. Raises InputError if it cannot be read, BundleError if it is not a bundle."""
    with contextlib.ExitStack() as closing:
        file_size = None
        if isinstance(source, Path):
            file = closing.enter_context(_open(source))
            status = os.fstat(file.fileno())
            regular = stat.S_ISREG(status.st_mode)
            file_size = status.st_size if regular else None
            stream = Stream(file.fileno() if regular else file, str(source))
        else:
            name = str(getattr(source, "name", PIPED))
            stream = Stream(source, PIPED if name == "<stdin>" else name)
        index = _read_index(stream)
        yield Bundle(stream.name, index, members_of(index), stream, file_size, outcome)


def file_or_stdin(file: Path) -> Path | Readable:
    """A file of a command line, or standard input for "-". Raises InputError if that was closed from the start."""
    if str(file) == "-" and sys.stdin is None:
        raise InputError(Problem("-", "standard input is closed"), hint="pipe a bundle into this command")
    return sys.stdin.buffer if str(file) == "-" else file


def _open(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        similar = ""
        with contextlib.suppress(OSError):
            similar = did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
        raise InputError(Problem(str(path), f"no such file{similar}"), hint="correct the path") from None
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from None


def _read_index(stream: Stream) -> BundleIndex:
    """Read the first member: all others follow from the index in it."""
    name, block = stream.name, stream.take(BLOCK)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    size = index_size(block)
    if size is None:
        reason, hint = _what_it_is(block, name)
        raise BundleError(f"{name} is not a bundle: {reason}", hint=hint)
    if size > MAX_METADATA_SIZE:
        raise BundleError(
            f"{name} is damaged or unsafe: its index has {size:,} bytes; the limit is {MAX_METADATA_SIZE:,}"
        )
    data = stream.take(size + padding(size))
    if len(data) < size + padding(size):
        raise BundleError(f"{name} is cut short: it ends inside its first member", hint="copy the whole file again")
    try:
        if data[size:].strip(b"\0"):
            raise Malformed("its padding is not zero")
        return decode(data[:size])
    except Malformed as error:
        where = f"bytes {BLOCK:,}-{BLOCK + len(data) - 1:,} of the file ({INDEX_FILE})"
        hint = f"copy bytes {BLOCK}-{BLOCK + len(data) - 1} again, or the whole file"
        raise BundleError(f"{name} is damaged: {where}: {error}", hint=hint) from None


def _what_it_is(block: bytes, name: str) -> tuple[str, str]:
    """What a file that begins with ``block`` is, and how to make a bundle of it."""
    file = "FILE" if name == PIPED else shlex.quote(name)
    for magic, (what, unpack) in _COMPRESSED.items():
        if block.startswith(magic):
            return f"it is {what}", f"unpack it first: {unpack} {file}"
    if match := _CHECKSUM.fullmatch(block):
        return "it is a checksum", f"pass the bundle itself: {printable(match[1].decode('utf-8', 'replace'))}"
    if len(block) < BLOCK and INDEX_FILE.encode().startswith(block[: len(INDEX_FILE)]):
        return f"it is cut short: it has {len(block)} bytes", _AGAIN
    if block[257:262] != b"ustar":
        parts = "if it was split, all parts together: cat PART.* | … load -"
        return "it is not a tar, or its beginning is missing", f"{_AGAIN}; {parts}"
    first = block[:100].partition(b"\0")[0]
    if _IMAGE_ARCHIVE.fullmatch(first):
        unchecked = f"docker load -i {file} loads it, unchecked; its sender can make a bundle of it"
        layout = f"skopeo copy docker-archive:{file} (or oci-archive:{file}) oci:DIR"
        hint = f"{unchecked}: {layout}, then fategen bundle save --from layout:DIR"
        return "it is a docker save archive or an OCI layout", hint
    begin = first.decode("ascii", "backslashreplace")
    return f"it begins with {begin!r}; a bundle begins with {INDEX_FILE}", _AGAIN


@dataclass(frozen=True)
class Damage:
    """One damaged place: bytes ``start`` to ``end`` (exclusive) of the file."""

    what: str
    images: tuple[str, ...]
    start: int
    end: int
    reason: str

    def __str__(self) -> str:
        users = ", ".join(self.images[:8]) + (f" and {len(self.images) - 8} more" if len(self.images) > 8 else "")
        users = f" ({users})" if users else ""
        return f"{self.what}{users}, bytes {self.start:,}-{self.end - 1:,} of the file, {self.reason}"


class DamagedError(BundleError):
    """A bundle whose bytes are not those that were saved; ``damages`` are all the places, in file order."""

    def __init__(self, message: str, damages: Sequence[Damage], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.damages = tuple(damages)


def damaged(bundle: Bundle, damages: Sequence[Damage], *, end: int | None = None) -> DamagedError:
    """The error for a damaged file, which ends at ``end`` bytes if it is cut short."""
    name, size, root = bundle.name, bundle.size, short_root(bundle.index.root)
    damages = list(damages)
    listed = "".join(f"\n    {damage}" for damage in damages[:_SHOWN])
    listed += f"\n    and {len(damages) - _SHOWN:,} more" if len(damages) > _SHOWN else ""
    if end is not None:
        missing = [
            Damage(m.label, m.images, max(m.offset, end), m.end, _MISSING) for m in bundle.members if m.end > end
        ]
        images = ", ".join(dict.fromkeys(image for damage in missing for image in damage.images))
        message = f"{name} is cut short: it has {end:,} of {size:,} bytes{images and f'; lost: parts of {images}'}"
        message += f"\n  it is also damaged before that point:{listed}" if damages else ""
        damages += missing
    elif len(damages) == 1:
        message = f"{name} is damaged: {damages[0]}"
    else:
        message = f"{name} is damaged in {len(damages):,} places{listed}"
    message += f"\n  {bundle.outcome}" if bundle.outcome else ""
    places = [(damage.start, damage.end) for damage in damages if damage.what != _TOO_LONG]
    places += [(end, size)] if end is not None else []
    steps = [f"copy bytes {_ranges(places)} again, or the whole file"] if places else []
    if any(damage.what == _TOO_LONG for damage in damages):
        steps.append(f"keep its first {size} bytes (truncate -s {size}, or head -c {size})")
    hint = "; ".join([*steps, f"the sender's root digest is {root}"])
    return DamagedError(message, damages, hint=hint)


def _ranges(places: Sequence[tuple[int, int]]) -> str:
    """Bytes as other programs take them, neighbours as one: no more than a header and padding is between them."""
    ranges: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if ranges and start - ranges[-1][1] <= 2 * BLOCK:
            first, last = ranges.pop()
            start, end = first, max(last, end)
        ranges.append((start, end))
    listed = [f"{start}-{end - 1}" for start, end in ranges[:_SHOWN]]
    return ", ".join(listed) + (f" and {len(ranges) - _SHOWN} more" if len(ranges) > _SHOWN else "")


def iter_verified(bundle: Bundle, progress: Progress = quiet) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Every member after the index and its bytes, in one pass; what the caller leaves unread is checked here.

    After the first damaged member the rest is checked too, but no more of it is given; DamagedError lists all damage.
    """
    checker = Checker(bundle, progress)
    for member in bundle.members[1:]:
        pieces = checker.member(member, bundle.stream)
        if not checker.damages:
            yield member, pieces
        for _ in pieces:
            pass
    check_end(bundle, checker.damages)


def verify_rest(bundle: Bundle, progress: Progress = quiet) -> None:
    """Check every byte after the index, of a file by one thread for each core. Raises as ``iter_verified`` does."""
    if bundle.file_size is None:
        for _ in iter_verified(bundle, progress):
            pass
        return
    checker = Checker(bundle, progress)

    def check(member: Member) -> None:
        try:
            for _ in checker.member(member, bundle.stream.at(member.offset)):
                pass
        except BundleError as error:
            # one damaged place among others: a bad sector, or the file was cut while it is read
            if isinstance(error.__cause__, OSError):
                reason = f"cannot be read: {error.__cause__.strerror}"
            elif isinstance(error, DamagedError):
                reason = _MISSING
            else:
                raise
            checker.damages.append(Damage(member.label, member.images, member.offset, member.end, reason))

    whole = [member for member in bundle.members[1:] if member.end <= bundle.file_size]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            # the largest first: at the end no thread waits for one that has just begun with it
            for _ in pool.map(check, sorted(whole, key=lambda member: -member.size)):
                pass
        except BaseException:
            checker.stopped = True
            raise
    check_end(bundle, sorted(checker.damages, key=lambda damage: damage.start))


def check_end(bundle: Bundle, damages: Sequence[Damage] = ()) -> None:
    """Raises DamagedError if the bundle does not end as it must, or there are ``damages`` before."""
    size, damages, stream = bundle.size, list(damages), bundle.stream
    if bundle.file_size is not None:
        stream = stream.at(size - len(TRAILER))
    trailer = stream.take(len(TRAILER))
    end = stream.position if bundle.file_size is None else bundle.file_size
    if end < size:
        raise damaged(bundle, damages, end=end)
    if trailer != TRAILER:
        damages.append(Damage("the end mark", (), size - len(TRAILER), size, "is not zero"))
    elif stream.take(1):
        # of a pipe it is not known how many
        end, count = (size + 1, "") if bundle.file_size is None else (end, f" ({end - size:,} B)")
        damages.append(Damage(_TOO_LONG, (), size, end, f"is followed by other data{count}"))
    if damages:
        raise damaged(bundle, damages)


class Checker:
    """Checks members of one bundle, possibly in several threads, and collects their ``damages``.

    Set ``stopped`` to end all threads.
    """

    def __init__(self, bundle: Bundle, progress: Progress = quiet) -> None:
        self._bundle, self._progress, self._done = bundle, progress, bundle.members[0].end
        self._lock = threading.Lock()
        self.damages: list[Damage] = []
        self.stopped = False

    def member(self, member: Member, stream: Stream) -> Iterator[bytes]:
        """A member, which begins where ``stream`` is: header, content and padding, in pieces.

        Of one that is not right its end does not come, and ``damages`` gets what is wrong. Raises DamagedError if the
        stream ends in it.
        """
        expected, block = header(member.name, member.size), stream.take(BLOCK)
        wrong = _MISSING
        if len(block) == BLOCK:
            yield expected
            wrong = yield from self.content(member, stream)
        pad = stream.take(padding(member.size))
        if wrong == _MISSING or len(pad) < padding(member.size):
            raise damaged(self._bundle, self.damages, end=stream.position)
        start, end = member.offset, member.end
        if block != expected:
            wrong = wrong or "has a damaged header"
        elif pad.strip(b"\0"):
            wrong = wrong or "has padding that is not zero"
        elif wrong:
            start, end = member.start, member.start + member.size
        if wrong:
            self.damages.append(Damage(member.label, member.images, start, end, wrong))
        else:
            yield pad

    def content(self, member: Member, stream: Stream) -> Generator[bytes, None, str]:
        """The content of a member in pieces, the last one only if all is right; returns what is wrong with it."""
        document: list[bytes] = []
        sha, left, last = hashlib.sha256(), member.size, b""
        while left:
            piece = stream.take(min(left, _PIECE))
            if not piece:
                return _MISSING
            left -= len(piece)
            sha.update(piece)
            if member.role in _DOCUMENTS:
                document.append(piece)
            if last:
                yield last
            last = piece
            self._report(member.label, len(piece))
        wrong = ""
        if "sha256:" + sha.hexdigest() != member.digest:
            wrong = "does not match its digest" if member.content is None else "does not follow from the bundle index"
        elif member.role in _DOCUMENTS:
            wrong = self._mismatch(member.digest, b"".join(document))
        if not wrong:
            yield last
        return wrong

    def _mismatch(self, digest: str, data: bytes) -> str:
        """How a document, which matches its digest, differs from the bundle index, in words; "" if it does not."""
        try:
            for media_type, expected in sorted(self._bundle.documents[digest], key=lambda item: item[0]):
                content, others = _content(data, media_type)
                if content != expected:
                    return f"is not as expected: it has {others} than the bundle index"
        except Malformed as error:
            return f"is not as expected: {error}"
        return ""

    def _report(self, what: str, size: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        with self._lock:
            self._done += size
            self._progress(what, self._done, self._bundle.size)


def _content(data: bytes, media_type: str) -> tuple[Hashable, str]:
    """What must be as the bundle index says: the platforms and manifests of an index, the config and layers of a
    manifest, the platform and diff ids of a config; and the words for others. Raises Malformed."""
    if media_type in INDEX_TYPES:
        children = parse_index(data, media_type)
        named = frozenset((child.platform, child.descriptor) for child in children)
        # one that is named twice is another
        return named if len(named) == len(children) else (), "other platforms or manifests"
    if media_type in MANIFEST_TYPES:
        return parse_manifest(data, media_type), "another config or other layers"
    config = parse_config(data)
    return (architecture(config.platform), config.diff_ids), "another platform or other diff ids"
