"""requests and its stand-in do the same with a line, a proxy and an authority, and say the same of what goes wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from generator.loader.standins.requests.utils import should_bypass_proxies
from generator.registry.transport import Finding, Refused, anything, open_session, send, trusting

pytestmark = pytest.mark.usefixtures("one_authority", "each_client")

Serve = Callable[[socket.socket], None]
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Takes connections on loopback, each on a thread; ``lines`` are the heads of the requests that it read."""

    def __init__(self, serve: Callable[[Server, socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self.lines: list[str] = []
        self.connections = 0
        self._serve, self._tls = serve, tls

    def __enter__(self) -> Server:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(line,), daemon=True).start()

    def _run(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            if self._tls is None:
                self._serve(self, line)
                return
            with self._tls.wrap_socket(line, server_side=True) as safe:
                self._serve(self, safe)

    def head(self, line: socket.socket) -> str:
        """A request's head; "" where the client is gone."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            # not a byte more than the head; TLS cannot look ahead, and gives single bytes out of what it has unpacked
            seen = b"" if isinstance(line, ssl.SSLSocket) else line.recv(1 << 16, socket.MSG_PEEK)
            end = (data[-3:] + seen).find(b"\r\n\r\n")
            piece = line.recv(1 if end < 0 else end + 4 - len(data[-3:]))
            if not piece:
                return ""
            data += piece
        self.lines.append(data.decode())
        return data.decode()


def answering(*answers: bytes) -> Callable[[Server, socket.socket], None]:
    """The answers in turn on each connection, the last one again and again."""

    def serve(server: Server, line: socket.socket) -> None:
        for answer in (*answers, *(answers[-1:] * 100)):
            if not server.head(line):
                return
            line.sendall(answer)

    return serve


def ask(method: str, url: str, environment: dict[str, str] | None = None, **options: Any) -> requests.Response:
    session = open_session(options.pop("context", None) or anything())
    return send(session, method, url, environment or {}, {"Accept-Encoding": "identity"}, **options)


def found(url: str, environment: dict[str, str] | None = None, **options: Any) -> Finding:
    """What keeps a request from its answer."""
    with pytest.raises(Refused) as refused:
        ask("GET", url, environment, **options)
    return refused.value.finding


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that nobody listens at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return made


def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.example").configure_cert(context)
    return context


# what goes over the line


def test_an_answer_is_read_and_a_redirect_not_followed() -> None:
    head = b"HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nSet-Cookie: a=b\r\n"
    challenges = b'WWW-Authenticate: Basic realm="x"\r\nwww-authenticate: Bearer realm="y"\r\n'
    with Server(answering(head + challenges + b'Content-Length: 8\r\n\r\n{"a": 1}')) as server:
        session = open_session(anything())
        for _ in range(2):
            answer = send(
                session, "GET", f"http://{server.host}/a b?c=d", {}, {"X-One": "1"}, params={"e": ["f", "g/"]}
            )
    assert server.lines[0].startswith("GET /a%20b?c=d&e=f&e=g%2F HTTP/1.1\r\n")
    assert f"Host: {server.host}\r\n" in server.lines[0] and "X-One: 1\r\n" in server.lines[0]
    assert not [line for line in server.lines if "cookie" in line.lower()]
    assert (answer.status_code, answer.reason, answer.ok, answer.is_redirect) == (307, "Elsewhere", True, True)
    assert answer.headers["location"] == "/other" and "LOCATION" in answer.headers and "x" not in answer.headers
    assert answer.headers.get("Www-Authenticate") == 'Basic realm="x", Bearer realm="y"'
    assert answer.json() == {"a": 1} and answer.content == b'{"a": 1}'
    assert answer.url == f"http://{server.host}/a%20b?c=d&e=f&e=g%2F"
    assert server.connections == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_what_is_no_json_is_a_value_error(content: bytes) -> None:
    with Server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))) as server:
        answer = ask("GET", f"http://{server.host}/")
    with pytest.raises(ValueError):
        answer.json()


@pytest.mark.parametrize(
    ("method", "data", "length", "body"),
    [
        ("GET", b"", None, b""),
        ("POST", b"", "0", b""),
        ("DELETE", b"", "0", b""),
        ("PUT", b"abc", "3", b"abc"),
        ("POST", {"scope": "a b", "n": "1"}, "13", b"scope=a+b&n=1"),
    ],
)
def test_a_body_has_a_length(method: str, data: Any, length: str | None, body: bytes) -> None:
    got = []

    def serve(server: Server, line: socket.socket) -> None:
        head = server.head(line).lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        got.append(line.recv(size) if size else b"")
        line.sendall(EMPTY)

    with Server(serve) as server:
        ask(method, f"http://{server.host}/", data=data)
    if isinstance(data, dict):
        assert "Content-Type: application/x-www-form-urlencoded\r\n" in server.lines[0]
    assert got == [body]
    assert (f"Content-Length: {length}\r\n" in server.lines[0]) == (length is not None)
    assert "transfer-encoding" not in server.lines[0].lower()


def test_a_stream_is_read_in_pieces_and_its_connection_kept_at_the_end() -> None:
    with Server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde")) as server:
        session, url = open_session(anything()), f"http://{server.host}/"
        for _ in range(2):
            with send(session, "GET", url, {}, {}, stream=True) as answer:
                assert [answer.raw.read(3, decode_content=False) for _ in range(3)] == [b"abc", b"de", b""]
        assert server.connections == 1
        with send(session, "GET", url, {}, {}, stream=True):
            pass
        send(session, "GET", url, {}, {})
        assert server.connections == 2, "what was not read is in nobody's way"


def test_four_threads_share_a_session() -> None:
    def serve(server: Server, line: socket.socket) -> None:
        while head := server.head(line):
            path = head.split()[1].encode()
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    with Server(serve) as server:
        session = open_session(anything())
        with ThreadPoolExecutor(4) as pool:
            paths = [f"/{number}" for number in range(200)]
            got = pool.map(lambda path: send(session, "GET", f"http://{server.host}{path}", {}, {}).content, paths)
            assert [one.decode() for one in got] == paths
        assert server.connections <= 4


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    def serve(server: Server, line: socket.socket) -> None:
        if server.head(line):
            line.sendall(EMPTY)

    with Server(serve) as server:
        session = open_session(anything())
        for _ in range(3):
            assert send(session, "POST", f"http://{server.host}/", {}, {}).ok
            time.sleep(0.02)
    assert server.connections == 3


def test_who_refuses_a_body_half_way_is_heard() -> None:
    def serve(server: Server, line: socket.socket) -> None:
        server.head(line)
        line.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        line.shutdown(socket.SHUT_WR)
        while line.recv(1 << 16):
            pass

    class Body:
        def __len__(self) -> int:
            return 1 << 22

        def __iter__(self) -> Iterator[bytes]:
            return iter([bytes(1 << 16)] * 64)

    with Server(serve) as server:
        assert ask("PUT", f"http://{server.host}/", data=Body()).status_code == 413


def test_what_a_body_raises_is_not_the_line_s_fault() -> None:
    def wrong() -> Iterator[bytes]:
        yield b"abc"
        raise KeyError("damaged")

    class Body:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[bytes]:
            return wrong()

    with Server(answering(EMPTY)) as server, pytest.raises(KeyError):
        ask("PUT", f"http://{server.host}/", data=Body())


def test_a_piece_has_as_long_as_an_answer_on_a_slow_line(each_client: str) -> None:
    """The stand-in alone: urllib3 gives a piece no longer than connecting."""

    def serve(server: Server, line: socket.socket) -> None:
        server.head(line)
        time.sleep(0.2)
        left = 16 << 20
        while left and (piece := line.recv(1 << 16)):
            left -= len(piece)
        line.sendall(EMPTY)

    with Server(serve) as server:
        options: dict[str, Any] = {"data": bytes(16 << 20), "timeout": (0.1, 5.0)}
        if each_client == "standin":
            assert ask("PUT", f"http://{server.host}/", **options).ok
        else:
            with pytest.raises(Refused):
                ask("PUT", f"http://{server.host}/", **options)


# what goes wrong


def test_nobody_listens(nobody: str) -> None:
    assert found(f"http://{nobody}/") == Finding("unreachable", "Connection refused")


def test_nobody_answers() -> None:
    with Server(lambda server, line: (server.head(line), time.sleep(1))[1]) as server:  # type: ignore[func-returns-value]
        finding = found(f"http://{server.host}/", timeout=(1.0, 0.05))
    assert finding == Finding("unreachable", "no answer in 20 s")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (b"", "unreachable", "RemoteDisconnected"),
        (b"nonsense\r\n\r\n", "unreachable", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "unknown", "ChunkedEncodingError"),
    ],
)
def test_an_answer_that_is_none(answer: bytes, kind: str, said: str) -> None:
    def serve(server: Server, line: socket.socket) -> None:
        server.head(line)
        line.sendall(answer)

    with Server(serve) as server:
        assert found(f"http://{server.host}/") == Finding(kind, said)  # type: ignore[arg-type]


@pytest.mark.parametrize(("url", "said"), [("ftp://127.0.0.1/", "InvalidSchema"), ("http:///x", "InvalidURL")])
def test_addresses_that_are_none(url: str, said: str) -> None:
    assert found(url) == Finding("unknown", said)


# proxies


def environment(proxy: str) -> dict[str, str]:
    return {"HTTP_PROXY": f"http://user:pass%2Fword@{proxy}", "HTTPS_PROXY": f"http://user:pass%2Fword@{proxy}"}


LOGIN = "Proxy-Authorization: Basic dXNlcjpwYXNzL3dvcmQ=\r\n"


def test_a_proxy_is_asked_for_plain_http() -> None:
    with Server(answering(EMPTY)) as proxy:
        assert ask("GET", "http://registry.example/v2/?a=b", environment(proxy.host)).ok
    assert proxy.lines[0].startswith("GET http://registry.example/v2/?a=b HTTP/1.1\r\n")
    assert "Host: registry.example\r\n" in proxy.lines[0] and LOGIN in proxy.lines[0]


def tunnel(target: str) -> Callable[[Server, socket.socket], None]:
    def carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def serve(server: Server, line: socket.socket) -> None:
        server.head(line)
        host, port = target.split(":")
        with socket.create_connection((host, int(port))) as other:
            line.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            threading.Thread(target=carry, args=(other, line), daemon=True).start()
            carry(line, other)

    return serve


def test_a_proxy_carries_tls_and_sees_nothing_of_it(authority: trustme.CA, tmp_path: Path) -> None:
    with Server(answering(EMPTY), tls(authority)) as registry, Server(tunnel(registry.host)) as proxy:
        url = "https://registry.example:8443/v2/"
        trusted = trusting([tmp_path / "ca.crt"], {})
        assert ask("GET", url, environment(proxy.host), context=trusted).ok
        assert found(url, environment(proxy.host), context=trusting([], {})).kind == "authority"
    assert len(proxy.lines) == 2
    assert all(line.startswith("CONNECT registry.example:8443 HTTP/1.") for line in proxy.lines)
    assert LOGIN in proxy.lines[0]
    assert registry.lines[0].startswith("GET /v2/ HTTP/1.1\r\n")
    assert "Proxy-Authorization" not in registry.lines[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached(scheme: str, nobody: str) -> None:
    finding = found(f"{scheme}://registry.example/v2/", environment(nobody))
    assert finding == Finding("unreachable", "the proxy: Connection refused")


def test_a_proxy_that_refuses() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with Server(answering(refusal)) as proxy:
        assert found("https://registry.example/v2/", environment(proxy.host)) == Finding(
            "unreachable", "the proxy: OSError"
        )


EXCLUDED = (
    "", "*", "example.com", ".example.com", "h.example.com", "x.example.com", "H.EXAMPLE.COM", "com:5000",
    "h.example.com:5000", "h.example.com:5001", "10.1.2.3", "10.1.0.0/16", "10.2.0.0/16", "10.1.2.3/33",
    "a, 10.0.0.0/8", "*,a", "2.3", "10.1.2.3:8443", "fd00::/8", ",",
)  # fmt: skip


@pytest.mark.parametrize("url", ["https://h.example.com/v2/", "http://h.example.com:5000/", "https://10.1.2.3:8443/"])
def test_no_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    theirs = {excluded: requests.utils.should_bypass_proxies(url, excluded) for excluded in EXCLUDED}
    assert {excluded: should_bypass_proxies(url, excluded) for excluded in EXCLUDED} == theirs


def test_no_proxy_has_names_and_not_their_ends() -> None:
    """As Go has it; requests before 2.34 took any end."""
    assert not should_bypass_proxies("https://h.example.com/v2/", "ample.com")
