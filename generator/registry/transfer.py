"""A blob out of a registry, or into one: nothing is believed before its digest is, nothing is sent or fetched twice.

A blob that is fetched grows in ``<hex>.partial`` beside its place and is renamed when it is whole and right. Whatever
ends a run, the next one hashes what is there and asks for the rest (RFC 9110, 14: Range). For uploads see
opencontainers/distribution-spec, spec.md: "Pushing a blob in chunks", "Mounting a blob from another repository",
"Resuming"; a whole PUT first, since it costs one request and one copy on the registry's disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, TypeAlias

import urllib3

from generator.files import disk_errors
from generator.registry.http import Answer, Refusal, join_url
from generator.registry.session import DELAYS, RETRIED, Session, retry_after, with_query

_CHUNK = 1 << 20
_RESTARTS = 3
"""Times that a blob is begun again (wrong bytes, no ranges) before it is the registry's fault."""
_WAIT = 0.1
"""Seconds between two looks at a blob that somebody else fetches."""
UPLOAD_TIMEOUT = (5.0, 300.0)
"""Seconds to connect, and for an answer: a registry moves a large blob to its place before it says yes."""
_PIECE = 64 << 10
"""Bytes that urllib3 sends at a time: each piece has the seconds to connect, so that 0.1 Mbit/s is fast enough."""

Received: TypeAlias = Callable[[int], None]
"""Called with the number of bytes that came, negative where they were thrown away; by several threads. It may raise."""
Content: TypeAlias = Callable[[], Iterator[bytes]]
"""Gives a blob's bytes from the start; it raises before the last ones where they are wrong."""
State = Literal["pushed", "mounted", "was there"]


def bytes_present(directory: Path, digest: str) -> int:
    """Bytes of a blob that are in ``directory``, be it whole or not."""
    target = directory / digest.partition(":")[2]
    for path in (target, _partial(target)):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0


