"""A proxy in front of a registry, on loopback: it can lie as ``Loopback`` can, and counts what clients upload."""

from __future__ import annotations

import contextlib
import http.client
import re
from dataclasses import dataclass, field

from tests import loopback

_PIECE = 1 << 16


@dataclass
class Line(loopback.Loopback):
    """``uploaded`` are bytes of bodies that reached the registry, ``tags`` the paths of the tags that were written."""

    registry: str = ""
    uploaded: int = 0
    tags: list[str] = field(default_factory=list)

    def handler(self) -> type[loopback.Handler]:
        return Handler


class Handler(loopback.Handler):
    loopback: Line

    def handle(self) -> None:
        with contextlib.suppress(http.client.HTTPException):
            super().handle()

    @property
    def writes_tag(self) -> bool:
        return self.command == "PUT" and bool(re.fullmatch(r"/v2/.+/manifests/(?!sha256:)[^/]+", self.path))

    def partly(self) -> None:
        self.honest(0.9)

    def honest(self, share: float = 1.0) -> None:
        """Passes the request on; of its body only this share, and then the connection to the registry is cut."""
        size = int(self.headers.get("Content-Length", 0))
        connection = http.client.HTTPConnection(self.loopback.registry, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            left = int(size * share)
            while left and (piece := self.rfile.read(min(_PIECE, left))):
                connection.send(piece)
                left -= len(piece)
                self.loopback.uploaded += len(piece)
            if share < 1:
                return
            response = connection.getresponse()
            data = response.read()
        if self.writes_tag and response.status == 201:
            self.loopback.tags.append(self.path)
        dropped = ("connection", "transfer-encoding", "date", "server")
        self.answer(response.status, data, {n: v for n, v in response.getheaders() if n.lower() not in dropped})
