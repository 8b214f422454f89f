"""The servers of a company in one class: mirrors of registry, Debian, package index and Maven repository, and proxies.

What is asked of it is written down, and fetched from where this machine has it. It may listen in the network namespace
of the engine that has no route.
"""

from __future__ import annotations

import base64
import ctypes
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import loopback

PORT = 5000
_CLONE_NEWNET = 0x40000000
_PASSED_ON = ("Content-Length", "Content-Type", "Content-Range", "Docker-Content-Digest", "Last-Modified", "Etag")
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


@dataclass
class Mirror(loopback.Loopback):
    """``upstreams`` maps the beginning of a path to where it is fetched.

    As a proxy it passes CONNECT on, or opens TLS itself with a certificate of the site. It asks for one of
    ``proxy_logins`` (password by user), and for the one of ``logins`` (user and password by host) of what is behind it;
    ``hosts`` are the hosts that were reached with all of them.
    """

    upstreams: Mapping[str, str] = field(default_factory=dict)
    certificate: ssl.SSLContext | None = None
    proxy_logins: Mapping[str, str] | None = None
    logins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)

    def handler(self) -> type[loopback.Handler]:
        return Handler


class Handler(loopback.Handler):
    loopback: Mirror
    host = ""
    # who tries TLS first goes on with plain HTTP only after an answer that looks like HTTP
    default_request_version = "HTTP/1.0"

    def honest(self) -> None:
        mirror = self.loopback
        if self.command == "CONNECT":
            return self.connect() if self.may_pass() else None
        if mirror.logins and not self.host:
            if not self.may_pass():
                return None
            host, path = self.url.hostname or "", self.url.path
        else:
            host, path = self.host, self.path
        user, password = mirror.logins.get(host, ("", ""))
        if user and self.headers.get("Authorization") != _basic(user, password):
            return self.answer(401, headers={"WWW-Authenticate": 'Basic realm="site"'})
        mirror.hosts.add(host)
        return self.answer(*self.fetch(path))

    def connect(self) -> None:
        if self.loopback.certificate is None:
            return self.tunnel(self.path)
        self.send_response(200)
        self.end_headers()
        self.host = self.path.partition(":")[0]
        self.connection = self.loopback.certificate.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        return None

    def fetch(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        upstreams = {**self.loopback.upstreams, "/files/": "https://"}
        start = next((start for start in upstreams if path.startswith(start)), None)
        if start is None:
            return 404, b"", {}
        index = start == "/simple/"
        request = urllib.request.Request(upstreams[start] + path.removeprefix(start), method=self.command)
        for name in ("Accept", "Range"):
            for value in self.headers.get_all(name) or ():
                request.add_header(name, "text/html" if index else value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                found, body, status = {n.title(): v for n, v in answer.headers.items()}, answer.read(), answer.status
        except urllib.error.HTTPError as error:
            return error.code, b"", {}
        if index:
            # the files of an index are on another host, which cannot be reached from there
            body = re.sub(rb'href="https://', b'href="/files/', body)
            found["Content-Length"] = str(len(body))
        return status, body, {name: found[name] for name in _PASSED_ON if found.get(name)}

    def may_pass(self) -> bool:
        """Whether it has a login of the proxy's; else it is told."""
        logins = self.loopback.proxy_logins
        good = logins is None or self.headers.get("Proxy-Authorization") in (_basic(*login) for login in logins.items())
        if not good:
            self.answer(407, headers={"Proxy-Authenticate": 'Basic realm="site"'})
        return good


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def packages() -> dict[str, str]:
    """Upstreams of mirrors of Debian, the Python package index and Maven Central."""
    debian = os.environ["FATEGEN_SANDBOX_APT_MIRROR"]
    return {
        "/debian/": f"{debian}/",
        "/debian-security/": f"{debian}-security/",
        "/simple/": "https://pypi.org/simple/",
        "/maven2/": "https://repo.maven.apache.org/maven2/",
    }


def inside(pid: str, command: Sequence[str]) -> list[str]:
    """The command, in the network namespace of that process."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes, and without a proxy that cannot be reached there."""
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | changes
