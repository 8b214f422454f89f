"""A registry in memory, on loopback, for unit tests: it keeps the distribution spec, until a test tells it to lie."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import re
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

from generator.docker.credentials import Login
from generator.registry.client import Registry
from generator.registry.session import Access
from tests.bundle.layouts import sha256

if TYPE_CHECKING:
    import trustme

Self = TypeVar("Self", bound="Loopback")
Lie = Callable[["Handler"], bool]

_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>.+)")
_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/")


def tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """That of a server with these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@dataclass
class Loopback:
    """``blobs`` and ``manifests`` by repository; ``lies`` answer in its place where they return True.

    ``token``: what it wants as a Bearer token ("" for nothing); its own ``/token`` gives it out. ``asked`` is its log,
    ``heads`` the requests without their bodies. It listens at ``address``, or with a ``listener``. ``pace`` is how many
    seconds it waits between two MiB of an answer.
    """

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    lies: list[Lie] = field(default_factory=list)
    token: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    listener: socket.socket | None = None
    pace: float = 0

    def __enter__(self: Self) -> Self:
        bound = type("Bound", (self.handler(),), {"loopback": self})
        self._server = ThreadingHTTPServer((self.address, 0), bound, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = self.listener or socket.create_server((self.address, 0), backlog=64)
        self.address, self.port = self._server.socket.getsockname()
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, True, do_handshake_on_connect=False)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def _serve(self) -> None:
        """Until its socket is shut down: ``serve_forever`` would look some times a second whether it is to end."""
        with contextlib.suppress(OSError):
            while True:
                self._server.process_request(*self._server.get_request())

    def handler(self) -> type[Handler]:
        return Handler

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def client(self, login: Login | None = None) -> Registry:
        """A client that notes how long it would have waited."""
        return Registry(Access(self.host, login, insecure=True), sleep=self.slept.append)

    def put(self, repository: str, data: bytes) -> str:
        self.blobs.setdefault(repository, {})[sha256(data)] = data
        return sha256(data)

    def put_layout(self, repository: str, tag: str, layout: Path) -> str:
        """The image of an OCI layout, as a push would leave it; without a ``tag`` by its digest alone."""
        [top] = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"]
        for file in (layout / "blobs/sha256").iterdir():
            data = file.read_bytes()
            self.put(repository, data)
            if data.startswith(b"{"):
                media_type = json.loads(data).get("mediaType", "application/vnd.oci.image.config.v1+json")
                self.manifests.setdefault(repository, {})[sha256(data)] = (media_type, data)
        digest = str(top["digest"])
        if tag:
            self.manifests[repository][tag] = self.manifests[repository][digest]
        return digest

    def paths(self, method: str) -> list[str]:
        return [path for asked, path, _ in self.asked if asked == method]