class Download:
    """One blob's way into ``directory/<hex>``. Methods raise Refusal; EngineError where the disk fails."""

    def __init__(self, session: Session, path: str, digest: str, size: int, received: Received) -> None:
        self._session, self._address = session, f"/v2/{path}/blobs/{digest}"
        self._scope = f"repository:{path}:pull"
        self._digest, self._size, self._received = digest, size, received
        self._sha, self._have, self._restarts = hashlib.sha256(), 0, 0

    def into(self, directory: Path) -> bool:
        """Whether anything had to be asked for."""
        target = directory / self._digest.partition(":")[2]
        with disk_errors(directory), self._locked(target) as file:
            if file is None:
                self._received(self._size)
                return False
            self._file = file
            self._run()
            _partial(target).replace(target)
        return True

    @contextlib.contextmanager
    def _locked(self, target: Path) -> Iterator[IO[bytes] | None]:
        """The file that a blob grows in, at its beginning; None where the blob is there. It stays, whatever happens.

        Where another thread or another fategen fetches the same blob, its end is waited for.
        """
        while not (target.exists() and target.stat().st_size == self._size):
            # no buffer: what a killed run had received is then in the file
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(_partial(target), flags, 0o666), "r+b", buffering=0) as file:
                if _lock(file, _partial(target)):
                    yield file
                    return
            self._received(0)
            self._session.pause(_WAIT)
        yield None

    def _run(self) -> None:
        self._hash_the_beginning()
        failures = 0
        while True:
            before, restarts = self._have, self._restarts
            problem = self._request() if self._have < self._size else ""
            if not problem:
                if "sha256:" + self._sha.hexdigest() == self._digest:
                    return
                self._restart()
                problem = f"its {self._size:,} bytes are not those of the digest"
            # a connection that breaks again and again, but brings something each time, comes to its end
            failures = 0 if self._have > before and self._restarts == restarts else failures + 1
            if failures > len(DELAYS) or self._restarts > _RESTARTS:
                raise Refusal("unknown", problem)
            self._session.pause(DELAYS[max(failures - 1, 0)])

    def _hash_the_beginning(self) -> None:
        """What an earlier run left."""
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

    def _request(self) -> str:
        """Reads on until the blob is whole or the answer ends; what went wrong. Refusal: asking again is in vain."""
        headers = {"Range": f"bytes={self._have}-"} if self._have else {}
        answer = self._session.request("GET", self._address, self._scope, headers=headers, stream=True)
        try:
            if answer.status not in (200, 206, 416):
                raise self._session.refusal(answer)
            if answer.status != 206 and self._have:
                # one that knows no ranges sends all of it
                self._restart()
            if problem := self._disagreement(answer):
                if self._have:
                    self._restart()
                return problem
            with self._session.reading(answer):
                self._read(answer)
        finally:
            answer.close()
        whole = self._have == self._size
        return "" if whole else f"the connection broke after {self._have:,} of {self._size:,} bytes"

    def _read(self, answer: Answer) -> None:
        """Not a byte more than the blob has; where the connection breaks, they end."""
        while self._have < self._size:
            try:
                chunk = answer.body.read(min(_CHUNK, self._size - self._have), decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError):
                return
            if not chunk:
                return
            left = memoryview(chunk)
            while left:
                # a file without a buffer may take less, as a disk does that is almost full
                left = left[self._file.write(left) :]
            self._sha.update(chunk)
            self._have += len(chunk)
            self._received(len(chunk))

    def _disagreement(self, answer: Answer) -> str:
        """What an answer says of its length must fit before a byte of it is taken; "" where it does."""
        if answer.status == 416:
            return "it does not have the part that was asked for"
        length, total = answer.headers.get("Content-Length", ""), str(self._size)
        if answer.status == 206:
            stated = answer.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated)
            if match is None or int(match[1]) != self._have:
                return f"asked for bytes {self._have:,} and on, it sends {stated or 'others'}"
            length, total = match[2], f"{total} *"
        if length and length not in total.split():
            return f"it has {length} bytes of it, the manifest says {self._size}"
        return ""


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _lock(file: IO[bytes], path: Path) -> bool:
    """Whether the file is ours alone, and still the one there: its blob may be finished since it was opened."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False


class Upload:
    """One blob's way into ``path`` of a registry."""

    def __init__(self, session: Session, path: str, digest: str, size: int, content: Content) -> None:
        self._session, self._path = session, path
        self._digest, self._size, self._content = digest, size, content
        self._scope = f"repository:{path}:pull,push"

    def run(self, mounts: Sequence[str]) -> State:
        """Raises Refusal, and whatever the content raises."""
        location = self._begin(mounts)
        if not location:
            return "mounted"
        for delay in (*DELAYS, None):
            try:
                answer = self._send("PUT", with_query(location, ("digest", self._digest)), 0)
            except Refusal as refusal:
                if delay is None or refusal.kind != "unreachable":
                    raise
                self._session.pause(delay)
                if self._send_the_rest(location):
                    return "pushed"
            else:
                if answer.status == 201:
                    return "pushed"
                # 401: the token went out of date; the next beginning gets a fresh one
                if delay is None or answer.status not in (401, *RETRIED):
                    raise self._session.refusal(answer)
                self._session.pause(retry_after(answer, delay))
            location = self._begin(())
        raise AssertionError("unreachable")

    def _begin(self, mounts: Sequence[str]) -> str:
        """Where to send the blob; "" where it was mounted from another repository."""
        uploads = f"/v2/{self._path}/blobs/uploads/"
        for source in mounts:
            address = with_query(uploads, ("mount", self._digest), ("from", source))
            answer = self._session.request("POST", address, self._scope, f"repository:{source}:pull")
            if answer.status == 201:
                return ""
            if answer.status == 202:
                return _location(answer)
        answer = self._session.request("POST", uploads, self._scope)
        if answer.status != 202:
            raise self._session.refusal(answer)
        return _location(answer)

    def _send_the_rest(self, location: str) -> bool:
        """After a connection that broke: whether what the registry has of it could be completed."""
        answer = self._session.request("GET", location, self._scope)
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
        if answer.status != 204 or match is None or not 0 < int(match[1]) < self._size:
            return False
        try:
            answer = self._send("PATCH", _location(answer, location), int(match[1]) + 1)
            if answer.status != 202:
                return False
            address = with_query(_location(answer), ("digest", self._digest))
            done = self._session.request("PUT", address, self._scope, timeout=UPLOAD_TIMEOUT)
        except Refusal:
            return False
        return done.status == 201

    def _send(self, method: str, address: str, start: int) -> Answer:
        left = self._size - start
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(left)}
        if start:
            headers["Content-Range"] = f"{start}-{self._size - 1}"
        body = pieces(self._content(), start, self._size)
        header = self._session.authorization(self._scope)
        return self._session.once(method, address, header, headers=headers, body=body, timeout=UPLOAD_TIMEOUT)


def pieces(chunks: Iterator[bytes], start: int, size: int) -> Iterator[bytes]:
    """All bytes behind the first ``start``, in small pieces; those are read as well: they are checked as a whole."""
    end = 0
    for chunk in chunks:
        end += len(chunk)
        if end > size:
            # a server would read what follows a body of that Content-Length as another request
            raise ValueError(f"more than {size:,} bytes came for a body of that size")
        for begin in range(max(start - (end - len(chunk)), 0), len(chunk), _PIECE):
            yield chunk[begin : begin + _PIECE]


def _location(answer: Answer, otherwise: str = "") -> str:
    return join_url(answer.url, answer.headers.get("Location", otherwise))
