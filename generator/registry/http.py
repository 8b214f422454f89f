"""One HTTP request as docker would send it: its certificate authorities, its proxies, no cookies, no redirects."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3 import exceptions

from generator.docker.credentials import proxy_for, system_bundle
from generator.text import printable

Kind = Literal["unreachable", "authority", "certificate", "no login", "refused", "denied", "missing", "unknown"]
TIMEOUT = (5.0, 20.0)
"""Seconds to connect, and to wait for an answer."""

LIMIT = 4 << 20
"""Bytes of an answer that is read at once: a token, an error, a manifest (distribution's own limit is the same)."""

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's X509_V_ERR_… for a chain that ends at an authority that is not trusted."""


class Refusal(Exception):
    """Why a registry did not do what was asked.

    ``words`` are the registry's own, or the network's: printable, without the password, and perhaps empty.
    """

    def __init__(self, kind: Kind, words: str = "") -> None:
        super().__init__(words)
        self.kind: Kind = kind
        self.words = words


@dataclass
class Answer:
    """What a server answered; ``body`` is still to be read, or is in ``data``."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: urllib3.BaseHTTPResponse
    data: bytes = b""

    @property
    def location(self) -> str:
        """Where it redirects to; "" where it does not."""
        return self.headers.get("Location", "") if self.status in (301, 302, 303, 307, 308) else ""

    @property
    def json(self) -> Any:
        """None where the answer is not JSON."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None

    def read(self) -> None:
        """Reads the body into ``data``. Raises Refusal for one without an end, and where the connection breaks."""
        pieces, size = [], 0
        try:
            while piece := self.body.read(1 << 16, decode_content=False):
                pieces.append(piece)
                size += len(piece)
                if size > LIMIT:
                    raise Refusal("unknown", f"a response of more than {LIMIT:,} bytes")
        except (exceptions.HTTPError, OSError) as error:
            raise _network_refusal(error) from error
        finally:
            self.close()
        self.data = b"".join(pieces)

    def close(self) -> None:
        """Gives the connection back where the body was read to its end; else it is of no more use."""
        if not self.body.closed:
            self.body.close()
        self.body.release_conn()


class Connections:
    """Kept connections to any host, for several threads."""

    def __init__(self, context: ssl.SSLContext, environment: Mapping[str, str]) -> None:
        self._context, self._environment = context, environment
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> Answer:
        """One request; no redirect is followed, and the body of the answer is not read. Raises Refusal without one."""
        try:
            response = self._pool(url).request(
                method,
                url,
                body=body,
                headers={**headers},
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
            )
        except (exceptions.HTTPError, OSError) as error:
            raise _network_refusal(error) from error
        return Answer(url, response.status, response.headers, response)

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_of(url, self._environment)
        with self._lock:
            if proxy not in self._pools:
                options: dict[str, Any] = {"maxsize": 8, "ssl_context": self._context}
                self._pools[proxy] = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
            return self._pools[proxy]


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(proxy)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return urllib3.ProxyManager(proxy, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), **options)


def proxy_of(url: str, environment: Mapping[str, str]) -> str:
    """The proxy that docker takes for ``url``; "" for none, as for a loopback address and what NO_PROXY lists."""
    proxy, parts = proxy_for(url, environment), urlsplit(url)
    no_proxy = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    if not proxy or is_insecure(parts.netloc.rpartition("@")[2], ()) or _excluded(parts.hostname or "", port, no_proxy):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY lists a host, as Go reads it (golang.org/x/net/http/httpproxy): names, networks, ports."""
    for entry in no_proxy.lower().replace(" ", "").split(","):
        name, colon, only = entry.rpartition(":")
        if not colon or (":" in name and not name.startswith("[")):
            name, only = entry, ""
        name = name.strip("[]")
        if only not in ("", str(port)) or not name:
            continue
        domain = name[1:] if name.startswith("*.") else name
        if entry == "*" or host == domain or host.endswith(f".{domain.removeprefix('.')}") or _in_network(host, name):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def is_insecure(host: str, insecure: Sequence[str]) -> bool:
    """Whether docker takes plain http from it: a loopback address, or one in ``insecure`` (names and networks)."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or host in insecure:
        return True
    return any(_in_network(name, network) for network in ("127.0.0.0/8", "::1/128", *insecure) if "/" in network)


def join_url(base: str, address: str) -> str:
    """Where ``address`` leads to from ``base``. Raises Refusal for what is not an address."""
    try:
        url = urljoin(base, address)
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise Refusal("unknown", f"it redirects to an invalid address: {printable(address)[:80]}") from error
    if urlsplit(url).scheme not in ("http", "https"):
        raise Refusal("unknown", f"it redirects to an address that is not http: {printable(address)[:80]}")
    return url


def origin(url: str) -> tuple[str, str]:
    """Scheme, host and port: who sees what is sent there."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _network_refusal(error: BaseException) -> Refusal:
    """What came between; the innermost reason says more than urllib3's own words."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Refusal(
                "authority" if cause.verify_code in _UNKNOWN_AUTHORITY else "certificate", cause.verify_message
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return Refusal("certificate", f"it does not speak TLS ({cause.reason or cause})")
    if isinstance(error, exceptions.TimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        seconds = TIMEOUT[0 if isinstance(error, exceptions.ConnectTimeoutError) else 1]
        return Refusal("unreachable", f"no answer in {seconds:g} s")
    if not isinstance(error, (exceptions.ProtocolError, exceptions.ProxyError, exceptions.NewConnectionError, OSError)):
        return Refusal("unknown", type(error).__name__)
    through = "the proxy: " if isinstance(error, exceptions.ProxyError) else ""
    system = [cause for cause in causes if isinstance(cause, OSError)]
    words = (
        (system[-1].strerror or str(system[-1])) if system else f"the connection broke ({type(causes[-1]).__name__})"
    )
    return Refusal("unreachable", through + printable(words)[:200])


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return causes


def trusting(files: Sequence[Path], environment: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the system's authorities and those in ``files``; one that holds none is left out, as docker does."""
    bundle = system_bundle(environment)
    if bundle is None:
        context = ssl.create_default_context()
    else:
        # the default file is that bundle, and takes long to read; the default directory is looked into when needed
        paths = ssl.get_default_verify_paths()
        context = ssl.create_default_context(capath=paths.capath or paths.openssl_capath)
    for file in (*([bundle] if bundle else []), *files):
        try:
            context.load_verify_locations(cafile=file)
        except OSError:  # ssl.SSLError is one
            continue
    return context


def trusting_all() -> ssl.SSLContext:
    """Trusts every certificate: for the engine's insecure registries."""
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
