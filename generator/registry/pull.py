"""Manifests and blobs out of a registry: no byte is believed before its digest is, and what has come is kept.

A blob grows in ``<hex>.partial`` beside its place and is renamed when it is whole and right. Whatever ends a run, the
next one hashes what is there and asks for the rest (RFC 9110, 14: Range). Own code: see the package.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from generator.files import disk_errors
from generator.registry.answers import refusal
from generator.registry.session import DELAYS, Registry
from generator.registry.transport import Refused

if TYPE_CHECKING:
    from typing import TypeAlias

    import requests

MANIFEST_LIMIT = 4 << 20
"""Bytes of a manifest or an index; distribution's own limit is the same."""
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_CHUNK = 1 << 20
_RESTARTS = 3
"""Times that a blob is begun again (wrong bytes, no ranges) before it is the registry's fault."""
_WAIT = 0.1
"""Seconds between two looks at a blob that somebody else fetches."""

Received: TypeAlias = "Callable[[int], None]"
"""Called with the bytes that came, from several threads; negative where they were thrown away. It may raise."""


@dataclass(frozen=True)
class Document:
    """A manifest or an index as the registry has it: its own digest, media type and bytes."""

    digest: str
    media_type: str
    data: bytes


def get_manifest(registry: Registry, path: str, name: str) -> Document:
    """The manifest with this tag or digest. Refused where the registry has it not, or gives another one."""
    path = registry.path(path)
    for delay in (*DELAYS, None):
        address, scope = f"/v2/{path}/manifests/{name}", f"repository:{path}:pull"
        with registry.request("GET", address, scope, headers={"Accept": ACCEPT}, stream=True) as answer:
            if answer.status_code != 200:
                # reads the body, which stream=True left
                raise refusal(answer, registry.access.login)
            with registry.reading(answer):
                data = b"".join(_body(answer, MANIFEST_LIMIT + 1))
            length = answer.headers.get("Content-Length", "")
        if len(data) > MANIFEST_LIMIT:
            raise Refused("unknown", f"a manifest of more than {MANIFEST_LIMIT:,} bytes")
        digest = _sha256(data)
        promised = name if ":" in name else answer.headers.get("Docker-Content-Digest", digest)
        cut = length.isdecimal() and int(length) != len(data)
        if digest == promised and not cut:
            return Document(digest, answer.headers.get("Content-Type", "").partition(";")[0].strip(), data)
        if delay is None:
            of = f", {len(data):,} of {length} bytes" if cut else ""
            raise Refused("unknown", f"the manifest that came is {digest}, not {promised}{of}")
        registry.pause(delay)
    raise AssertionError("unreachable")


def has_manifest(registry: Registry, path: str, digest: str) -> bool:
    """Whether the registry has a manifest with this tag or digest."""
    return _head(registry, path, "manifests", digest, headers={"Accept": ACCEPT}) is not None


def has_blob(registry: Registry, path: str, digest: str) -> bool:
    return _head(registry, path, "blobs", digest) is not None


def tagged(registry: Registry, path: str, tag: str) -> str:
    """The digest behind a tag, "" where there is none; where the registry does not say it, of what it has there."""
    found = _head(registry, path, "manifests", tag, headers={"Accept": ACCEPT})
    if found is None:
        return ""
    return found.headers.get("Docker-Content-Digest") or get_manifest(registry, path, tag).digest


def _head(registry: Registry, path: str, kind: str, name: str, **options: Any) -> requests.Response | None:
    path = registry.path(path)
    answer = registry.request("HEAD", f"/v2/{path}/{kind}/{name}", f"repository:{path}:pull", **options)
    if answer.status_code == 200:
        return answer
    if answer.status_code == 404:
        return None
    raise refusal(answer, registry.access.login)


def fetch_blob(
    registry: Registry, path: str, digest: str, size: int, directory: Path, received: Received = lambda _: None
) -> bool:
    """Brings a blob to ``directory/<hex>``; whether anything had to be asked for. ``digest`` must have been checked.

    Raises Refused where the registry does not give it, or gives other bytes; EngineError where the disk fails, or
    another fategen fetches it. What came is kept in each case, but for bytes that are proven wrong.
    """
    target = directory / digest.partition(":")[2]
    with disk_errors(directory), _locked(target, size, registry, received) as file:
        if file is None:
            received(size)
            return False
        _Fetch(registry, registry.path(path), digest, size, file, received).run()
        _part(target).replace(target)
    return True


