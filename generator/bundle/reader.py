"""Reads bundles from untrusted sources: ``inspect`` reads the index, ``verify`` every byte.

The place and the header of every member follow from the bundle index, so each can be checked alone: one after the other
as a pipe gives them, or by several threads. That is why damage in one place does not hide damage in another. Memory is
bounded, and nothing is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from generator.bundle.damage import Damage, cut_short, damaged, unsafe
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
from generator.bundle.index import BundleIndex, decode
from generator.errors import BundleError, InputError, Problem, did_you_mean
from generator.images.image import Image, PlatformImage, Reads
from generator.images.oci import parse_config, parse_index, parse_manifest
from generator.images.strictjson import LIMIT, Malformed
from generator.progress import Progress, quiet

_PIECE = 256 << 10
"""Bytes: a quarter of what the pipe to an engine holds, so that the engine has the others while one is hashed."""
_SAVE = "fategen bundle save"
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
    """Says who signed a bundle, given its index and its name, before anything else is read; raises if nobody did."""

    def __call__(self, index: BundleIndex, name: str, /) -> str: ...


@dataclass(frozen=True)
class Inspection:
    """What a bundle says of itself. ``file_size`` is the file's size in bytes, ``None`` for a pipe."""

    name: str
    index: BundleIndex
    size: int
    file_size: int | None


@dataclass(frozen=True)
class VerifyResult:
    """A bundle in which every byte is right: ``size`` in bytes, ``blobs`` that were hashed, ``signer`` where asked."""

    path: str
    index: BundleIndex
    size: int
    blobs: int
    signer: str = ""


def inspect(source: Path | Reads) -> Inspection:
    """Read the index, the first member, and nothing else. Its root digest is checked, the rest is unread."""
    with open_bundle(source) as bundle:
        return Inspection(bundle.name, bundle.index, bundle.contents.size, bundle.file_size)


def verify(
    source: Path | Reads, *, approve: Approve | None = None, progress: Progress | None = None, threads: int = 0
) -> VerifyResult:
    """Check every byte of a bundle. ``DamagedError`` lists all damage; another BundleError: it is not a bundle.

    ``approve`` is called first: see ``signature.required``. ``threads`` (0: one for each core) share the work where the
    source is a file.
    """
    with open_bundle(source) as bundle:
        signer = approve(bundle.index, bundle.name) if approve else ""
        if bundle.file_size is None:
            for _ in verified(bundle, progress or quiet):
                pass
        else:
            _verify_file(bundle, progress or quiet, threads or len(os.sched_getaffinity(0)))
    blobs = sum(member.is_blob for member in bundle.contents.members)
    return VerifyResult(bundle.name, bundle.index, bundle.contents.size, blobs, signer)


def extract(source: Path | Reads, name: str) -> bytes:
    """The content of the small file ``fategen/NAME``, checked; what comes after it is not read.

    InputError: the bundle has no such file; BundleError: it is not a bundle, or damaged up to there.
    """
    with open_bundle(source) as bundle:
        names = [file.name for file in bundle.index.files]
        if name not in names:
            wrong = f"is not in {bundle.name}{did_you_mean(name, names)}"
            raise InputError(Problem(name, wrong), hint=f"it holds {', '.join(names) or 'images only'}")
        for data in verified(bundle):
            content = b"".join(data.content())
            if data.damage:
                raise damaged(bundle.name, bundle.contents, [data.damage], "")
            if data.member.name == FOLDER + name:
                break
    return content


