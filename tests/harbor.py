"""A registry that answers as Harbor does: TLS, tokens, projects, and accounts with and without the right to push.

What it answers and where is that of goharbor/harbor: src/server/middleware/v2auth/auth.go decides about a repository by
its first path part alone, and src/core/service/token/creator.go gives a token without rights to whoever asks with a
wrong password, for a missing project, or for more than an account may do. Blobs and manifests go to a real registry
(``upstream``); without one, an upload can be begun and canceled, which is all that unit tests ask for.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

_REPOSITORY = re.compile(r"/v2/(?P<name>[a-z0-9._/-]+?)/(?P<kind>blobs|manifests|tags)/")
_HOP = {"connection", "keep-alive", "transfer-encoding", "authorization", "host", "content-length"}


@dataclass
class Harbor:
    """``accounts`` have a password and whether they may push; ``projects`` exist. Both may change while it runs.

    ``hooks`` answer in its place: method and a pattern for the path -> status, code and message. ``asked`` is its log.
    """

    accounts: dict[str, tuple[str, bool]] = field(
        default_factory=lambda: {"writer": ("right-horse", True), "reader": ("right-mule", False)}
    )
    projects: set[str] = field(default_factory=lambda: {"fate"})
    auth: Literal["bearer", "basic", "none"] = "bearer"
    upstream: str = ""
    hooks: dict[tuple[str, str], tuple[int, str, str]] = field(default_factory=dict)
    address: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Harbor:
        harbor = self

        class Bound(_Handler):
            registry = harbor

        self._server = ThreadingHTTPServer((self.address, 0), Bound)
        self._server.daemon_threads = True
        if self.tls is not None:
            # the handshake belongs to the connection's own thread: a client that refuses the certificate delays nobody
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def host(self) -> str:
        """``address:port``: what stands first in PREFIX."""
        return f"{self.address}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def pushes(self, account: str) -> bool:
        return self.accounts.get(account, ("", False))[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # headers and body are two packets: without this the second waits for the first one's acknowledgement
    disable_nagle_algorithm = True
    registry: Harbor

    def log_message(self, *_: object) -> None:
        """Tests read ``asked``, not a log."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ssl.SSLError, ConnectionError):
            self.close_connection = True

    def do(self) -> None:
        harbor, path = self.registry, urlsplit(self.path).path
        harbor.asked.append(f"{self.command} {self.path}")
        for (method, pattern), answer in harbor.hooks.items():
            if method == self.command and re.search(pattern, self.path):
                return self.error(*answer)
        if path == "/service/token":
            return self.token()
        account = self.account()
        if path == "/v2/":
            if harbor.auth != "none" and not account:
                return self.challenge("unauthorized")
            return self.answer(200, {})
        found = _REPOSITORY.match(path)
        if found is None:
            return self.error(404, "NOT_FOUND", path)
        return self.repository(found["name"], account)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def repository(self, name: str, account: str) -> None:
        harbor, project = self.registry, name.split("/")[0]
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.command, "push")
        if "Authorization" not in self.headers and harbor.auth != "none" and action == "pull":
            return self.challenge("authorize header needed", name, action)
        if harbor.auth == "none":
            return self.forward()
        if project not in harbor.projects:
            return self.error(401, "UNAUTHORIZED", f"project {project} not found", challenge="")
        if not account or (action == "push" and not harbor.pushes(account)):
            return self.challenge(f"unauthorized to access repository: {name}, action: {action}", name, action)
        return self.forward()

    def account(self) -> str:
        """Whose password or token it is; "" for nobody's."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return self.registry.tokens.get(value, "")
        if kind == "Basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            known = self.registry.accounts.get(name)
            return name if known is not None and known[0] == password else ""
        return ""

    def token(self) -> None:
        """Harbor serves GET alone, and refuses nobody who names a scope; its tokens then have no rights.

        Where ``refresh`` has identity tokens it is another registry, which exchanges them (OAuth2).
        """
        if self.command == "POST" and self.registry.refresh:
            form = parse_qs(b"".join(self.body()).decode())
            del self.headers["Content-Length"]  # it is read
            account = self.registry.refresh.get(form.get("refresh_token", [""])[0], "")
            if not account or form.get("grant_type") != ["refresh_token"]:
                return self.error(401, "UNAUTHORIZED", "invalid refresh token")
            self.registry.tokens["exchanged"] = account
            return self.answer(200, {"access_token": "exchanged"})
        if self.command != "GET":
            return self.error(405, "METHOD_NOT_ALLOWED", "")
        account = self.account()
        if not account and not parse_qs(urlsplit(self.path).query).get("scope"):
            return self.error(401, "UNAUTHORIZED", "")
        token = secrets.token_urlsafe()
        self.registry.tokens[token] = account
        return self.answer(200, {"token": token, "expires_in": 1800})

    def challenge(self, message: str, name: str = "", action: str = "pull") -> None:
        if self.registry.auth == "basic" or "Authorization" in self.headers:
            return self.error(401, "UNAUTHORIZED", message, challenge='Basic realm="harbor"')
        scope = f',scope="repository:{name}:{"pull,push" if action == "push" else action}"' if name else ""
        realm = f'Bearer realm="{self.registry.url}/service/token",service="harbor-registry"{scope}'
        return self.error(401, "UNAUTHORIZED", message, challenge=realm)

    def error(self, status: int, code: str, message: str, challenge: str | None = None) -> None:
        headers = {} if challenge is None else {"Www-Authenticate": challenge}
        self.answer(status, {"errors": [{"code": code, "message": message}]}, headers)

    def answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        for _ in self.body():
            pass
        # a 204 has no body (RFC 9110, 15.3.5): a client would read it as the beginning of the next answer
        text = b"" if status == 204 else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def body(self) -> Iterator[bytes]:
        """What the client sends, of a known length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            left -= len(piece)
            yield piece

    def forward(self) -> None:
        harbor = self.registry
        if not harbor.upstream:
            begun = {"Location": f"{self.path}upload-1"} if self.command == "POST" else {}
            self.answer(202 if begun else 204, {}, begun)
            return
        upstream = http.client.HTTPConnection(harbor.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        # the registry makes the addresses of uploads of these two
        headers |= {"Host": harbor.host, "X-Forwarded-Proto": "https" if harbor.tls else "http"}
        if length := self.headers.get("Content-Length"):
            headers["Content-Length"] = length
        sends = self.command in ("POST", "PUT", "PATCH")
        upstream.request(self.command, self.path, self.body() if sends else None, headers, encode_chunked=not length)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        content = b"" if self.command == "HEAD" else answer.read()
        if answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        upstream.close()
