"""A read-only registry on loopback straight from a bundle's file: nothing is loaded, nothing is unpacked.

Source: opencontainers/distribution-spec, spec.md ("Pull", "Content discovery"); ``ns`` is containerd's (docs/hosts.md).
A blob is hashed when it is first asked for, before a byte of it is sent, and from then on sent by the kernel
(sendfile): a bundle on a slow disk serves at once, and no wrong blob is ever served as right.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from generator.bundle.blobs import Blobs
from generator.bundle.format.damage import DamagedError
from generator.bundle.format.model import BundleIndex
from generator.errors import BundleError, EngineError
from generator.images import reference
from generator.images.oci import Descriptor

LOOPBACK = "127.0.0.1"
_PATH = re.compile(r"/v2/(?P<name>[^?]+?)/(?:(?P<kind>manifests|blobs)/(?P<reference>[^/]+)|tags/list)")
_TLS = b"\x16"
"""The first byte of a TLS handshake (RFC 8446, 5.1)."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Names:
    """What clients may call the images: repository -> tag -> manifest or index. ``unclear`` are left out."""

    tags: dict[str, dict[str, Descriptor]]
    unclear: tuple[str, ...]


def names_of(index: BundleIndex) -> Names:
    """``federatedai/roll`` for a client that takes this for a mirror or writes localhost:5000 in front, and
    ``docker.io/federatedai/roll`` for a mirror that is asked for several registries (a port's ":" there is "_").

    Where two registries have the same repository and tag, only Docker Hub's goes without its host.
    """
    tags: dict[str, dict[str, Descriptor]] = {}
    unclear: dict[str, None] = {}
    named = [(name, image.target) for image in index.images for name in image.references]
    for name, target in sorted(named, key=lambda pair: not pair[0].startswith("docker.io/")):
        repository, _, tag = name.rpartition(":")
        host, _, path = repository.partition("/")
        tags.setdefault(f"{host.replace(':', '_')}/{path}", {})[tag] = target
        tags.setdefault(repository, {})[tag] = target
        if tags.setdefault(path, {}).setdefault(tag, target) != target:
            unclear[reference.familiar(name)] = None
    return Names(tags, tuple(unclear))


@contextmanager
def serving(blobs: Blobs, port: int, say: Callable[[str], object]) -> Iterator[Server]:
    """A server that is bound (0: to a free port) and answers in ``serve_forever``. EngineError: the port is taken."""
    try:
        server = Server(blobs, port, say)
    except OSError as error:
        message = f"port {port} of this machine cannot be served: {error.strerror}"
        raise EngineError(message, hint="name another one with --port") from error
    with server:
        yield server


