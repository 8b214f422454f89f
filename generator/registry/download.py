"""A blob out of a registry: no byte is believed before its digest is, and what has come is kept.

A blob grows in ``<hex>.partial`` beside its place and is renamed when it is whole and right. Whatever ends a run, the
next one hashes what is there and asks for the rest (RFC 9110, 14: Range).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias

import urllib3

from generator.files import disk_errors
from generator.registry.http import Answer, Refusal
from generator.registry.session import DELAYS, Session

_CHUNK = 1 << 20
_RESTARTS = 3
"""Times that a blob is begun again (wrong bytes, no ranges) before it is the registry's fault."""
_WAIT = 0.1
"""Seconds between two looks at a blob that somebody else fetches."""

Received: TypeAlias = Callable[[int], None]
"""Called with the number of bytes that came, negative where they were thrown away; by several threads. It may raise."""


def download(
    session: Session, address: str, scope: str, digest: str, size: int, directory: Path, received: Received
) -> bool:
    """Brings the blob at ``address`` to ``directory/<hex>``; whether anything had to be asked for."""
    target = directory / digest.partition(":")[2]
    with disk_errors(directory), _locked(target, size, session, received) as file:
        if file is None:
            received(size)
            return False
        _Download(session, address, scope, digest, size, file, received).run()
        _partial(target).replace(target)
    return True


def bytes_present(directory: Path, digest: str) -> int:
    """Bytes of a blob that are in ``directory``, be it whole or not."""
    target = directory / digest.partition(":")[2]
    for path in (target, _partial(target)):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0


class _Download:
    def __init__(
        self, session: Session, address: str, scope: str, digest: str, size: int, file: IO[bytes], received: Received
    ) -> None:
        self._session, self._address, self._scope = session, address, scope
        self._digest, self._size, self._file, self._received = digest, size, file, received
        self._sha, self._have, self._restarts = hashlib.sha256(), 0, 0

    def run(self) -> None:
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


@contextlib.contextmanager
def _locked(target: Path, size: int, session: Session, received: Received) -> Iterator[IO[bytes] | None]:
    """The file that a blob grows in, at its beginning; None where the blob is there. It stays, whatever happens.

    Where another thread or another fategen fetches the same blob, its end is waited for.
    """
    while not (target.exists() and target.stat().st_size == size):
        # no buffer: what a killed run had received is then in the file
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(_partial(target), flags, 0o666), "r+b", buffering=0) as file:
            if _lock(file, _partial(target)):
                yield file
                return
        received(0)
        session.pause(_WAIT)
    yield None


def _lock(file: IO[bytes], path: Path) -> bool:
    """Whether the file is ours alone, and still the one there: its blob may be finished since it was opened."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False
