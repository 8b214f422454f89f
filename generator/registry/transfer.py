"""Downloads and uploads of one blob: resumed after a break, and accepted only with the right digest.

A blob that is fetched grows in ``<hex>.partial`` beside its place and is renamed when it is whole and right. Whatever
ends a run, the next one hashes what is there and asks for the rest (RFC 9110, 14: Range). For uploads see
opencontainers/distribution-spec, spec.md: "Pushing a blob in chunks", "Mounting a blob from another repository",
"Resuming"; a whole PUT first, since it costs one request and one copy on the registry's disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias

import urllib3

from generator.files import disk_errors, write_atomically
from generator.images.oci import Descriptor
from generator.registry.client import Registry
from generator.registry.http import RegistryError, Response, join_url
from generator.registry.session import UPLOAD_TIMEOUT, with_query

_CHUNK = 1 << 20
_RESTARTS = 3
"""Times that a blob is started from the beginning (wrong bytes, no ranges) before the registry is to blame."""
_LARGE = 8 << 20
"""Bytes from which on an upload is worth going on with in the next run."""
_PIECE = 64 << 10
"""Bytes that urllib3 sends at a time: each piece has the seconds to connect, so that 0.1 Mbit/s is fast enough."""

Received: TypeAlias = Callable[[int], None]
"""Called with the number of bytes received, negative if they were discarded; by several threads. It may raise."""
Content: TypeAlias = Callable[[], Iterator[bytes]]
"""Yields a blob's bytes from the start; raises before the last ones if they are wrong."""


def bytes_present(directory: Path, digest: str) -> int:
    """Bytes of a blob that are in ``directory``, whether it is complete or not."""
    target = directory / digest.partition(":")[2]
    for path in (target, _partial(target)):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


class Download:
    """The download of one blob; nobody else may download it to the same directory at the same time."""

    def __init__(self, registry: Registry, path: str, blob: Descriptor, received: Received = lambda _: None) -> None:
        self._registry, self._path = registry, path
        self._digest, self._size, self._received = blob.digest, blob.size, received
        self._sha, self._have, self._restarts = hashlib.sha256(), 0, 0

    def into(self, directory: Path) -> bool:
        """Downloads to ``directory/<hex>``; False if it was there already.

        Raises RegistryError if the registry does not send it, or sends other bytes; EngineError if the disk fails.
        What was received is kept for the next try, except bytes that are proven wrong.
        """
        target = directory / self._digest.partition(":")[2]
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with disk_errors(directory):
            if target.exists() and target.stat().st_size == self._size:
                self._received(self._size)
                return False
            with os.fdopen(os.open(_partial(target), flags, 0o666), "r+b") as file:
                self._fill(file)
            _partial(target).replace(target)
        return True

    def _fill(self, file: IO[bytes]) -> None:
        while chunk := file.read(_CHUNK):
            self._sha.update(chunk)
            self._have += len(chunk)
        self._registry.raise_if_stopped()
        self._received(self._have)
        failures = 0
        while True:
            before = self._have
            problem = self._ask_for_the_rest(file) if self._have < self._size else ""
            if not problem:
                if "sha256:" + self._sha.hexdigest() == self._digest:
                    return
                self._restart(file)
                problem = f"its {self._size:,} bytes are not those of the digest"
            # no failure: a connection that breaks again and again, but each time brings something, comes to its end
            failures = 0 if self._have > before else failures + 1
            if self._restarts > _RESTARTS:
                raise RegistryError("unknown", problem)
            self._registry.back_off(max(failures, 1), RegistryError("unknown", problem))

    def _restart(self, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        self._received(-self._have)
        self._sha, self._have = hashlib.sha256(), 0
        self._restarts += 1

    def _ask_for_the_rest(self, file: IO[bytes]) -> str:
        """Reads until the blob is complete or the response ends; returns what went wrong.

        Raises RegistryError if no retry will help.
        """
        headers = {"Range": f"bytes={self._have}-"} if self._have else {}
        response = self._registry.ask("GET", self._path, f"blobs/{self._digest}", headers=headers, stream=True)
        try:
            self._registry.expect(response, 200, 206, 416)
            problem = self._disagreement(response)
            if self._have and (problem or response.status == 200):
                # a registry without ranges sends all of it
                self._restart(file)
            if problem:
                return problem
            self._read(response, file)
        finally:
            response.close()
        whole = self._have == self._size
        return "" if whole else f"the connection broke after {self._have:,} of {self._size:,} bytes"

    def _read(self, response: Response, file: IO[bytes]) -> None:
        """Reads no more bytes than the blob has; stops when the connection breaks."""
        while self._have < self._size:
            try:
                chunk = response.body.read(min(_CHUNK, self._size - self._have), decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError):
                return
            if not chunk:
                return
            self._registry.raise_if_stopped()
            file.write(chunk)
            self._sha.update(chunk)
            self._have += len(chunk)
            self._received(len(chunk))

    def _disagreement(self, response: Response) -> str:
        """How the length that a response states differs from the request; "" if it does not."""
        if response.status == 416:
            return "it does not have the requested part"
        length = response.headers.get("Content-Length", "")
        if response.status == 206:
            stated = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated)
            if match is None or int(match[1]) != self._have:
                return f"asked for bytes {self._have:,} and on, it sends {stated or 'others'}"
            length = match[2].strip("*")
        if length in ("", str(self._size)):
            return ""
        return f"it has {length} bytes of it, the manifest says {self._size}"


