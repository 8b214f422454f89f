"""A blob into a registry: mounted from another repository or sent whole; after a broken connection, only the rest.

Source: opencontainers/distribution-spec, spec.md: "Pushing a blob in chunks", "Mounting a blob from another
repository", "Resuming"; a whole PUT first, since it costs one request and one copy on the registry's disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias

from generator.registry.http import Answer, Refusal, join_url
from generator.registry.session import DELAYS, RETRIED, Session, retry_after, with_query

State = Literal["pushed", "mounted", "was there"]
UPLOAD_TIMEOUT = (5.0, 300.0)
"""Seconds to connect, and for an answer: a registry moves a large blob to its place before it says yes."""

_PIECE = 64 << 10
"""Bytes that urllib3 sends at a time: each piece has the seconds to connect, so that 0.1 Mbit/s is fast enough."""

Content: TypeAlias = Callable[[], Iterator[bytes]]
"""Gives a blob's bytes from the start; it raises before the last ones where they are wrong."""


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
