"""Blobs and manifests into a registry, digests kept: nothing is sent that is there, nothing twice that came through.

Source: opencontainers/distribution-spec, spec.md: "Pushing a blob in chunks", "Mounting a blob from another
repository", "Resuming"; a whole PUT first, since it costs one request and one copy on the registry's disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from generator.registry.answers import joined, refusal, retry_after
from generator.registry.pull import has_blob
from generator.registry.session import DELAYS, RETRIED, Registry
from generator.registry.transport import Refused

if TYPE_CHECKING:
    from typing import TypeAlias

    import requests

State = Literal["pushed", "mounted", "was there"]
_SECONDS = (5.0, 300.0)
"""To connect, and for an answer: a registry moves a large blob to its place before it says yes."""

_PIECE = 64 << 10
"""Bytes that urllib3 sends at a time: each piece has the seconds to connect, so that 0.1 Mbit/s is fast enough."""

Content: TypeAlias = "Callable[[], Iterator[bytes]]"
"""Gives a blob's bytes from the start; it raises before the last ones where they are wrong."""


def push_blob(
    registry: Registry, path: str, digest: str, size: int, content: Content, mounts: Sequence[str] = ()
) -> State:
    """Has the repository have this blob: it is there, in one of ``mounts`` (repositories), or sent.

    Raises Refused, and whatever ``content`` raises; then the registry has no new blob.
    """
    if has_blob(registry, path, digest):
        return "was there"
    return _Upload(registry, path, digest, size, content).run(mounts)


def push_manifest(registry: Registry, path: str, name: str, media_type: str, digest: str, data: bytes) -> None:
    """Puts a manifest under a tag or its digest; Refused where the registry does not take it or calls it otherwise."""
    path = registry.path(path)
    answer = registry.request(
        "PUT",
        f"/v2/{path}/manifests/{name}",
        f"repository:{path}:pull,push",
        data=data,
        headers={"Content-Type": media_type},
        timeout=_SECONDS,
    )
    if answer.status_code != 201:
        raise refusal(answer, registry.access.login)
    called = answer.headers.get("Docker-Content-Digest", digest)
    if called != digest:
        raise Refused("unknown", f"it took {digest} and calls it {called}")


class _Body:
    """What requests sends with a Content-Length, in the pieces that it is read in."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks, self._size = chunks, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        for chunk in self._chunks:
            left -= len(chunk)
            if left < 0:
                # behind what Content-Length says a server would read another request
                raise ValueError(f"more than {self._size:,} bytes came for a body of that size")
            for start in range(0, len(chunk), _PIECE):
                yield chunk[start : start + _PIECE]


class _Upload:
    def __init__(self, registry: Registry, path: str, digest: str, size: int, content: Content) -> None:
        self._registry, self._path = registry, registry.path(path)
        self._digest, self._size, self._content = digest, size, content
        self._scope = f"repository:{self._path}:pull,push"

    def run(self, mounts: Sequence[str]) -> State:
        location = self._begin(mounts)
        if not location:
            return "mounted"
        for delay in (*DELAYS, None):
            try:
                answer = self._send("PUT", location, 0, {"digest": self._digest})
            except Refused as refused:
                if delay is None or refused.finding.kind != "unreachable":
                    raise
                self._registry.pause(delay)
                if self._resume(location):
                    return "pushed"
            else:
                if answer.status_code == 201:
                    return "pushed"
                # 401: the token went out of date; the next beginning gets a fresh one
                if delay is None or answer.status_code not in (401, *RETRIED):
                    raise refusal(answer, self._registry.access.login)
                self._registry.pause(retry_after(answer, delay))
            location = self._begin(())
        raise AssertionError("unreachable")

    def _begin(self, mounts: Sequence[str]) -> str:
        """Where to send the blob; "" where it was mounted from another repository."""
        uploads = f"/v2/{self._path}/blobs/uploads/"
        for source in (*(self._registry.path(mount) for mount in mounts), ""):
            scopes = (self._scope, f"repository:{source}:pull") if source else (self._scope,)
            params = {"mount": self._digest, "from": source} if source else {}
            answer = self._registry.request("POST", uploads, *scopes, params=params)
            if answer.status_code == 201 and source:
                return ""
            if answer.status_code == 202:
                return self._location(answer)
        raise refusal(answer, self._registry.access.login)

    def _resume(self, location: str) -> bool:
        """After a line that broke: whether what the registry has of it could be completed by parts."""
        answer = self._registry.request("GET", location, self._scope)
        found = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
        if answer.status_code != 204 or found is None or not 0 < int(found[1]) < self._size:
            return False
        have = int(found[1]) + 1
        location = self._location(answer) if "Location" in answer.headers else location
        try:
            answer = self._send("PATCH", location, have, {})
            if answer.status_code != 202:
                return False
            data = {"digest": self._digest}
            done = self._registry.request("PUT", _with(self._location(answer), data), self._scope, timeout=_SECONDS)
        except Refused:
            return False
        return done.status_code == 201

    def _send(self, method: str, location: str, start: int, query: dict[str, str]) -> requests.Response:
        headers = {"Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"{start}-{self._size - 1}"
        left = self._size - start
        body: Any = _Body(_from(self._content(), start), left) if left else b""
        header = self._registry.kept_authorization(self._scope)
        return self._registry.once(method, _with(location, query), header, data=body, headers=headers, timeout=_SECONDS)

    def _location(self, answer: requests.Response) -> str:
        return joined(answer.url, answer.headers.get("Location", ""))


def _from(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    """All bytes behind the first ``start``; those are read as well, since they are checked as a whole."""
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[start:] if start else chunk
        start = max(start - len(chunk), 0)


def _with(location: str, query: dict[str, str]) -> str:
    """An upload's address keeps the query that the registry gave it."""
    parts = urlsplit(location)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *query.items()]
    return urlunsplit(parts._replace(query=urlencode(pairs)))
