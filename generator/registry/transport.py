"""One HTTP request to a registry as docker would send it: authorities, proxies, no cookies; and what came between."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from generator.docker.credentials import proxy_for, system_bundle

Kind = Literal["ok", "unreachable", "authority", "certificate", "no login", "refused", "denied", "missing", "unknown"]
TIMEOUT = (5.0, 20.0)
"""Seconds to connect, and to wait for an answer."""

LIMIT = 4 << 20
"""Bytes of an answer that is read at once: a token, an error, a list."""
_ENVIRONMENT = threading.Lock()

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's X509_V_ERR_… for a chain that ends at nobody who is trusted."""


@dataclass(frozen=True)
class Finding:
    """``said`` are the registry's own words, or the network's; it may be empty, and is to be redacted."""

    kind: Kind
    said: str = ""


class Refused(Exception):
    """Carries a finding out of the middle of a conversation."""

    def __init__(self, kind: Kind, said: str = "") -> None:
        super().__init__(said)
        self.finding = Finding(kind, said)


def is_insecure(host: str, known: Sequence[str]) -> bool:
    """Whether docker takes plain http from it: a loopback address, or one in ``known`` (names and networks)."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or host in known:
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    networks = [ip_network(one, strict=False) for one in known if re.fullmatch(r"[0-9a-fA-F.:]+/\d+", one)]
    return address.is_loopback or any(address in network for network in networks)


class _Adapter(HTTPAdapter):
    """requests with an SSL context of one's own; it would trust certifi's authorities besides."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, *_: object) -> None:
        """The context says what is trusted."""


def open_session(context: ssl.SSLContext) -> requests.Session:
    """Connections that are kept and shared by threads, and nothing else that would be kept."""
    session = requests.Session()
    # none is followed; requests would read each to its end all the same, and look where it leads
    session.resolve_redirects = lambda *_, **_options: iter(())  # type: ignore[method-assign]
    # neither ~/.netrc nor REQUESTS_CA_BUNDLE; a cookie would make Harbor take this for a browser
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", _Adapter(context))
    session.verify = context.verify_mode != ssl.CERT_NONE
    return session


def send(
    session: requests.Session,
    method: str,
    url: str,
    environment: Mapping[str, str],
    headers: Mapping[str, str],
    **options: Any,
) -> requests.Response:
    """One request, and no redirect followed; without ``stream`` its body is read. Refused where no answer comes."""
    try:
        answer = session.request(
            method,
            url,
            headers=dict(headers),
            proxies=proxies(url, environment),
            allow_redirects=False,
            **{"timeout": TIMEOUT, **options, "stream": True},
        )
        if not options.get("stream") or answer.is_redirect:
            _read(answer)
    except requests.exceptions.RequestException as error:
        raise trouble(error) from error
    return answer


def _read(answer: requests.Response) -> None:
    """The body, as requests keeps it; but not one without end."""
    pieces, size = [], 0
    for piece in answer.iter_content(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > LIMIT:
            answer.close()
            raise Refused("unknown", f"an answer of more than {LIMIT:,} bytes")
    answer._content = b"".join(pieces)


def proxies(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """As Go has it: none for loopback, NO_PROXY with names, domains and networks."""
    proxy, parts = proxy_for(url, environment), urlsplit(url)
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if not proxy or is_insecure(parts.netloc.rpartition("@")[2], ()):
        return {}
    # it puts what it is given into this process's own environment for a moment, and takes it out again
    with _ENVIRONMENT:
        return {} if requests.utils.should_bypass_proxies(url, excluded) else {parts.scheme: proxy}


def trouble(error: BaseException) -> Refused:
    """What came between: the innermost reason says more than requests' own words."""
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return Refused("authority" if one.verify_code in _UNKNOWN_AUTHORITY else "certificate", one.verify_message)
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return Refused("certificate", f"it does not speak TLS ({one.reason or one})")
    if isinstance(error, requests.exceptions.Timeout):
        seconds = TIMEOUT[0 if isinstance(error, requests.exceptions.ConnectTimeout) else 1]
        return Refused("unreachable", f"no answer in {seconds:g} s")
    if not isinstance(error, requests.exceptions.ConnectionError):
        return Refused("unknown", type(error).__name__)
    through = "the proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    system = next((one for one in reversed(chain) if isinstance(one, OSError) and one.strerror), None)
    return Refused("unreachable", through + (str(system.strerror) if system else type(chain[-1]).__name__))


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        error = getattr(error, "reason", None) if inner is None else inner
        error = error if isinstance(error, BaseException) else found[-1].__cause__ or found[-1].__context__
    return found


def trusting(files: Sequence[Path], environment: Mapping[str, str]) -> ssl.SSLContext:
    """The system's authorities and the registry's own; a file that holds none is left out, as docker does."""
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


def anything() -> ssl.SSLContext:
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
