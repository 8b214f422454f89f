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
    Contents,
    HeaderError,
    Member,
    contents,
    header,
    padding,
    parse_header,
)
from generator.bundle.index import BundleIndex, decode, short_root
from generator.errors import BundleError, InputError, Problem, did_you_mean
from generator.images.image import Readable
from generator.images.oci import INDEX_TYPES, Descriptor, Manifest, parse_config, parse_index, parse_manifest
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed
from generator.progress import Progress, quiet

_PIECE = 256 << 10
"""Bytes: a quarter of what the pipe to an engine holds, so that the engine has the others while one is hashed."""
_SAVE = "fategen bundle save"
_SHOWN = 20
"""Places that a message lists; ``DamagedError.damages`` has all."""
_COMPRESSED = {
    b"\x1f\x8b": ("gzip-compressed", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstd-compressed", "unzstd"),
    b"BZh": ("bzip2-compressed", "bunzip2"),
    b"\xfd7zXZ": ("xz-compressed", "unxz"),
    b"PK\x03\x04": ("a zip file", "unzip"),
}
_DOCKER_ARCHIVE = re.compile(rb"manifest\.json|repositories|[0-9a-f]{64}(/.*|\.json|\.tar|\.tar\.gz)|sha256:.*")
_OCI_LAYOUT = re.compile(rb"(\./)?(blobs/.*|index\.json|oci-layout|)")


class Approve(Protocol):
    """Returns the signer of a bundle, given its index and its name, before the rest is read; raises if unsigned."""

    def __call__(self, index: BundleIndex, name: str, /) -> str: ...


@dataclass(frozen=True)
class Inspection:
    """What the index of a bundle states. ``file_size`` is the file's size in bytes, ``None`` for a pipe."""

    name: str
    index: BundleIndex
    size: int
    file_size: int | None


@dataclass(frozen=True)
class VerifyResult:
    """A bundle in which every byte is right: ``size`` in bytes, ``blobs`` that were hashed, ``signer`` if asked."""

    path: str
    index: BundleIndex
    size: int
    blobs: int
    signer: str = ""


def inspect(source: Path | Readable) -> Inspection:
    """Read the index, the first member, and nothing else. Its root digest is checked, the rest is unread."""
    with open_bundle(source) as bundle:
        return Inspection(bundle.name, bundle.index, bundle.contents.size, bundle.file_size)


def verify(
    source: Path | Readable, *, approve: Approve | None = None, progress: Progress | None = None, threads: int = 0
) -> VerifyResult:
    """Check every byte of a bundle. Raises DamagedError with all damage, another BundleError if it is not a bundle.

    ``approve`` is called first: see ``signature_check``. ``threads`` (0: one for each core) share the work if the
    source is a file.
    """
    with open_bundle(source) as bundle:
        signer = approve(bundle.index, bundle.name) if approve else ""
        if bundle.file_size is None:
            for _ in iter_verified(bundle, progress or quiet):
                pass
        else:
            _verify_file(bundle, progress or quiet, threads or len(os.sched_getaffinity(0)))
    blobs = sum(member.is_blob for member in bundle.contents.members)
    return VerifyResult(bundle.name, bundle.index, bundle.contents.size, blobs, signer)


def extract(source: Path | Readable, name: str) -> bytes:
    """The content of the small file ``fategen/NAME``, checked; what comes after it is not read.

    Raises InputError if the bundle has no such file, BundleError if it is not a bundle or that file is damaged.
    """
    with open_bundle(source) as bundle:
        names = [file.name for file in bundle.index.files]
        if name not in names:
            wrong = f"is not in {bundle.name}{did_you_mean(name, names)}"
            raise InputError(Problem(name, wrong), hint=f"it holds {', '.join(names) or 'images only'}")
        checker = _Checker(bundle, quiet, "")
        for member in bundle.contents.members[1:]:
            data = MemberBytes(member, checker.pieces(member, bundle.stream))
            content = b"".join(data.content())
            if member.name == FOLDER + name:
                break
    if data.damage:
        raise damaged(bundle, [data.damage], "")
    return content


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
    """An open bundle whose index has been read; ``stream`` continues after it. ``file_size`` is None for a pipe."""

    name: str
    contents: Contents
    stream: Stream
    file_size: int | None

    @property
    def index(self) -> BundleIndex:
        return self.contents.index

    @cached_property
    def descriptions(self) -> Descriptions:
        return Descriptions(self.index)


@contextlib.contextmanager
def open_bundle(source: Path | Readable) -> Iterator[Bundle]:
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
            stream = Stream(source, str(getattr(source, "name", "the input")))
        yield Bundle(stream.name, _read_index(stream), stream, file_size)


def stdin() -> Readable:
    """Standard input as a bundle."""
    return sys.stdin.buffer


def _open(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        similar = ""
        with contextlib.suppress(OSError):
            similar = did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
        raise InputError(Problem(str(path), f"no such file{similar}"), hint=f"{_SAVE} writes one") from None
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from None


def _read_index(stream: Stream) -> Contents:
    """Read the first member, and derive all others from the index in it."""
    name, block = stream.name, stream.take(BLOCK)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    try:
        first, size = parse_header(block)
        if first != INDEX_FILE:
            raise HeaderError(f"it begins with {first!r}, a bundle with {INDEX_FILE!r}")
    except HeaderError as error:
        reason, hint = _what_it_is(block, name)
        raise BundleError(f"{name} is not a bundle: {reason or error}", hint=hint) from None
    if size > MAX_METADATA_SIZE:
        raise BundleError(
            f"{name} is damaged or unsafe: its index has {size:,} bytes, at most {MAX_METADATA_SIZE:,} are read"
        )
    data = stream.take(size + padding(size))
    if len(data) < size + padding(size):
        raise BundleError(f"{name} is cut short: it ends inside its first member", hint="copy the whole file again")
    try:
        if data[size:].strip(b"\0"):
            raise Malformed("its padding is not zero")
        return contents(decode(data[:size]))
    except Malformed as error:
        where = f"bytes {BLOCK:,}-{BLOCK + len(data) - 1:,} of the file ({INDEX_FILE})"
        hint = "copy that range again, or the whole file"
        raise BundleError(f"{name} is damaged: {where}: {error}", hint=hint) from None


def _what_it_is(block: bytes, name: str) -> tuple[str, str]:
    """What a file that begins with ``block`` is ("": unknown), and how to make a bundle of it."""
    for magic, (what, unpack) in _COMPRESSED.items():
        if block.startswith(magic):
            return f"it is {what}", f"unpack it first: {unpack} {name}"
    if len(block) < BLOCK:
        return f"it is cut short: it has {len(block)} bytes", _SAVE
    if block[257:262] != b"ustar":
        return "it is not a tar, or its beginning is missing", _SAVE
    first = block[:100].partition(b"\0")[0]
    if _DOCKER_ARCHIVE.fullmatch(first):
        hint = f"skopeo copy docker-archive:{name} oci:DIR, then {_SAVE} --from layout:DIR"
        return "it is a docker save archive", hint
    if _OCI_LAYOUT.fullmatch(first):
        hint = f"skopeo copy oci-archive:{name} oci:DIR (or docker-archive:), then {_SAVE} --from layout:DIR"
        return "it is an OCI layout, or a docker save archive since Docker 25", hint
    return "", _SAVE


@dataclass(frozen=True)
class Damage:
    """One damaged place: bytes ``start`` to ``end`` (exclusive) of the file. ``missing``: the file ends before it."""

    what: str
    images: tuple[str, ...]
    start: int
    end: int
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        users = ", ".join(self.images[:8]) + (f" and {len(self.images) - 8} more" if len(self.images) > 8 else "")
        users = f" ({users})" if users else ""
        return f"{self.what}{users}, bytes {self.start:,}-{self.end - 1:,} of the file, {self.reason}"


class DamagedError(BundleError):
    """A bundle whose bytes are not those that were saved; ``damages`` are all the places, in file order."""

    def __init__(self, message: str, damages: Sequence[Damage], *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.damages = tuple(damages)


def damaged(bundle: Bundle, damages: Sequence[Damage], outcome: str, *, end: int | None = None) -> DamagedError:
    """The error for a damaged file, which ends at ``end`` bytes if it is cut short.

    ``outcome`` ends the message: what became of the command.
    """
    name, size, root = bundle.name, bundle.contents.size, short_root(bundle.index.root)
    damages = list(damages)
    listed = "".join(f"\n    {damage}" for damage in damages[:_SHOWN])
    listed += f"\n    and {len(damages) - _SHOWN:,} more" if len(damages) > _SHOWN else ""
    if end is not None:
        missing = [
            Damage(m.label, m.images, max(m.offset, end), m.end, "is missing", missing=True)
            for m in bundle.contents.members
            if m.end > end
        ]
        images = ", ".join(dict.fromkeys(image for damage in missing for image in damage.images))
        message = f"{name} is cut short: it has {end:,} of {size:,} bytes{images and f'; lost: parts of {images}'}"
        message += f"\n  and before that it is damaged:{listed}" if damages else ""
        damages += missing
        again = f"bytes {end:,}-{size - 1:,}"
    elif len(damages) == 1:
        message, again = f"{name} is damaged: {damages[0]}", "that range"
    else:
        message, again = f"{name} is damaged in {len(damages):,} places{listed}", "these ranges"
    message += f"\n  {outcome}" if outcome else ""
    hint = f"copy {again} again, or the whole file; the sender's root digest is {root}"
    return DamagedError(message, damages, hint=hint)


class MemberBytes:
    """The bytes of one member as they are in the file, header first, in pieces; ``damage`` is set after the last one.

    Of a member that is not right the last piece, its padding, does not come: what was passed on so far is not whole.
    """

    def __init__(self, member: Member, pieces: Generator[bytes, None, Damage | None]) -> None:
        self.member = member
        self.damage: Damage | None = None
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.damage = end.value or self.damage
            raise

    def content(self) -> Iterator[bytes]:
        """The same without header and padding."""
        left = self.member.size
        for number, piece in enumerate(self):
            if number and left:
                left -= len(piece)
                yield piece

    def check(self) -> Damage | None:
        """Read what was not read of it, and say what is wrong."""
        for _ in self:
            pass
        return self.damage


def iter_verified(bundle: Bundle, progress: Progress = quiet, outcome: str = "") -> Iterator[MemberBytes]:
    """Every member after the index, in one pass; bytes that the caller leaves unread are read and checked here.

    After the first damaged member the rest is checked too, but no more of it is given; DamagedError then lists all
    damage. Raises another BundleError if the file does not match its index. ``outcome`` ends these messages.
    """
    checker = _Checker(bundle, progress, outcome)
    damages: list[Damage] = []
    for member in bundle.contents.members[1:]:
        data = MemberBytes(member, checker.pieces(member, bundle.stream))
        if not damages:
            yield data
        damage = data.check()
        if damage and damage.missing:
            raise damaged(bundle, damages, outcome, end=bundle.stream.position)
        if damage:
            damages.append(damage)
    check_end(bundle, damages, outcome)


def _verify_file(bundle: Bundle, progress: Progress, threads: int) -> None:
    """The same by several threads, if the source is a file."""
    checker = _Checker(bundle, progress, "")

    def check(member: Member) -> Damage | None:
        try:
            return MemberBytes(member, checker.pieces(member, bundle.stream.at(member.offset))).check()
        except BundleError as error:
            # a bad sector is one damaged place among others
            if isinstance(error.__cause__, OSError):
                reason = f"cannot be read: {error.__cause__.strerror}"
                return Damage(member.label, member.images, member.offset, member.end, reason)
            raise

    # the largest first: at the end no thread waits for one that has just begun with it
    members = sorted(bundle.contents.members[1:], key=lambda member: -member.size)
    with ThreadPoolExecutor(threads) as pool:
        futures = {m.offset: pool.submit(check, m) for m in members if m.end <= (bundle.file_size or 0)}
        try:
            # in the order of the file, so that the first error is the same each time
            results = [futures[offset].result() for offset in sorted(futures)]
        except BaseException:
            checker.stopped = True
            for future in futures.values():
                future.cancel()
            raise
    check_end(bundle, [damage for damage in results if damage is not None])


def read_member(bundle: Bundle, member: Member, outcome: str) -> MemberBytes:
    """A member of a bundle that is a file. ``outcome`` ends the message if the file does not match its index."""
    return MemberBytes(member, _Checker(bundle, quiet, outcome).pieces(member, bundle.stream.at(member.offset)))


def check_end(bundle: Bundle, damages: Sequence[Damage] = (), outcome: str = "") -> None:
    """Raises DamagedError if the bundle does not end as it must, or there are ``damages`` before."""
    size, damages = bundle.contents.size, list(damages)
    if bundle.file_size is None:
        trailer, extra, words = bundle.stream.take(len(TRAILER)), 0, "bytes"
        end = bundle.stream.position
        if trailer == TRAILER:
            extra = len(bundle.stream.take(1))
    else:
        trailer, end = bundle.stream.at(size - len(TRAILER)).take(len(TRAILER)), bundle.file_size
        extra, words = end - size, f"{end - size:,} bytes"
    if end < size:
        raise damaged(bundle, damages, outcome, end=end)
    if trailer != TRAILER:
        damages.append(Damage("the end mark", (), size - len(TRAILER), size, "is not zero"))
    elif extra:
        damages.append(Damage("the end", (), size, size + extra, f"has {words} after it"))
    if damages:
        raise damaged(bundle, damages, outcome)


class _Checker:
    """Checks members of one bundle, possibly in several threads. Set ``stopped`` to end them all."""

    def __init__(self, bundle: Bundle, progress: Progress, outcome: str) -> None:
        self._name, self._outcome, self._progress = bundle.name, outcome, progress
        self._done, self._total = bundle.contents.members[0].end, bundle.contents.size
        self._descriptions = bundle.descriptions
        self._lock = threading.Lock()
        self.stopped = False

    def pieces(self, member: Member, stream: Stream) -> Generator[bytes, None, Damage | None]:
        """The bytes of a member, which begins where ``stream`` is: see ``MemberBytes``. Returns what is wrong."""
        missing = Damage(member.label, member.images, member.offset, member.end, "is missing", missing=True)
        block = stream.take(BLOCK)
        if len(block) < BLOCK:
            return missing
        torn = block != header(member.name, member.size)
        if torn:
            self._require_torn(block, member)
        else:
            yield block
        document: list[bytes] = []
        sha, left = hashlib.sha256(), member.size
        while left:
            piece = stream.take(min(left, _PIECE))
            if not piece:
                return missing
            left -= len(piece)
            sha.update(piece)
            if member.role in ("index", "manifest", "config"):
                document.append(piece)
            if not torn:
                yield piece
            self._report(member.label, len(piece))
        pad = stream.take(padding(member.size))
        if len(pad) < padding(member.size):
            return missing
        wrong = ""
        if "sha256:" + sha.hexdigest() != member.digest:
            wrong = "does not match its digest" if member.content is None else "does not follow from the bundle index"
        elif document:
            wrong = self._descriptions.mismatch(member.digest, b"".join(document))
        if torn or pad.strip(b"\0"):
            wrong = wrong or ("has a damaged header" if torn else "has padding that is not zero")
            return Damage(member.label, member.images, member.offset, member.end, wrong)
        if wrong:
            return Damage(member.label, member.images, member.start, member.start + member.size, wrong)
        yield pad
        return None

    def _require_torn(self, block: bytes, member: Member) -> None:
        """A whole header of something else is not damage but another archive: BundleError."""
        try:
            name, size = parse_header(block)
            reason = f"member {name!r} is where {member.name!r} belongs"
            if name == member.name:
                reason = f"member {name!r} has {size:,} bytes, the index says {member.size:,}"
        except HeaderError as error:
            if error.damaged:
                return
            reason = str(error)
        message = f"{self._name} does not match its bundle index: byte {member.offset:,}: {reason}"
        message += f"\n  {self._outcome}" if self._outcome else ""
        raise BundleError(message, hint="do not use it; get the file again from its sender")

    def _report(self, what: str, size: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        with self._lock:
            self._done += size
            self._progress(what, self._done, self._total)


class Descriptions:
    """What the bundle index states about each OCI index, manifest and config, by digest: it decides what is loaded."""

    def __init__(self, index: BundleIndex) -> None:
        self._expected: dict[str, set[tuple[str, Hashable]]] = {}
        for image in index.images:
            if image.nested:
                children = frozenset((v.platform, v.manifest) for v in image.platform_images)
                self._expect(image.target, children)
            for platform_image in image.platform_images:
                blobs = tuple(layer.blob for layer in platform_image.layers)
                self._expect(platform_image.manifest, Manifest(platform_image.config, blobs))
                self._expect(platform_image.config, tuple(layer.diff_id for layer in platform_image.layers))

    def _expect(self, blob: Descriptor, content: Hashable) -> None:
        self._expected.setdefault(blob.digest, set()).add((blob.media_type, content))

    def mismatch(self, digest: str, data: bytes) -> str:
        """How the blob ``data`` differs from the bundle index, in words; "" if it does not.

        ``data`` already matches its digest. Checked: an index names exactly the platforms and manifests; a manifest the
        config and layers (digest, size, media type, order); a config the diff ids in number and order. That the layers
        unpack to their diff ids is for the engine to check.
        """
        try:
            for media_type, expected in sorted(self._expected.get(digest, ()), key=lambda item: item[0]):
                _compare(data, media_type, expected)
        except Malformed as error:
            return f"is not what it must be: {error}"
        return ""


def _compare(data: bytes, media_type: str, expected: Hashable) -> None:
    """Raises Malformed if an index, a manifest or a config is not ``expected``."""
    if media_type in INDEX_TYPES:
        children = parse_index(data, media_type)
        named = frozenset((child.platform, child.descriptor) for child in children)
        if named != expected or len(named) != len(children):
            raise Malformed("it names other platforms or manifests than the bundle index")
    elif isinstance(expected, Manifest):
        manifest = parse_manifest(data, media_type)
        if manifest.config != expected.config:
            raise Malformed("it has another config than the bundle index")
        if manifest.layers != expected.layers:
            raise Malformed("it has other layers than the bundle index")
    elif parse_config(data).diff_ids != expected:
        raise Malformed("it has other diff ids than the bundle index")