class Handler(BaseHTTPRequestHandler):
    """What a lie gets: it may read ``path`` and ``headers`` and answer with ``answer`` or by itself."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    uploads_below = "/upload/"
    loopback: Loopback

    def log_message(self, *_: object) -> None:
        """Tests read ``asked``, not a log."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def do(self) -> None:
        self.url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(self.url.query).items()}
        self.loopback.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        self.loopback.heads.append(f"{self.requestline}\n{self.headers}")
        if not any(lie(self) for lie in self.loopback.lies):
            self.honest()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = do

    def honest(self) -> None:
        if self.url.path == "/token":
            return self.answer(200, json.dumps({"token": self.loopback.token}).encode())
        if self.loopback.token and self.headers.get("Authorization") != f"Bearer {self.loopback.token}":
            realm = f'Bearer realm="{self.loopback.url}/token",service="loopback"'
            return self.answer(401, headers={"WWW-Authenticate": realm})
        if self.url.path == "/v2/":
            return self.answer(200)
        if found := _BLOB.fullmatch(self.url.path):
            return self.blob(found["name"], found["digest"])
        if found := _MANIFEST.fullmatch(self.url.path):
            return self.manifest(found["name"], found["reference"])
        if found := _UPLOADS.fullmatch(self.url.path):
            return self.begin(found["name"])
        return self.upload()

    def blob(self, name: str, digest: str) -> None:
        data = self.loopback.blobs.get(name, {}).get(digest)
        if data is None:
            return self.answer(404)
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        if not found:
            return self.answer(200, data)
        if start >= len(data):
            return self.answer(416)
        return self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    def manifest(self, name: str, reference: str) -> None:
        kept = self.loopback.manifests.setdefault(name, {})
        if self.command == "PUT":
            data = self.body()
            lacking = [d for d in re.findall(rb"sha256:[0-9a-f]{64}", data) if not self.knows(name, d.decode())]
            if lacking:
                return self.answer(400, error_of("MANIFEST_BLOB_UNKNOWN"))
            kept[reference] = kept[sha256(data)] = (self.headers["Content-Type"], data)
            return self.answer(201, headers={"Docker-Content-Digest": sha256(data)})
        if reference not in kept:
            return self.answer(404)
        if self.command == "DELETE":
            del kept[reference]
            return self.answer(202)
        media_type, data = kept[reference]
        return self.answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": sha256(data)})

    def knows(self, name: str, digest: str) -> bool:
        return digest in self.loopback.blobs.get(name, {}) or digest in self.loopback.manifests.get(name, {})

    def begin(self, name: str) -> None:
        digest, source = self.query.get("mount", ""), self.query.get("from", "")
        if digest in self.loopback.blobs.get(source, {}):
            self.loopback.put(name, self.loopback.blobs[source][digest])
            return self.answer(201)
        identity = f"{next(self.loopback.numbers)}/{name}"
        self.loopback.uploads[identity] = b""
        return self.answer(202, headers={"Location": f"{self.uploads_below}{identity}?state=kept"})

    def upload(self) -> None:
        identity = self.url.path.removeprefix(self.uploads_below)
        if self.query.get("state") != "kept" or identity not in self.loopback.uploads:
            return self.answer(404)
        if self.command == "DELETE":
            del self.loopback.uploads[identity]
            return self.answer(204)
        have = self.loopback.uploads[identity]
        if self.command == "GET":
            return self.answer(204, headers={"Range": f"0-{len(have) - 1}"} if have else {})
        if self.command == "PATCH" and self.headers.get("Content-Range", "").split("-")[0] != str(len(have)):
            return self.answer(416)
        have = self.loopback.uploads[identity] = have + self.body()
        if self.command == "PATCH":
            return self.answer(202, headers={"Location": self.path})
        if sha256(have) != self.query.get("digest"):
            return self.answer(400, error_of("DIGEST_INVALID"))
        digest = self.loopback.put(identity.partition("/")[2], have)
        return self.answer(201, headers={"Docker-Content-Digest": digest})

    def body(self) -> bytes:
        """What the client sends, of a known length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def partly(self) -> None:
        """Takes 90 % of a body, as before a line breaks."""
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)) * 9 // 10)
        if self.url.path.startswith(self.uploads_below):
            self.loopback.uploads[self.url.path.removeprefix(self.uploads_below)] += data

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def tunnel(self, target: str) -> None:
        """Carries bytes both ways until one side ends."""
        host, _, port = target.rpartition(":")
        self.close_connection = True
        with socket.create_connection((host, int(port)), 30) as server, selectors.DefaultSelector() as ready:
            self.send_response(200)
            self.end_headers()
            other = {self.connection: server, server: self.connection}
            for side in other:
                ready.register(side, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    assert isinstance(key.fileobj, socket.socket)
                    if not (data := key.fileobj.recv(1 << 16)):
                        return
                    other[key.fileobj].sendall(data)

    def answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None, cut: int = 0) -> None:
        """``cut`` bytes of the answer are promised and never sent."""
        self.send_response(status)
        if status >= 400:
            # said, and not only done: a client would send the next request into a connection that is gone
            self.send_header("Connection", "close")
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = data[: len(data) - cut] if self.command != "HEAD" else b""
        for begin in range(0, len(sent), 1 << 20):
            time.sleep(self.loopback.pace if begin else 0)
            self.wfile.write(sent[begin : begin + (1 << 20)])
        self.close_connection = self.close_connection or bool(cut) or status >= 400


def is_asked(handler: Handler, request: str) -> bool:
    """Whether it is one such as ``PUT /manifests/1.0$``: its method ("" for any), and a pattern in its path."""
    method, _, pattern = request.partition(" ")
    return method in ("", handler.command) and re.search(pattern, handler.path) is not None


def when(request: str, act: Callable[[Handler], object]) -> Lie:
    """What is done at each such ``request``, before the registry answers it."""

    def lie(handler: Handler) -> bool:
        if is_asked(handler, request):
            act(handler)
        return False

    return lie


def says(
    request: str,
    status: int,
    data: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    times: int | None = None,
    cut: int = 0,
    done: bool = False,
) -> Lie:
    """An answer in place of the registry's own to each such ``request``, always or so many ``times``.

    ``done``: the registry does what it was asked, but its answer is lost. Status 0 is a line that breaks."""
    left = itertools.repeat(True) if times is None else iter([True] * times)

    def lie(handler: Handler) -> bool:
        if not is_asked(handler, request) or not next(left, False):
            return False
        if done:
            line, handler.wfile = handler.wfile, io.BytesIO()
            handler.honest()
            handler.wfile = line
        else:
            handler.body()
        if status:
            handler.answer(status, data, headers, cut)
        else:
            handler.cut()
        return True

    return lie


def error_of(code: str, message: str = "") -> bytes:
    """What a registry says when it refuses."""
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def transient(seed: int, share: float) -> Lie:
    """A bad line and a busy registry: a share of the requests fails, but three of a kind in a repository at most."""
    dice, lock, failures = random.Random(seed), threading.Lock(), Counter[str]()

    def lie(handler: Handler) -> bool:
        repository = re.match(r"/(?:v2|upload/\d+)/(.+?)(?:/(?:blobs|manifests)/|$)", handler.url.path)
        kind = f"{handler.command} {repository and repository[1]}"
        with lock:
            status = dice.choice((500, 502, 503, 429, 0))
            if dice.random() > share or failures[kind] == 3:
                return False
            failures[kind] += 1
        if handler.command in ("PUT", "PATCH"):
            handler.partly()
        if status:
            handler.answer(status, headers={"Retry-After": "1"} if status == 429 else {})
        else:
            handler.cut()
        return True

    return lie
