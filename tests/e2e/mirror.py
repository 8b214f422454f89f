"""The servers of a company in one class: mirrors of registry, Debian, package index and Maven repository, and proxies.

What is asked of it is written down, and fetched from where this machine has it. It may listen in the network namespace
of the engine that has no route.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import os
import re
import selectors
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

PORT = 5000
_CLONE_NEWNET = 0x40000000
_PASSED_ON = ("Content-Type", "Content-Range", "Docker-Content-Digest", "Last-Modified", "Etag")
FORWARD = {"http://": "http://"}
"""The upstreams of a proxy: a whole URL is fetched as it is."""


def listen(address: str, namespace: str) -> socket.socket:
    """A listening socket in another network namespace (a path such as ``/proc/PID/ns/net``); it stays there."""
    sockets: list[socket.socket] = []

    def make() -> None:
        # the namespace is a thread's own: this one ends with it
        with Path(namespace).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        sockets.append(socket.create_server((address, PORT), backlog=64))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return sockets[0]


class Mirror:
    """``upstreams`` maps the beginning of a path to where it is fetched; ``asked`` are the paths that were asked for.

    As a proxy it passes CONNECT on, or opens TLS itself with ``tls``, a certificate of the site. It asks for one of
    ``proxy_logins`` (password by user), and for the one of ``logins`` (user and password by host) of what is behind it;
    ``hosts`` are the hosts that were reached with all of them.
    """

    def __init__(
        self,
        upstreams: Mapping[str, str],
        *,
        tls: ssl.SSLContext | None = None,
        proxy_logins: Mapping[str, str] | None = None,
        logins: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.upstreams = {**upstreams, "/files/": "https://"}
        self.tls = tls
        self.proxy_logins = proxy_logins
        self.logins = logins or {}
        self.open = True
        self.address = ""
        self.asked: list[str] = []
        self.hosts: set[str] = set()

    @contextlib.contextmanager
    def serve(self, listener: socket.socket) -> Iterator[Mirror]:
        """Answers at ``listener``, whose ``host:port`` is ``address``, and closes it."""
        mirror = self

        class Handler(_Handler):
            site = mirror

        self.address = "{}:{}".format(*listener.getsockname())
        server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """No login is good enough while this lasts."""
        self.open = False
        try:
            yield
        finally:
            self.open = True


class _Handler(BaseHTTPRequestHandler):
    site: Mirror
    host = ""
    protocol_version = "HTTP/1.1"
    # headers and body are two packets: without this the second waits for the first one's acknowledgement
    disable_nagle_algorithm = True
    # who tries TLS first goes on with plain HTTP only after an answer that looks like HTTP
    default_request_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        """The list of paths is the log."""

    def do_CONNECT(self) -> None:
        if not self._proxy_login():
            return
        if self.site.tls is None:
            self.site.asked.append(self.path)
            self._tunnel()
            return
        self.send_response(200)
        self.end_headers()
        self.host = self.path.partition(":")[0]
        try:
            self.connection = self.site.tls.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)

    def do_GET(self) -> None:
        host = self.host
        if self.site.logins and not host:
            url = urlsplit(self.path)
            host, self.path = url.hostname or "", url.path
            if not self._proxy_login():
                return
        user, password = self.site.logins.get(host, ("", ""))
        if user and self.headers.get("Authorization") != _basic(user, password):
            self._refuse(401, "WWW-Authenticate")
            return
        self.site.hosts.add(host)
        self.site.asked.append(self.path)
        status, headers, body = self._fetch()
        self.send_response(status)
        for name in _PASSED_ON:
            if headers.get(name):
                self.send_header(name, headers[name])
        self.send_header("Content-Length", headers.get("Content-Length") or str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

    do_HEAD = do_GET

    def _fetch(self) -> tuple[int, dict[str, str], bytes]:
        start = next((start for start in self.site.upstreams if self.path.startswith(start)), None)
        if start is None:
            return 404, {}, b""
        index = start == "/simple/"
        url = self.site.upstreams[start] + self.path.removeprefix(start)
        request = urllib.request.Request(url, method=self.command)
        for name in ("Accept", "Range"):
            for value in self.headers.get_all(name) or ():
                request.add_header(name, "text/html" if index else value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                headers, body, status = {n.title(): v for n, v in answer.headers.items()}, answer.read(), answer.status
        except urllib.error.HTTPError as error:
            return error.code, {}, b""
        if index:
            # the files of an index are on another host, which cannot be reached from there
            body = re.sub(rb'href="https://', b'href="/files/', body)
            headers["Content-Length"] = str(len(body))
        return status, headers, body

    def _proxy_login(self) -> bool:
        if self.site.proxy_logins is None:
            return True
        logins = [_basic(user, password) for user, password in self.site.proxy_logins.items()]
        good = self.site.open and self.headers.get("Proxy-Authorization") in logins
        if not good:
            self._refuse(407, "Proxy-Authenticate")
        return good

    def _refuse(self, status: int, header: str) -> None:
        self.send_response(status)
        self.send_header(header, 'Basic realm="site"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _tunnel(self) -> None:
        """Carries bytes both ways until one side ends."""
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        with (
            socket.create_connection((host, int(port)), 30) as server,
            selectors.DefaultSelector() as ready,
            contextlib.suppress(OSError),
        ):
            self.send_response(200)
            self.end_headers()
            other = {self.connection: server, server: self.connection}
            for side in other:
                ready.register(side, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    assert isinstance(key.fileobj, socket.socket)
                    if not (data := key.fileobj.recv(65536)):
                        return
                    other[key.fileobj].sendall(data)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def default_index() -> str:
    """What this machine's pip asks when nobody tells it otherwise, or what its configuration names."""
    from pip._internal.models.index import PyPI

    done = subprocess.run(["pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    return (done.stdout.strip() if done.returncode == 0 else PyPI.simple_url).rstrip("/") + "/"


def packages() -> dict[str, str]:
    """Upstreams of mirrors of Debian, a package index and Maven Central."""
    debian = os.environ["FATEGEN_SANDBOX_APT_MIRROR"]
    image = f"{os.environ['FATEGEN_BASE_REGISTRY']}/library/maven:3.9-eclipse-temurin-8"
    return {
        "/debian/": f"{debian}/",
        "/debian-security/": f"{debian}-security/",
        "/simple/": default_index(),
        "/maven2/": maven_central(image),
    }


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
    """This process's environment with changes, and without a proxy that cannot be reached there."""
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | changes
