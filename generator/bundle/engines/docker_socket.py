"""An archive straight into the engine's own socket, as ``docker load`` puts it there from its standard input.

The docker command would copy every byte once more: on two cores, a tenth of a load. Source: Docker Engine API,
``POST /images/load``, there since Docker 1.2 (a path without a version: the newest that the engine knows). HTTP is
written out here because python3-minimal, with which a bundle can be loaded, has no ``http.client``.
"""

from __future__ import annotations

import json
import socket
from typing import IO

from generator.completed import Completed
from generator.engine import Docker
from generator.errors import EngineError

_HEAD = (
    b"POST /images/load?quiet=1 HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
    b"Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def connect(path: str) -> socket.socket | None:
    """None where nobody listens there, or one may not talk to who does: docker says best which, and what to do."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


class SocketPipe:
    """One load on a connection, which its maker closes. ``hint`` is the next step when the engine fails."""

    def __init__(self, engine: Docker, connection: socket.socket, hint: str) -> None:
        self._engine, self._connection, self._hint = engine, connection, hint
        self._send(_HEAD)

    def write(self, data: bytes, /) -> object:
        """EngineError, with the engine's own word, where it has stopped reading."""
        if data:  # a chunk of nothing would be the end
            self._send(b"%x\r\n" % len(data), data, b"\r\n")
        return None

    def finish(self) -> str:
        self._send(b"0\r\n\r\n")
        ok, said = self._answer()
        if not ok:
            raise self._failure(said)
        return self._engine.redact(said)

    def abort(self) -> None:
        """Without the last chunk, which says that all was sent."""
        self._connection.close()

    def _send(self, *pieces: bytes) -> None:
        try:
            for piece in pieces:
                self._connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._failure(self._answer()[1]) from error

    def _failure(self, said: str) -> EngineError:
        return self._engine.failure(Completed((self._engine.binary, "load"), 1, "", said), hint=self._hint)

    def _answer(self) -> tuple[bool, str]:
        """Whether it went well, and what ``docker load`` would print."""
        try:
            with self._connection.makefile("rb") as stream:
                ok, body = _response(stream)
        except (OSError, ValueError):
            return False, "the engine closed the connection"
        lines = []
        for line in body.decode("utf-8", "replace").splitlines():
            try:
                told = json.loads(line)
                error = told.get("error") or told.get("message")
                lines.append(str(error or told.get("stream", "")).strip())
                ok = ok and not error
            except (ValueError, AttributeError):
                lines.append(line)
        return ok, "\n".join(lines)


def _response(stream: IO[bytes]) -> tuple[bool, bytes]:
    """Whether its status is 200, and its body. OSError or ValueError: it is not whole."""
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
    return status[1] == b"200", body