class _Fetch:
    def __init__(
        self, registry: Registry, path: str, digest: str, size: int, file: IO[bytes], received: Received
    ) -> None:
        self._registry, self._address = registry, f"/v2/{path}/blobs/{digest}"
        self._scope, self._digest, self._size = f"repository:{path}:pull", digest, size
        self._file, self._received = file, received
        self._sha, self._have, self._restarts = hashlib.sha256(), 0, 0

    def run(self) -> None:
        self._resume()
        failures = 0
        while True:
            before, restarts = self._have, self._restarts
            trouble = self._ask() if self._have < self._size or not self._size else ""
            if not trouble:
                if "sha256:" + self._sha.hexdigest() == self._digest:
                    return
                self._restart()
                trouble = f"its {self._size:,} bytes are not those of the digest"
            # a line that breaks again and again, but brings something each time, comes to its end
            failures = 0 if self._have > before and self._restarts == restarts else failures + 1
            if failures > len(DELAYS) or self._restarts > _RESTARTS:
                raise Refused("unknown", trouble)
            self._registry.pause(DELAYS[max(failures - 1, 0)])

    def _resume(self) -> None:
        """Hashes what an earlier run left."""
        while chunk := self._file.read(_CHUNK):
            self._sha.update(chunk)
            self._have += len(chunk)
        self._received(self._have)
        if self._have > self._size:
            self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._received(-self._have)
        self._sha, self._have = hashlib.sha256(), 0
        self._restarts += 1

    def _ask(self) -> str:
        """Reads on until the blob is whole or the answer ends; or what went wrong. Refused: asking again is in vain."""
        headers = {"Range": f"bytes={self._have}-"} if self._have else {}
        with self._registry.request("GET", self._address, self._scope, headers=headers, stream=True) as answer:
            if answer.status_code not in (200, 206, 416):
                raise refusal(answer, self._registry.access.login)
            if answer.status_code != 206 and self._have:
                # one that knows no ranges sends all of it
                self._restart()
            if trouble := self._disagreement(answer):
                if self._have:
                    self._restart()
                return trouble
            with self._registry.reading(answer):
                for chunk in _body(answer, self._size - self._have):
                    self._write(chunk)
                    self._sha.update(chunk)
                    self._have += len(chunk)
                    self._received(len(chunk))
        return "" if self._have == self._size else f"the line broke after {self._have:,} of {self._size:,} bytes"

    def _write(self, chunk: bytes) -> None:
        """All of it: a file without a buffer may take less, as a disk does that is almost full."""
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]

    def _disagreement(self, answer: requests.Response) -> str:
        """What an answer says of its length must fit before a byte of it is taken; "" where it does."""
        if answer.status_code == 416:
            return "it has not the part that was asked for"
        length, total = answer.headers.get("Content-Length", ""), str(self._size)
        if answer.status_code == 206:
            stated = answer.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated)
            if found is None or int(found[1]) != self._have:
                return f"asked for bytes {self._have:,} and on, it sends {stated or 'others'}"
            length, total = found[2], f"{total} *"
        if length and length not in total.split():
            return f"it has {length} bytes of it, the manifest says {self._size}"
        return ""


def _body(answer: requests.Response, limit: int) -> Iterator[bytes]:
    """The bytes of an answer as they are on the line, up to ``limit``; where the line breaks they end."""
    import urllib3

    while limit > 0:
        try:
            chunk = answer.raw.read(min(_CHUNK, limit), decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return
        if not chunk:
            return
        limit -= len(chunk)
        yield chunk


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def arrived(directory: Path, digest: str) -> int:
    """Bytes of a blob that are in ``directory``, be it whole or not."""
    target = directory / digest.partition(":")[2]
    for path in (target, _part(target)):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


@contextlib.contextmanager
def _locked(target: Path, size: int, registry: Registry, received: Received) -> Iterator[IO[bytes] | None]:
    """The file that a blob grows in, at its beginning; None where the blob is there. It stays, whatever happens.

    Where another thread or another fategen fetches the same blob, its end is waited for.
    """
    while not (target.exists() and target.stat().st_size == size):
        # no buffer: what a killed run had received is then in the file
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_part(target), flags, 0o666), "r+b", buffering=0) as file:
            if _lock(file, _part(target)):
                yield file
                return
        received(0)
        registry.pause(_WAIT)
    yield None


def _lock(file: IO[bytes], path: Path) -> bool:
    """Whether the file is ours alone, and still the one there: its blob may be finished since it was opened."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False
