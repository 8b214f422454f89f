"""An archive straight into the engine's own socket, as ``docker load`` puts it there from its standard input.

The docker command would copy every byte once more: on two cores, a tenth of a load. Source: Docker Engine API,
``POST /images/load``, there since Docker 1.2.
"""

from __future__ import annotations

import json
import socket

from generator.docker.process import Completed, Docker
from generator.docker.socket import head, response
from generator.errors import EngineError

_HEAD = head("POST", "/images/load?quiet=1", "Content-Type: application/x-tar", "Transfer-Encoding: chunked")


class SocketPipe:
    """One load on a connection, which its maker closes. ``hint`` is the next step when the engine fails."""

    def __init__(self, engine: Docker, connection: socket.socket, hint: str) -> None:
        self._engine, self._connection, self._hint = engine, connection, hint
        self._send(_HEAD)

    def write(self, data: bytes, /) -> None:
        """EngineError, with the engine's own word, where it has stopped reading."""
        if data:  # a chunk of nothing would be the end
            self._send(b"%x\r\n" % len(data), data, b"\r\n")

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
            status, body = response(self._connection)
        except (OSError, ValueError):
            return False, "the engine closed the connection"
        ok, lines = status == 200, []
        for line in body.decode("utf-8", "replace").splitlines():
            try:
                told = json.loads(line)
                error = told.get("error") or told.get("message")
                lines.append(str(error or told.get("stream", "")).strip())
                ok = ok and not error
            except (ValueError, AttributeError):
                lines.append(line)
        return ok, "\n".join(lines)
