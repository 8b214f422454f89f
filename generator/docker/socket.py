"""The engine by its own socket, where docker's is a Unix socket on this machine: a process, or a copy, less.

Source: Docker Engine API; a path without a version is for the newest that the engine knows. HTTP is written out here
because python3-minimal, with which a bundle can be loaded, has no ``http.client``.
"""

from __future__ import annotations

import socket
from typing import IO


def connect(path: str) -> socket.socket | None:
    """None for "", where nobody listens, or one may not talk to who does: docker says best which, and what to do."""
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def head(method: str, path: str, *headers: str) -> bytes:
    """The beginning of a request."""
    lines = (f"{method} {path} HTTP/1.1", "Host: docker", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode()


def response(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the answer. OSError or ValueError: it is not whole."""
    with connection.makefile("rb") as stream:
        return _read(stream)


def _read(stream: IO[bytes]) -> tuple[int, bytes]:
    status = stream.readline().split(b" ")
    headers = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.lower().partition(b":")
        headers[name] = value.strip()
    if len(status) < 2 or not line:
        raise ValueError("no response")
    body = b""
    if headers.get(b"transfer-encoding") != b"chunked":
        # not to its end: an engine that has not read everything resets the connection there
        body = stream.read(int(headers.get(b"content-length", b"-1")))
    else:
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
    return int(status[1]), body