class Stream:
    """Reads a bundle from byte ``position`` on: an open file by its descriptor, or whatever has ``read``."""

    def __init__(self, source: int | Reads, name: str, position: int = 0) -> None:
        self._source, self._name, self.position = source, name, position

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end (a pipe gives them in pieces). BundleError: a disk failed."""
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
            message = f"{self._name} cannot be read: {error.strerror}"
            raise BundleError(message, hint="check the disk or the connection") from error
        return data


@dataclass(frozen=True)
class Bundle:
    """An open bundle whose index has been read; ``stream`` continues after it. ``file`` is None for a pipe."""

    name: str
    contents: Contents
    stream: Stream
    file: int | None
    file_size: int | None

    @property
    def index(self) -> BundleIndex:
        return self.contents.index

    def at(self, offset: int) -> Stream:
        """The bytes of a file from ``offset`` on."""
        assert self.file is not None, "a pipe is read once, from its beginning"
        return Stream(self.file, self.name, offset)


@contextlib.contextmanager
def open_bundle(source: Path | Reads) -> Iterator[Bundle]:
    """Open a bundle and read its index. InputError: it cannot be read; BundleError: it is not a bundle."""
    if not isinstance(source, Path):
        name = str(getattr(source, "name", "the input"))
        stream = Stream(source, name)
        yield Bundle(name, _read_index(stream, name), stream, None, None)
        return
    name = str(source)
    try:
        file = source.open("rb", buffering=0)
    except FileNotFoundError:
        wrong = f"no such file{_similar(source)}"
        raise InputError(Problem(name, wrong), hint="fategen bundle save writes one") from None
    except OSError as error:
        raise InputError(Problem(name, f"cannot be read: {error.strerror}")) from None
    with file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            stream = Stream(file.fileno(), name)
            yield Bundle(name, _read_index(stream, name), stream, file.fileno(), status.st_size)
        else:
            stream = Stream(file, name)
            yield Bundle(name, _read_index(stream, name), stream, None, None)


def stdin() -> Reads:
    """Standard input as a bundle."""
    return sys.stdin.buffer


def _similar(source: Path) -> str:
    with contextlib.suppress(OSError):
        return did_you_mean(source.name, [path.name for path in source.parent.iterdir()])
    return ""


def _read_index(stream: Stream, name: str) -> Contents:
    """Read the first member, and what the index in it says of all others."""
    block = stream.take(BLOCK)
    if not block:
        raise BundleError(f"{name} is empty", hint="copy it again")
    try:
        first, size = parse_header(block)
    except HeaderError as error:
        raise _not_a_bundle(block, name, str(error)) from None
    if first != INDEX_FILE:
        raise _not_a_bundle(block, name, f"it begins with {first!r}, a bundle with {INDEX_FILE!r}")
    if size > LIMIT:
        raise BundleError(f"{name} is damaged or unsafe: its index has {size:,} bytes, at most {LIMIT:,} are read")
    data = stream.take(size + padding(size))
    if len(data) < size + padding(size):
        raise BundleError(f"{name} is cut short: it ends inside its first member", hint="copy the whole file again")
    where = f"{name} is damaged: bytes {BLOCK:,}-{BLOCK + len(data) - 1:,} of the file ({INDEX_FILE})"
    try:
        index = decode(data[:size])
    except Malformed as error:
        raise BundleError(f"{where}: {error}", hint="copy that range again, or the whole file") from None
    if data[size:].strip(b"\0"):
        raise BundleError(f"{where}: its padding is not zero", hint="copy that range again, or the whole file")
    return contents(index)


def _not_a_bundle(block: bytes, name: str, reason: str) -> BundleError:
    """Says what a file that begins with ``block`` is, and how to make a bundle of it."""
    for magic, (what, unpack) in _COMPRESSED.items():
        if block.startswith(magic):
            return BundleError(f"{name} is not a bundle: it is {what}", hint=f"unpack it first: {unpack} {name}")
    if len(block) < BLOCK:
        return BundleError(f"{name} is not a bundle, or it is cut short: it has {len(block)} bytes", hint=_SAVE)
    if block[257:262] != b"ustar":
        return BundleError(f"{name} is not a bundle: it is not a tar, or its beginning is missing", hint=_SAVE)
    first = block[:100].partition(b"\0")[0]
    if _DOCKER_ARCHIVE.fullmatch(first):
        hint = f"skopeo copy docker-archive:{name} oci:DIR, then {_SAVE} --from layout:DIR"
        return BundleError(f"{name} is not a bundle: it is a docker save archive", hint=hint)
    if _OCI_LAYOUT.fullmatch(first):
        what = "it is an OCI layout, or a docker save archive since Docker 25"
        hint = f"skopeo copy oci-archive:{name} oci:DIR (or docker-archive:), then {_SAVE} --from layout:DIR"
        return BundleError(f"{name} is not a bundle: {what}", hint=hint)
    return BundleError(f"{name} is not a bundle: {reason}", hint=_SAVE)


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
        except _EndOfFile:
            self.damage = Damage(
                self.member.label, self.member.images, self.member.offset, self.member.end, "is missing", missing=True
            )
            raise StopIteration from None

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


def verified(bundle: Bundle, progress: Progress = quiet, outcome: str = "") -> Iterator[MemberBytes]:
    """Every member after the index, in one pass; what of its bytes nobody reads is read and checked here.

    After the first damaged member the rest is checked too, but no more of it is given; DamagedError then lists all
    damage. Another BundleError: the file does not match its index. ``outcome`` ends these messages.
    """
    checker = _Checker(bundle, progress, outcome)
    damages: list[Damage] = []
    for member in bundle.contents.members[1:]:
        data = MemberBytes(member, checker.pieces(member, bundle.stream))
        if not damages:
            yield data
        damage = data.check()
        if damage and damage.missing:
            raise cut_short(bundle.name, bundle.contents, bundle.stream.position, damages, outcome)
        if damage:
            damages.append(damage)
    check_end(bundle, damages, outcome)


def _verify_file(bundle: Bundle, progress: Progress, threads: int) -> None:
    """The same by several threads, where the source is a file."""
    checker = _Checker(bundle, progress, "")

    def check(member: Member) -> Damage | None:
        try:
            return MemberBytes(member, checker.pieces(member, bundle.at(member.offset))).check()
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


def check_end(bundle: Bundle, damages: list[Damage] | None = None, outcome: str = "") -> None:
    """DamagedError where the bundle does not end as it must, or there are ``damages`` before."""
    plan, damages = bundle.contents, list(damages or [])
    if bundle.file_size is None:
        end = bundle.stream.take(len(TRAILER))
        if len(end) < len(TRAILER):
            raise cut_short(bundle.name, plan, bundle.stream.position, damages, outcome)
        extra, words = (len(bundle.stream.take(1)) if end == TRAILER else 0), "bytes"
    else:
        if bundle.file_size < plan.size:
            raise cut_short(bundle.name, plan, bundle.file_size, damages, outcome)
        end = bundle.at(plan.size - len(TRAILER)).take(len(TRAILER))
        extra = bundle.file_size - plan.size
        words = f"{extra:,} bytes"
    if end != TRAILER:
        damages.append(Damage("the end mark", (), plan.size - len(TRAILER), plan.size, "is not zero"))
    elif extra:
        damages.append(Damage("the end", (), plan.size, plan.size + extra, f"has {words} after it"))
    if damages:
        raise damaged(bundle.name, plan, damages, outcome)


class _EndOfFile(Exception):
    """The file ends inside a member."""


class _Checker:
    """Checks members of one bundle, perhaps in several threads at once. Set ``stopped`` to end them all."""

    def __init__(self, bundle: Bundle, progress: Progress, outcome: str) -> None:
        self._name, self._outcome, self._progress = bundle.name, outcome, progress
        self._done, self._total = bundle.contents.members[0].end, bundle.contents.size
        self._descriptions = Descriptions(bundle.index)
        self._lock = threading.Lock()
        self.stopped = False

    def pieces(self, member: Member, stream: Stream) -> Generator[bytes, None, Damage | None]:
        """The bytes of a member, which begins where ``stream`` is: see ``MemberBytes``. Returns what is wrong."""
        block = self._take(stream, BLOCK)
        torn = block != header(member.name, member.size)
        if torn:
            self._require_torn(block, member)
        else:
            yield block
        describes = member.role in ("index", "manifest", "config")
        document: list[bytes] = []
        sha, left = hashlib.sha256(), member.size
        while left:
            piece = self._take(stream, min(left, _PIECE))
            left -= len(piece)
            sha.update(piece)
            if describes:
                document.append(piece)
            if not torn:
                yield piece
            self._report(member.label, len(piece))
        pad = self._take(stream, padding(member.size))
        wrong = ""
        if "sha256:" + sha.hexdigest() != member.digest:
            wrong = "does not match its digest" if member.content is None else "does not follow from the bundle index"
        elif describes:
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
        except HeaderError as error:
            if error.damaged:
                return
            raise unsafe(self._name, member.offset, str(error), self._outcome) from None
        reason = f"member {name!r} is where {member.name!r} belongs"
        if name == member.name:
            reason = f"member {name!r} has {size:,} bytes, the index says {member.size:,}"
        raise unsafe(self._name, member.offset, reason, self._outcome)

    def _take(self, stream: Stream, size: int) -> bytes:
        data = stream.take(size)
        if len(data) < size:
            raise _EndOfFile
        return data

    def _report(self, what: str, size: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        with self._lock:
            self._done += size
            self._progress(what, self._done, self._total)


class Descriptions:
    """What the bundle index says of each OCI index, manifest and config, by digest: it alone decides what is loaded."""

    def __init__(self, index: BundleIndex) -> None:
        self._indexes: dict[str, list[Image]] = {}
        self._manifests: dict[str, set[PlatformImage]] = {}
        self._configs: dict[str, set[PlatformImage]] = {}
        for image in index.images:
            if image.nested:
                self._indexes.setdefault(image.target.digest, []).append(image)
            for platform_image in image.platform_images:
                self._manifests.setdefault(platform_image.manifest.digest, set()).add(platform_image)
                self._configs.setdefault(platform_image.config.digest, set()).add(platform_image)

    def mismatch(self, digest: str, data: bytes) -> str:
        """How the blob ``data`` differs from the bundle index, in words; "" where it does not.

        ``data`` already matches its digest. Checked: an index names exactly the platforms and manifests; a manifest the
        config and layers (digest, size, media type, order); a config the diff ids in number and order. That the layers
        unpack to their diff ids is for the engine to check.
        """
        try:
            self._index(digest, data)
            self._manifest(digest, data)
            self._config(digest, data)
        except Malformed as error:
            return f"is not what it must be: {error}"
        return ""

    def _index(self, digest: str, data: bytes) -> None:
        users = self._indexes.get(digest, [])
        for media_type in sorted({image.target.media_type for image in users}):
            children = parse_index(data, media_type)
            named = {(child.platform, child.descriptor) for child in children}
            for image in users:
                if len(children) != len(image.platform_images) or named != {
                    (v.platform, v.manifest) for v in image.platform_images
                }:
                    raise Malformed("it names other platforms or manifests than the bundle index")

    def _manifest(self, digest: str, data: bytes) -> None:
        users = self._manifests.get(digest, set())
        for media_type in sorted({platform_image.manifest.media_type for platform_image in users}):
            manifest = parse_manifest(data, media_type)
            if any(manifest.config != platform_image.config for platform_image in users):
                raise Malformed("it has another config than the bundle index")
            if any(manifest.layers != tuple(layer.blob for layer in platform_image.layers) for platform_image in users):
                raise Malformed("it has other layers than the bundle index")

    def _config(self, digest: str, data: bytes) -> None:
        users = self._configs.get(digest, set())
        if users:
            diff_ids = parse_config(data).diff_ids
            if any(diff_ids != tuple(layer.diff_id for layer in platform_image.layers) for platform_image in users):
                raise Malformed("it has other diff ids than the bundle index")
