"""One request: what goes over the line, through which proxy, and what is said where no answer comes."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from generator.registry.http import TIMEOUT, Connections, RegistryError, Response, is_insecure, origin, proxy_of
from tests.loopback import Handler, Loopback, says, tls

pytestmark = pytest.mark.usefixtures("one_authority")

OK = says("", 200)


def ask(
    url: str, environment: dict[str, str] | None = None, method: str = "GET", trusted: tuple[Path, ...] = (),
    body: Any = None, length: int | None = None,
) -> Response:  # fmt: skip
    headers = {} if length is None else {"Content-Length": str(length)}
    answer = Connections(trusted, environment or {}).send(method, url, headers, body, TIMEOUT)
    answer.read()
    return answer


def refusal(url: str, environment: dict[str, str] | None = None, **options: Any) -> tuple[str, str]:
    """Kind and words of what keeps a request from its answer."""
    with pytest.raises(RegistryError) as refused:
        ask(url, environment, **options)
    return refused.value.kind, refused.value.detail


def environment(proxy: str) -> dict[str, str]:
    return {"HTTP_PROXY": f"http://user:pass%2Fword@{proxy}", "HTTPS_PROXY": f"http://user:pass%2Fword@{proxy}"}


# what is trusted


def harbors_recipe() -> trustme.CA:
    """An authority without keyUsage, as Harbor's manual makes one with openssl."""
    name, key = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Harbor")]), ec.generate_private_key(ec.SECP256R1())
    now, own = datetime.now(timezone.utc), x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9))
    builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(own, False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return trustme.CA.from_pem(pem, key.private_bytes(serialization.Encoding.PEM, *form))


def test_an_authority_without_key_usage_is_trusted_on_every_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ssl.create_default_context

    def as_from_3_13_on(*args: Any, **options: Any) -> ssl.SSLContext:
        context = plain(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    authority = harbors_recipe()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    with Loopback(lies=[OK], tls=tls(authority, "127.0.0.1")) as registry:
        monkeypatch.setattr(ssl, "create_default_context", as_from_3_13_on)
        assert ask(registry.url, trusted=(tmp_path / "ca.crt",)).status == 200
        assert refusal(registry.url)[0] == "authority"


# what goes over the line


def test_an_answer_is_read_and_neither_redirect_nor_cookie_is_followed() -> None:
    clients = set()

    def lie(handler: Handler) -> bool:
        clients.add(handler.client_address)
        challenges = {"WWW-Authenticate": 'Basic realm="x"', "www-authenticate": 'Bearer realm="y"'}
        handler.answer(307, b'{"a": 1}', {"Location": "/other", "Set-Cookie": "a=b", **challenges})
        return True

    with Loopback(lies=[lie]) as server:
        connections = Connections((), {})
        for _ in range(2):
            answer = connections.send("GET", f"http://{server.host}/a?c=d", {"X-One": "1"}, None, TIMEOUT)
            answer.read()
    assert server.heads[0].startswith("GET /a?c=d HTTP/1.1\n")
    assert f"\nHost: {server.host}\n" in server.heads[0] and "\nX-One: 1\n" in server.heads[0]
    assert len(server.heads) == 2 and "cookie" not in "".join(server.heads).lower()
    assert (answer.status, answer.location, answer.json) == (307, "/other", {"a": 1})
    assert answer.headers.get("Www-Authenticate") == 'Basic realm="x", Bearer realm="y"'
    assert len(clients) == 1, "a connection is kept"


def test_a_server_that_refuses_a_body_half_way_is_heard() -> None:
    def lie(handler: Handler) -> bool:
        handler.answer(413)
        handler.connection.shutdown(socket.SHUT_WR)
        while handler.rfile.read(1 << 16):
            pass
        return True

    with Loopback(lies=[lie]) as server:
        body = iter([bytes(1 << 16)] * 64)
        assert ask(f"http://{server.host}/", method="PUT", body=body, length=1 << 22).status == 413
    assert "transfer-encoding" not in server.heads[0].lower()


def test_what_a_body_raises_is_not_the_networks_fault() -> None:
    def damaged() -> Iterator[bytes]:
        yield b"abc"
        raise KeyError("damaged")

    with Loopback(lies=[OK]) as server, pytest.raises(KeyError):
        ask(f"http://{server.host}/", method="PUT", body=damaged(), length=6)


# what goes wrong


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/", "Connection refused"),
        ("http://registry.example/v2/", "the proxy: Connection refused"),
        ("https://registry.example/v2/", "the proxy: Connection refused"),
    ],
)
def test_nobody_listens(url: str, words: str) -> None:
    assert refusal(url, environment("127.0.0.1:1")) == ("unreachable", words)


def test_nobody_answers() -> None:
    def lie(handler: Handler) -> bool:
        time.sleep(1)
        return True

    connections = Connections((), {})
    with Loopback(lies=[lie]) as server, pytest.raises(RegistryError, match=r"no answer in 0\.05 s") as refused:
        connections.send("GET", f"http://{server.host}/", {}, None, (1.0, 0.05))
    assert refused.value.kind == "unreachable"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "Remote end closed connection without response"),
        (b"nonsense\r\n\r\n", "the connection broke (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "the connection broke (IncompleteRead)"),
    ],
)
def test_what_is_not_an_answer(answer: bytes, words: str) -> None:
    def lie(handler: Handler) -> bool:
        handler.wfile.write(answer)
        handler.cut()
        return True

    with Loopback(lies=[lie]) as server:
        assert refusal(f"http://{server.host}/") == ("unreachable", words)


