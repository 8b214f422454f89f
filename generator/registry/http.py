"""One HTTP request as docker would send it: with its certificate authorities and proxies; no redirects, no cookies."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3 import exceptions
from urllib3.connection import port_by_scheme

from generator.docker.credentials import system_bundle
from generator.text import printable

ErrorKind = Literal["unreachable", "authority", "certificate", "no login", "refused", "denied", "missing", "unknown"]
TIMEOUT = (5.0, 20.0)
"""Seconds to connect, and to wait for a response."""

TRANSIENT: Mapping[int, str] = {
    408: "the server did not wait for the whole request",
    429: "a rate limit; Retry-After says how long",
    500: "a storage backend or database that fails for a moment (S3 SlowDown, a Harbor restart)",
    502: "the proxy in front of a registry that restarts",
    503: "a registry that starts, or is overloaded",
    504: "the proxy in front of an overloaded registry",
}
"""Statuses after which the same request can succeed, and why; all others are final."""

MAX_RESPONSE_SIZE = 4 << 20
"""Bytes of a response that is read at once: a token, an error, a manifest (distribution's own limit is the same)."""

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's X509_V_ERR_… for a chain that ends at an authority that is not trusted."""


@dataclass(eq=False)
class RegistryError(Exception):
    """Why a registry did not do what was asked.

    ``detail`` is the registry's message, or the network's: printable, without the password, and perhaps empty.
    ``broke``: a connection that stood was lost. Of a response: its ``status``, the registry's error ``code``
    (``MANIFEST_UNKNOWN``, or ""), and the seconds that it asks to ``wait``. ``transient``: the same request can succeed
    later.
    """

    kind: ErrorKind
    detail: str = ""
    broke: bool = False
    status: int = 0
    code: str = ""
    wait: float | None = None

    def __post_init__(self) -> None:
        self.detail = printable(self.detail)
        self.transient = self.kind == "unreachable" or self.status in TRANSIENT
        super().__init__(self.detail)


@dataclass(eq=False)
class Response:
    """A server's response; ``body`` is still to be read, or is in ``data``."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: urllib3.BaseHTTPResponse
    data: bytes = b""

    @property
    def location(self) -> str:
        """Where it redirects to, or ""."""
        return self.headers.get("Location", "") if self.status in (301, 302, 303, 307, 308) else ""

    @property
    def json(self) -> Any:
        """None if the response is not JSON."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None

    def read(self) -> None:
        """Reads the body into ``data``. Raises RegistryError if it is too long, or if the connection breaks."""
        data = bytearray()
        try:
            while piece := self.body.read(1 << 16, decode_content=False):
                data += piece
                if len(data) > MAX_RESPONSE_SIZE:
                    raise RegistryError("unknown", f"a response of more than {MAX_RESPONSE_SIZE:,} bytes")
        except (exceptions.HTTPError, OSError) as error:
            raise _network_error(error) from error
        finally:
            self.close()
        self.data = bytes(data)

    def close(self) -> None:
        """Returns the connection to the pool if the body was read to its end, else closes it."""
        if not self.body.closed:
            self.body.close()
        self.body.release_conn()


class Connections:
    """Thread-safe connection pools, one per proxy and TLS policy; ``trusted`` are files with more authorities."""

    def __init__(self, trusted: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._trusted, self._environment = trusted, environment
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any = None,
        timeout: tuple[float, float] = TIMEOUT,
        verify: bool = True,
    ) -> Response:
        """Send one request: no redirect is followed, and the body is not read. RegistryError: no response came.

        ``verify`` is False for the engine's insecure registries: every certificate is trusted.
        """
        try:
            response = self._pool(url, verify).request(
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
            raise _network_error(error, timeout) from error
        return Response(url, response.status, response.headers, response)

    def _pool(self, url: str, verify: bool) -> urllib3.PoolManager:
        proxy = proxy_of(url, self._environment)
        with self._lock:
            if (proxy, verify) not in self._pools:
                # only now: the system's authorities take long to read
                context = trusting(self._trusted, self._environment) if verify else _trusting_all()
                options: dict[str, Any] = {"maxsize": 8, "ssl_context": context}
                try:
                    if proxy:
                        user, password = urlsplit(proxy).username, urlsplit(proxy).password or ""
                        login = f"{unquote(user)}:{unquote(password)}" if user else None
                        options |= {"proxy_url": proxy, "proxy_headers": urllib3.make_headers(proxy_basic_auth=login)}
                    self._pools[proxy, verify] = (urllib3.ProxyManager if proxy else urllib3.PoolManager)(**options)
                except ValueError as error:
                    wrong = "the address of its proxy is invalid, or is not one of http:// and https://"
                    raise RegistryError("unknown", wrong) from error
            return self._pools[proxy, verify]


def proxy_of(url: str, environment: Mapping[str, str]) -> str:
    """The proxy that docker uses for ``url``; "" for none, as for a loopback address and what NO_PROXY lists.

    Uppercase variables take precedence, as in Go.
    """
    parts = urlsplit(url)
    proxy, no_proxy = (
        environment.get(name.upper()) or environment.get(name) or "" for name in (f"{parts.scheme}_proxy", "no_proxy")
    )
    _, host, port = origin(url)
    excluded = any(_excludes(entry, host, port) for entry in no_proxy.lower().replace(" ", "").split(","))
    if not proxy or excluded or is_insecure(parts.netloc.rpartition("@")[2], ()):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _excludes(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY is for a host, as Go reads it (golang.org/x/net/http/httpproxy)."""
    with_port = re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry)
    name, only = (with_port[1], with_port[2]) if with_port else (entry, str(port))
    name = name.strip("[]")
    domain = name[1:] if name.startswith("*.") else name
    if not name or only != str(port):
        return False
    return entry == "*" or host == domain or host.endswith(f".{domain.removeprefix('.')}") or _in_network(host, name)


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def is_insecure(host: str, insecure: Sequence[str]) -> bool:
    """Whether docker accepts plain http from it: a loopback address, or one in ``insecure`` (names and networks)."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or host in insecure:
        return True
    return any(_in_network(name, network) for network in ("127.0.0.0/8", "::1/128", *insecure) if "/" in network)


def join_url(base: str, address: str) -> str:
    """The absolute URL of ``address``, seen from ``base``. Raises RegistryError for an invalid one."""
    try:
        url = urljoin(base, address)
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise RegistryError("unknown", "it sent an invalid address") from error
    if (scheme := urlsplit(url).scheme) not in ("http", "https"):
        # not the address: it may repeat a login
        raise RegistryError("unknown", f"it sent an address that is not http ({scheme[:20]}:)")
    return url


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: who sees what is sent there."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or port_by_scheme[parts.scheme]


def _network_error(error: BaseException, timeout: tuple[float, float] = TIMEOUT) -> RegistryError:
    """A network error as a RegistryError; the innermost reason says more than urllib3's own message."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            kind: ErrorKind = "authority" if cause.verify_code in _UNKNOWN_AUTHORITY else "certificate"
            return RegistryError(kind, cause.verify_message)
        if isinstance(cause, ssl.SSLError):
            return RegistryError("certificate", f"it does not speak TLS ({cause.reason or cause})")
    if isinstance(error, exceptions.LocationValueError):
        return RegistryError("unknown", type(error).__name__)
    if isinstance(error, exceptions.TimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        seconds = timeout[0 if isinstance(error, exceptions.ConnectTimeoutError) else 1]
        return RegistryError("unreachable", f"no answer in {seconds:g} s")
    detail = f"the connection broke ({type(causes[-1]).__name__})"
    for cause in causes:
        if isinstance(cause, OSError):
            detail = cause.strerror or str(cause)
    through = "the proxy: " if isinstance(error, exceptions.ProxyError) else ""
    connected = not any(isinstance(c, (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)) for c in causes)
    return RegistryError("unreachable", through + detail[:200], broke=connected)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from; urllib3 also wraps an error as an argument."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = inner or error.__cause__ or error.__context__


def trusting(files: Sequence[Path], environment: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the system's authorities and those in ``files``; one that holds none is left out, as docker does.

    As Docker and curl do, on every Python: 3.13 would refuse an authority without keyUsage, as Harbor's manual has it.
    """
    bundle = system_bundle(environment)
    # the default file is that bundle, and takes long to read; the default directory is looked into when needed
    paths = ssl.get_default_verify_paths()
    context = ssl.create_default_context(capath=paths.capath or paths.openssl_capath if bundle else None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for file in (*([bundle] if bundle else []), *files):
        try:
            context.load_verify_locations(cafile=file)
        except OSError:  # ssl.SSLError is one
            continue
    return context


def _trusting_all() -> ssl.SSLContext:
    urllib3.disable_warnings(exceptions.InsecureRequestWarning)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