class OpenUploads:
    """The uploads of large blobs that a run began and did not complete, in a file: the next run goes on with them.

    An upload's URL can carry a right to upload to it: the file is its owner's alone. Thread-safe.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._urls: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._urls = {str(key): str(url) for key, url in dict(json.loads(file.read_bytes())).items()}

    def get(self, key: str) -> str:
        return self._urls.get(key, "")

    def put(self, key: str, url: str) -> None:
        """Notes where an upload is. A disk that refuses this costs the next run an upload anew."""
        with self._lock, contextlib.suppress(OSError):
            self._urls[key] = url
            write_atomically(self._file, json.dumps(self._urls), sync=False, mode=0o600)

    def forget(self) -> None:
        """For when everything is uploaded."""
        self._file.unlink(missing_ok=True)


class Upload:
    """The upload of one blob to the repository ``path``; after a break it goes on where the registry stands."""

    def __init__(self, registry: Registry, path: str, blob: Descriptor, content: Content, uploads: OpenUploads) -> None:
        self._registry, self._path = registry, path
        self._digest, self._size, self._content = blob.digest, blob.size, content
        self._scope = registry.scope(path, "pull,push")
        self._uploads = uploads if blob.size >= _LARGE else None
        self._key = f"{registry.access.host}/{registry.full(path)}@{blob.digest}"

    def run(self, mount: str = "") -> bool:
        """Makes sure that the repository has the blob; whether it had to be sent.

        Else it is there, or was mounted from the repository ``mount``. Raises RegistryError, and whatever the content
        raises; then the registry has no new blob.
        """
        if self._registry.has_blob(self._path, self._digest):
            return False
        self._location = self._uploads.get(self._key) if self._uploads else ""
        start = self._resume() if self._location else self._begin(mount)
        if not self._location:
            return False
        furthest, failures = start, 0
        while True:
            if self._uploads:
                self._uploads.put(self._key, self._location)
            try:
                self._send_from(start)
                return True
            except RegistryError as error:
                problem = error
            # 401: the token expired, the next try gets a new one; 404 and 416: the registry lost the upload, or a part
            if not problem.transient and problem.status not in (401, 404, 416) and problem.code != "DIGEST_INVALID":
                raise problem
            if self._registry.has_blob(self._path, self._digest):
                # the answer that said so was lost
                return True
            # what was damaged on its way is not gone on with
            start = self._begin() if problem.code == "DIGEST_INVALID" else self._resume()
            # no failure: a connection that breaks again and again, but each time brings something, comes to its end
            failures, furthest = (0, start) if start > furthest else (failures + 1, furthest)
            self._registry.back_off(max(failures, 1), problem)

    def _begin(self, mount: str = "") -> int:
        """Starts an upload, at byte 0. Its location is "" if the blob was mounted from another repository."""
        address, scopes = f"/v2/{self._registry.full(self._path)}/blobs/uploads/", [self._scope]
        if mount:
            address = with_query(address, ("mount", self._digest), ("from", self._registry.full(mount)))
            scopes.append(self._registry.scope(mount, "pull"))
        response, self._location = self._registry.request("POST", address, *scopes), ""
        if mount and response.status == 201:
            return 0
        if mount and response.status != 202:
            return self._begin()
        return self._at(response, 202, 0)

    def _send_from(self, start: int) -> None:
        """Sends the bytes after the first ``start``. Raises RegistryError if the blob is not complete then."""
        if 0 < start < self._size:
            self._at(self._send("PATCH", self._location, start), 202, self._size)
        last = with_query(self._location, ("digest", self._digest))
        if start == 0:
            response = self._send("PUT", last, 0)
        else:
            response = self._registry.once_with_token("PUT", last, self._scope, timeout=UPLOAD_TIMEOUT)
        self._registry.expect(response, 201)

    def _resume(self) -> int:
        """After how many bytes the upload goes on: those that the registry kept, or none in a new upload."""
        with contextlib.suppress(RegistryError):
            response = self._registry.request("GET", self._location, self._scope)
            match = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("Range", ""))
            if match is not None and 0 < int(match[1]) < self._size:
                return self._at(response, 204, int(match[1]) + 1)
        return self._begin()

    def _at(self, response: Response, status: int, start: int) -> int:
        """Notes where the upload is now; ``start``. Raises RegistryError if the response has another status."""
        self._registry.expect(response, status)
        self._location = join_url(response.url, response.headers.get("Location", self._location))
        return start

    def _send(self, method: str, address: str, start: int) -> Response:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(self._size - start)}
        if start:
            headers["Content-Range"] = f"{start}-{self._size - 1}"
        header = self._registry.authorization((self._scope,))
        body = self._body(start)
        return self._registry.once(method, address, header, headers=headers, body=body, timeout=UPLOAD_TIMEOUT)

    def _body(self, start: int) -> Iterator[bytes]:
        for piece in pieces(self._content(), start, self._size):
            self._registry.raise_if_stopped()
            yield piece


def pieces(chunks: Iterator[bytes], start: int, size: int) -> Iterator[bytes]:
    """All bytes after the first ``start``, in small pieces. The first are read too: the blob is checked as a whole."""
    end = 0
    for chunk in chunks:
        end += len(chunk)
        if end > size:
            # a server would read what follows a body of that Content-Length as another request
            raise ValueError(f"more than {size:,} bytes arrived for a body of that size")
        for begin in range(max(start - (end - len(chunk)), 0), len(chunk), _PIECE):
            yield chunk[begin : begin + _PIECE]