def test_what_is_not_an_address() -> None:
    assert refusal("http:///x") == ("unknown", "LocationValueError")
    words = "the address of its proxy is invalid, or is not one of http:// and https://"
    assert refusal("https://registry.example/v2/", {"HTTPS_PROXY": "http://[bad"}) == ("unknown", words)


# proxies


LOGIN = "\nproxy-authorization: Basic dXNlcjpwYXNzL3dvcmQ=\n"


def test_a_proxy_is_asked_for_plain_http() -> None:
    with Loopback(lies=[OK]) as proxy:
        assert ask("http://registry.example/v2/?a=b", environment(proxy.host)).status == 200
    assert proxy.heads[0].startswith("GET http://registry.example/v2/?a=b HTTP/1.1\n")
    assert "\nHost: registry.example\n" in proxy.heads[0] and LOGIN in proxy.heads[0]


def test_a_proxy_carries_tls_and_sees_nothing_of_it(ca: trustme.CA, ca_file: Path) -> None:
    with (
        Loopback(lies=[OK], tls=tls(ca, "registry.example")) as registry,
        Loopback(lies=[lambda handler: handler.tunnel(registry.host) is None]) as proxy,
    ):
        url = "https://registry.example:8443/v2/"
        assert ask(url, environment(proxy.host), trusted=(ca_file,)).status == 200
        assert refusal(url, environment(proxy.host))[0] == "authority"
    assert len(proxy.heads) == 2
    assert all(head.startswith("CONNECT registry.example:8443 HTTP/1.") for head in proxy.heads)
    assert LOGIN in proxy.heads[0]
    assert registry.heads[0].startswith("GET /v2/ HTTP/1.1\n")
    assert "proxy-authorization" not in registry.heads[0].lower()


def test_a_proxy_that_refuses() -> None:
    with Loopback(lies=[says("CONNECT ", 407)]) as proxy:
        words = "the proxy: Tunnel connection failed: 407 Proxy Authentication Required"
        assert refusal("https://registry.example/v2/", environment(proxy.host)) == ("unreachable", words)


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://p:1"),
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "", "https_proxy": "http://q:1"}, "http://q:1"),
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://h.example.com/v2/", {"HTTP_PROXY": "http://p:1"}, ""),
        ("https://127.0.0.1:5000/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://localhost/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://[::1]:5000/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://u:p@[::1]/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
        ("https://h.example.com/v2/", {"HTTPS_PROXY": "http://p:1", "no_proxy": ".example.com"}, ""),
    ],
)
def test_proxies_are_those_of_bakes_environment(url: str, environment: dict[str, str], expected: str) -> None:
    assert proxy_of(url, environment) == expected


NAME, PORT, ADDRESS = "https://h.example.com/v2/", "http://h.example.com:5000/", "https://10.1.2.3:8443/"


@pytest.mark.parametrize(
    ("no_proxy", "excluded"),
    [
        ("", []),
        (",", []),
        ("*", [NAME, PORT, ADDRESS]),
        ("*,a", [NAME, PORT, ADDRESS]),
        ("example.com", [NAME, PORT]),
        (".example.com", [NAME, PORT]),
        ("*.example.com", [NAME, PORT]),
        ("h.example.com", [NAME, PORT]),
        ("*.h.example.com", []),
        ("H.EXAMPLE.COM", [NAME, PORT]),
        ("x.example.com", []),
        ("ample.com", []),
        ("com:5000", [PORT]),
        ("h.example.com:5000", [PORT]),
        ("h.example.com:443", [NAME]),
        ("10.1.2.3", [ADDRESS]),
        ("10.1.2.3:8443", [ADDRESS]),
        ("10.1.2.3:443", []),
        ("10.1.0.0/16", [ADDRESS]),
        ("a, 10.0.0.0/8", [ADDRESS]),
        ("10.2.0.0/16", []),
        ("10.1.2.3/33", []),
        ("fd00::/8", []),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(no_proxy: str, excluded: list[str]) -> None:
    proxies = {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert [url for url in (NAME, PORT, ADDRESS) if not proxy_of(url, proxies)] == excluded
    assert not proxy_of("https://[fd00::1]/", {**proxies, "NO_PROXY": "fd00::/8"})


INSECURE = ("localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000", "10.1.2.3:80", "plain.example.com")


@pytest.mark.parametrize("host", [*INSECURE, "11.0.0.1", "harbor.example.com", "localhost.example.com"])
def test_insecure_registries_are_those_of_the_engine_and_loopback(host: str) -> None:
    assert is_insecure(host, ("plain.example.com", "10.0.0.0/8")) == (host in INSECURE)


@pytest.mark.parametrize(
    ("other", "same"),
    [("https://HARBOR.example.com:443/b", True), ("https://harbor.example.com:8443/a", False),
     ("http://harbor.example.com/a", False), ("http://harbor.example.com:443/a", False)],
)  # fmt: skip
def test_an_address_with_its_default_port_is_the_one_without_it(other: str, same: bool) -> None:
    assert (origin("https://harbor.example.com/a") == origin(other)) == same
