"""The mirrors of a site without internet, in one server: registry, Debian mirror, package index, Maven repository.

It listens in the network namespace of the engine that has no route, and itself stays outside: what a build asks of it
is fetched from where this machine has it, and written down.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import os
import re
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

PORT = 5000
_CLONE_NEWNET = 0x40000000
_KEPT = ("Content-Type", "Docker-Content-Digest", "Last-Modified", "Etag")


def listen(address: str, namespace: str) -> socket.socket:
    """A listening socket in another network namespace (a path such as ``/proc/PID/ns/net``); it stays there."""
    made: list[socket.socket] = []

    def make() -> None:
        # the namespace is a thread's own: this one ends with it
        with Path(namespace).open("rb") as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server((address, PORT), backlog=64))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


class Mirror:
    """``upstreams`` maps a path's beginning to where it is fetched; ``asked`` are the paths that were asked for."""

    def __init__(self, upstreams: dict[str, str]) -> None:
        self.upstreams = upstreams
        self.asked: list[str] = []

    @contextlib.contextmanager
    def serve(self, listener: socket.socket) -> Iterator[None]:
        mirror = self

        class Handler(_Handler):
            served = mirror

        server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        with _running(server):
            yield


@contextlib.contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Mirror
    protocol_version = "HTTP/1.1"
    # headers and body are two packets: without this the second waits for the first one's acknowledgement
    disable_nagle_algorithm = True
    # who tries TLS first goes on with plain HTTP only after an answer that looks like HTTP
    default_request_version = "HTTP/1.0"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """The list of paths is the log."""

    def _answer(self) -> None:
        self.served.asked.append(self.path)
        status, headers, body = self._fetch()
        self.send_response(status)
        for name in _KEPT:
            if headers.get(name):
                self.send_header(name, headers[name])
        self.send_header("Content-Length", headers.get("Content-Length") or str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    def _fetch(self) -> tuple[int, dict[str, str], bytes]:
        starts = {**self.served.upstreams, "/files/": "https://"}
        start = next((start for start in starts if self.path.startswith(start)), None)
        if start is None:
            return 404, {}, b""
        url = starts[start] + self.path.removeprefix(start)
        request = urllib.request.Request(url, method=self.command)
        for name in ("Accept", "Range"):
            for value in self.headers.get_all(name) or ():
                request.add_header(name, value if not self.path.startswith("/simple/") else "text/html")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                headers, body, status = {n.title(): v for n, v in answer.headers.items()}, answer.read(), answer.status
        except urllib.error.HTTPError as error:
            return error.code, {}, b""
        if self.path.startswith("/simple/"):
            # the files of an index are on another host, which is not to be had there
            body = re.sub(rb'href="https://', b'href="/files/', body)
            headers["Content-Length"] = str(len(body))
        return status, headers, body


class Gate(Mirror):
    """Mirrors behind a proxy that asks for a login, and opens TLS with a certificate of the site.

    ``logins`` are user and password by host, ``proxy_logins`` passwords by user; ``served`` are the hosts that were
    asked for with all of them.
    """

    def __init__(
        self,
        upstreams: dict[str, str],
        *,
        tls: ssl.SSLContext,
        proxy_logins: dict[str, str],
        logins: dict[str, tuple[str, str]],
    ) -> None:
        super().__init__(upstreams)
        self.tls = tls
        self.proxy_logins = proxy_logins
        self.logins = logins
        self.served: set[str] = set()
        self.open = True
        self.address = ""

    @contextlib.contextmanager
    def serve_at(self, host: str) -> Iterator[None]:
        gate = self

        class Handler(_GateHandler):
            served = gate

        server = ThreadingHTTPServer((host, 0), Handler)
        self.address = f"{host}:{server.server_address[1]}"
        with _running(server):
            yield

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """No login is good enough while this lasts."""
        self.open = False
        try:
            yield
        finally:
            self.open = True


class _GateHandler(_Handler):
    served: Gate
    host = ""

    def do_CONNECT(self) -> None:
        if not self._proxy_login():
            return
        self.send_response(200)
        self.end_headers()
        self.host = self.path.partition(":")[0]
        try:
            self.connection = self.served.tls.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)

    def _answer(self) -> None:
        host = self.host
        if not host:
            url = urlsplit(self.path)
            host, self.path = url.hostname or "", url.path
            if not self._proxy_login():
                return
        user, password = self.served.logins.get(host, ("", ""))
        if user and self.headers.get("Authorization") != _basic(user, password):
            self._refuse(401, "WWW-Authenticate")
            return
        self.served.served.add(host)
        super()._answer()

    def _proxy_login(self) -> bool:
        logins = [_basic(user, password) for user, password in self.served.proxy_logins.items()]
        good = self.served.open and self.headers.get("Proxy-Authorization") in logins
        if not good:
            self._refuse(407, "Proxy-Authenticate")
        return good

    def _refuse(self, status: int, header: str) -> None:
        self.send_response(status)
        self.send_header(header, 'Basic realm="site"')
        self.send_header("Content-Length", "0")
        self.end_headers()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def default_index() -> str:
    """What this machine's pip asks when nobody tells it otherwise, or what its configuration names."""
    from pip._internal.models.index import PyPI

    done = subprocess.run(["pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    return (done.stdout.strip() if done.returncode == 0 else PyPI.simple_url).rstrip("/") + "/"


def maven_central(image: str) -> str:
    """Where Maven looks when no settings say otherwise: its super POM has it, in an archive of its installation."""
    script = 'cat "$(find / -xdev -name "maven-model-builder*.jar" | head -n 1)"'
    jar = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "sh", image, "-c", script], check=True, capture_output=True
    ).stdout
    with zipfile.ZipFile(io.BytesIO(jar)) as archive:
        (name,) = [n for n in archive.namelist() if re.fullmatch(r".*/pom-4\.0\.0\.xml", n)]
        root = ElementTree.fromstring(archive.read(name))
    return next(e.text or "" for e in root.iter() if e.tag.rpartition("}")[2] == "url").rstrip("/") + "/"


def inside(pid: str, command: Sequence[str]) -> list[str]:
    """The command, in the network namespace of that process."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes, and without a proxy that is not to be had there."""
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | changes