class Server(ThreadingHTTPServer):
    """The registry. It tells ``say`` what is damaged, each place once."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, blobs: Blobs, port: int, say: Callable[[str], object]) -> None:
        self.blobs = blobs
        self.names = names_of(blobs.index)
        self.say = say
        self._right: dict[str, bool] = {}
        self._locks = {digest: threading.Lock() for digest in blobs.members}
        super().__init__((LOOPBACK, port), _Handler)

    def right(self, digest: str) -> bool:
        """Whether the blob's bytes in the file are right; each is read once, and one that is damaged is told once."""
        with self._locks[digest]:
            if digest not in self._right:
                try:
                    if self.blobs.members[digest].role == "layer":
                        for _ in self.blobs.chunks(digest):
                            pass
                    else:
                        self.blobs.document(digest)
                    self._right[digest] = True
                except BundleError as error:
                    self.say(error.render())
                    if not isinstance(error, DamagedError):
                        # the disk may be back the next time
                        return False
                    self._right[digest] = False
            return self._right[digest]


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fategen", ""
    # headers and body are two packets: without this the second waits for the first one's acknowledgement
    disable_nagle_algorithm = True
    timeout = 60

    def log_message(self, *_: object) -> None:
        """What went wrong with the bundle is told by the server; what clients ask for is their matter."""

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            if self.connection.recv(1, socket.MSG_PEEK) == _TLS:
                # docker tries https first, and goes on without only where it is told in http (moby: httpFallback)
                self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is plain http\n")
            else:
                super().handle()

    def do_GET(self) -> None:
        try:
            self._answer()
        except ValueError:
            self._error(400, "UNSUPPORTED", "this is no address, or a number in it is none")

    do_HEAD = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = _PATH.fullmatch(url.path)
        name = self._name(found["name"], query.get("ns", "")) if found else ""
        if url.path in ("/v2/", "/v2"):
            self._json({})
        elif url.path == "/v2/_catalog":
            self._list("repositories", {}, self.server.names.tags, query)
        elif not found or not name:
            self._error(404, "NAME_UNKNOWN", "the bundle has no image of this name")
        elif found["kind"] == "manifests":
            self._manifest(name, found["reference"])
        elif found["kind"] == "blobs":
            self._blob(found["reference"])
        else:
            self._list("tags", {"name": found["name"]}, self.server.names.tags[name], query)

    def do_other(self) -> None:
        self.close_connection = True  # a body may follow, which nobody reads
        self._error(405, "UNSUPPORTED", "this registry is read-only")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_other

    def _name(self, name: str, ns: str) -> str:
        """The repository that is meant, "" where there is none.

        containerd says in ``ns`` for which registry it takes this one as a mirror: another registry's image of the
        same path is then not what it asks for.
        """
        own = ("", *(f"{host}:{self.server.server_address[1]}" for host in (LOOPBACK, "localhost")))
        meant = name if ns in own else f"{ns.replace(':', '_')}/{name}"
        return meant if meant in self.server.names.tags else ""

    def _manifest(self, name: str, wanted: str) -> None:
        tags, blobs = self.server.names.tags[name], self.server.blobs
        digest = wanted if ":" in wanted else tags[wanted].digest if wanted in tags else ""
        if digest not in blobs.members or blobs.members[digest].role not in ("index", "manifest"):
            self._error(404, "MANIFEST_UNKNOWN", "the bundle has no such tag or digest of this image")
        else:
            self._send(digest, blobs.index.blobs()[digest].media_type)

    def _blob(self, digest: str) -> None:
        if digest not in self.server.blobs.members:
            self._error(404, "BLOB_UNKNOWN", "the bundle has no such blob")
        else:
            self._send(digest, "application/octet-stream")

    def _send(self, digest: str, media_type: str) -> None:
        if not self.server.right(digest):
            self._error(500, "UNKNOWN", f"{digest} is damaged in the bundle, or cannot be read")
            return
        member = self.server.blobs.members[digest]
        start, end = _part(self.headers.get("Range", ""), member.size)
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest, "Accept-Ranges": "bytes"}
        if start >= end > 0:
            self._head(416, {**headers, "Content-Range": f"bytes */{member.size}"}, 0)
            return
        if (start, end) != (0, member.size):
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{member.size}"
        self._head(206 if "Content-Range" in headers else 200, headers, end - start)
        if self.command != "HEAD" and end > start:
            sent = 0
            for number, first, count in self.server.blobs.spans(digest, start, end):
                with open(number, "rb", closefd=False) as file:
                    sent += self.connection.sendfile(file, first, count)
            # a file that was cut since: the client must not wait for the rest
            self.close_connection = self.close_connection or sent < end - start

    def _list(self, key: str, content: dict[str, object], names: Iterable[str], query: dict[str, str]) -> None:
        """Names in order, in pages where the client wants them (``n``, ``last``)."""
        left = sorted(name for name in names if name > query.get("last", ""))
        count = int(query["n"]) if query.get("n", "").isdecimal() else len(left)
        more = urlencode({"n": count, "last": left[count - 1]}) if 0 < count < len(left) else ""
        link = {"Link": f'<{urlsplit(self.path).path}?{more}>; rel="next"'} if more else {}
        self._json({**content, key: left[:count]}, link)

    def _error(self, status: int, code: str, message: str) -> None:
        self._json({"errors": [{"code": code, "message": message}]}, status=status)

    def _json(self, content: object, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        text = json.dumps(content).encode()
        self._head(status, {"Content-Type": "application/json", **(headers or {})}, len(text))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        sent = {"Docker-Distribution-Api-Version": "registry/2.0", **headers, "Content-Length": str(length)}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()


def _part(header: str, size: int) -> tuple[int, int]:
    """The bytes that a Range header asks for, end exclusive; all of them where it is none that is understood."""
    found = _RANGE.fullmatch(header)
    if found is None or (not found[1] and not found[2]):
        return 0, size
    if not found[1]:
        return max(size - int(found[2]), 0), size
    return int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
