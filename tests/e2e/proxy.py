"""A forward proxy as companies have one: CONNECT for https, whole URLs for http. It writes down what it is asked."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_KEPT = ("Accept", "Range", "If-Modified-Since", "User-Agent")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # two stages and apt's several connections come at once
    request_queue_size = 64


class Proxy:
    """Listens on a free port of ``address`` while it is entered."""

    def __init__(self, address: str) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(_Handler):
            asked = proxy.asked

        self._server = _Server((address, 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    asked: list[str]
    protocol_version = "HTTP/1.1"
    # headers and body are two packets: without this the second waits for the first one's acknowledgement
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """The list is the log."""

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 30) as there:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                _join(self.connection, there)
        self.close_connection = True

    def do_GET(self) -> None:
        self.asked.append(self.path)
        request = urllib.request.Request(self.path, method=self.command)
        for name in _KEPT:
            if value := self.headers.get(name):
                request.add_header(name, value)
        try:
            answer = urllib.request.urlopen(request, timeout=120)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers.get("Content-Length", str(len(body))))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    do_HEAD = do_GET


def _join(here: socket.socket, there: socket.socket) -> None:
    """Carries bytes both ways until one side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(here, selectors.EVENT_READ, there)
        ready.register(there, selectors.EVENT_READ, here)
        while True:
            for key, _ in ready.select():
                assert isinstance(key.fileobj, socket.socket)
                if not (data := key.fileobj.recv(65536)):
                    return
                key.data.sendall(data)
