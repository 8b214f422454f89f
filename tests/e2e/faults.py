"""A proxy in front of a registry, on loopback: it injects faults, and counts what clients upload."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[["Handler"], bool]
"""Answers in the registry's place if it returns True."""
_TAG = re.compile(r"/v2/.+/manifests/(?!sha256:)[^/]+")
_PIECE = 1 << 16


@dataclass
class Faults:
    """``uploaded`` are bytes of bodies that reached the registry, ``tags`` the paths of the tags that were written."""

    registry: str
    faults: list[Fault] = field(default_factory=list)
    uploaded: int = 0
    tags: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Gives the address of the proxy."""
        proxy = self

        class Bound(Handler):
            faulty = proxy

        server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    faulty: Faults

    def log_message(self, *_: object) -> None:
        """Tests read ``uploaded`` and ``tags``."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, http.client.HTTPException):
            self.close_connection = True

    @property
    def writes_tag(self) -> bool:
        return self.command == "PUT" and bool(_TAG.fullmatch(self.path))

    def do(self) -> None:
        if any(fault(self) for fault in self.faulty.faults):
            self.close_connection = True
            return
        self.forward()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def forward(self, share: float = 1.0) -> None:
        """Passes the request on; of its body only this share, and then the connection to the registry is cut."""
        size = int(self.headers.get("Content-Length", 0))
        connection = http.client.HTTPConnection(self.faulty.registry, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            left = int(size * share)
            while left and (piece := self.rfile.read(min(_PIECE, left))):
                connection.send(piece)
                left -= len(piece)
                self.faulty.uploaded += len(piece)
            if share < 1:
                return
            response = connection.getresponse()
            data = response.read()
        if self.writes_tag and response.status == 201:
            self.faulty.tags.append(self.path)
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header(
            "Content-Length", str(response.length or len(data)) if self.command == "HEAD" else str(len(data))
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer(self, status: int, **headers: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for name, value in {"Content-Length": "0", "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def transient(seed: int, share: float = 0.05) -> Fault:
    """What passes: 500, 502, 503, 429, a cut or stalled connection, also after 90 % of a body."""
    dice, lock = random.Random(seed), threading.Lock()
    failures: Counter[str] = Counter()

    def fault(handler: Handler) -> bool:
        repository = re.match(r"/v2/(.+)/(?:blobs|manifests)/", handler.path)
        key = f"{handler.command} {repository and repository[1]}"
        with lock:
            kind = dice.choice(("500", "502", "503", "429", "cut", "cut at 90 %", "stall"))
            # what fails four times in a row is no passing fault
            if dice.random() > share or failures[key] == 3:
                return False
            failures[key] += 1
        if kind == "429":
            handler.answer(429, Retry_After="1")
        elif kind.isdigit():
            handler.answer(int(kind))
        else:
            if kind == "stall":
                time.sleep(1)
            if kind == "cut at 90 %" and handler.command in ("PUT", "PATCH"):
                handler.forward(0.9)
            handler.cut()
        return True

    return fault


def refused_tag(name: str) -> Fault:
    """A tag (``path:tag``) that the registry refuses for good."""

    def fault(handler: Handler) -> bool:
        if not (handler.writes_tag and handler.path == f"/v2/{'/manifests/'.join(name.rsplit(':', 1))}"):
            return False
        handler.answer(403)
        return True

    return fault
