"""Requests to one registry: login and tokens, redirects, and retries.

Sources: opencontainers/distribution-spec (spec.md), distribution/distribution (docs/content/spec/auth: token.md and
oauth.md; docs: errors), RFC 9110 (11.6.1 challenges, 10.2.3 Retry-After).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import urllib3

from generator.docker.credentials import HUB, Login
from generator.progress import say
from generator.registry.http import (
    TIMEOUT,
    TRANSIENT,
    Connections,
    ErrorKind,
    RegistryError,
    Response,
    join_url,
    origin,
)

NOT_YET_VISIBLE = frozenset(("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"))
"""Codes for a manifest whose blobs were pushed a moment ago: replicas and caches of a registry lag behind."""
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each retry if the registry names no time."""
MAX_RETRY_AFTER = 60.0
"""Seconds that a registry may ask to wait; longer waits are capped at this."""
UPLOAD_TIMEOUT = (5.0, 300.0)
"""Seconds to connect, and for a response: a registry moves a large blob to its place before it says yes."""
_REDIRECTS = 5
T = TypeVar("T")
_TOKEN = re.compile(r"[!-~]+")
"""What a header can carry as a token (RFC 6750, 2.1, is narrower)."""


@dataclass(frozen=True)
class Access:
    """How docker would connect to a registry. ``trusted`` are files with authorities besides the system's.

    ``insecure``: the engine accepts any certificate, and plain http, from it.
    """

    host: str
    login: Login | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    trusted: tuple[Path, ...] = ()
    insecure: bool = False


class Challenge(NamedTuple):
    """``scheme`` is ``bearer``, ``basic``, or "" if a registry asks for no login."""

    scheme: str
    realm: str = ""
    service: str = ""


@contextlib.contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that a block which fails does not wait for: a registry that does not answer would keep it."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


class Stopped(Exception):
    """The session was ended from another thread."""


class Session:
    """Thread-safe. Every method raises RegistryError if the registry or the network fails. ``sleep`` is for tests.

    A password is sent to the registry itself and to its token service; a token to the registry alone. Sessions that
    end together share ``stopped``.
    """

    def __init__(
        self, access: Access, sleep: Callable[[float], object] | None = None, stopped: threading.Event | None = None
    ) -> None:
        self.access = access
        self._stopped = stopped or threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._connections = Connections(access.trusted, access.environment)
        self._headers: dict[tuple[str, ...], str] = {}
        # locked while a token is requested: all threads wait for the same one
        self._tokens_lock = threading.Lock()
        host = "registry-1.docker.io" if access.host == HUB else access.host
        for scheme in ("https", "http"):
            self._base = f"{scheme}://{host}"
            try:
                # not again if there is no connection at all: its address may be wrong
                response = self.retried(
                    lambda: self.once("GET", "/v2/"), lambda error: error.broke or error.status in TRANSIENT
                )
                break
            except RegistryError as error:
                if error.status or not access.insecure or scheme == "http":
                    raise
        if response.status not in (200, 401):
            raise self.error(response, "unknown")
        self._challenge = parse_challenge(response) if response.status == 401 else Challenge("")

    def log_in(self) -> None:
        """Checks the password on its own, as ``docker login`` does."""
        login = self.access.login
        if login is not None and self._challenge.scheme == "bearer":
            self.retried(lambda: self._token(self._challenge, ()))
        elif login is not None and self._challenge.scheme == "basic":
            response = self.retried(lambda: self.once("GET", "/v2/", f"Basic {login.basic}"))
            if response.status == 401:
                raise self.error(response, "refused")

    def request(self, method: str, address: str, *scopes: str, **options: Any) -> Response:
        """Send a request, with retries and a fresh token for one that expired; the response whatever its status.

        ``options`` are those of ``once``. The caller repeats a request whose body cannot be sent twice.
        """
        return self.retried(lambda: self.once_with_token(method, address, *scopes, **options))

    def retried(
        self, action: Callable[[], T], worth: Callable[[RegistryError], bool] = lambda error: error.transient
    ) -> T:
        """What ``action`` returns; it is tried again, with back-off, after an error that is ``worth`` it."""
        failures = 0
        while True:
            self.raise_if_stopped()
            try:
                return action()
            except RegistryError as error:
                if not worth(error):
                    raise
                failures += 1
                self.back_off(failures, error)

    def back_off(self, failures: int, error: RegistryError) -> None:
        """Waits before the next try, as long as the registry says if it does; raises ``error`` if it was the last."""
        self.raise_if_stopped()
        if failures > len(RETRY_DELAYS):
            raise error
        delay = RETRY_DELAYS[failures - 1] if error.wait is None else error.wait
        say(f"{self.access.host}: {error.detail}; trying again in {delay:g} s")
        self._sleep(delay)
        self.raise_if_stopped()

    def once_with_token(self, method: str, address: str, *scopes: str, **options: Any) -> Response:
        """Like ``request``, without retries."""
        header = self.authorization(scopes)
        response = self.once(method, address, header, **options)
        if response.status != 401 or not self.is_own(response.url):
            return response
        # the token expired, or this registry lets everybody read and asks for a login only here
        fresh = self.authorization(scopes, header, parse_challenge(response))
        if fresh == header:
            return response
        return self.once(method, address, fresh, **options)

    def authorization(
        self, scopes: tuple[str, ...], stale: str | None = None, challenge: Challenge | None = None
    ) -> str:
        """The header for these scopes (``repository:PATH:pull``); a new one if the current one is ``stale``."""
        with self._tokens_lock:
            if self._headers.get(scopes) == stale:
                # of a token that expired, Harbor asks for Basic, which no identity token serves
                if challenge is None or (challenge.scheme != "bearer" and self._challenge.scheme):
                    challenge = self._challenge
                header, login = "", self.access.login
                if challenge.scheme == "bearer":
                    header = f"Bearer {self._token(challenge, scopes)}"
                elif challenge.scheme == "basic" and login:
                    header = f"Basic {login.basic}"
                self._headers[scopes] = header
            return self._headers[scopes]

    def once(
        self,
        method: str,
        address: str,
        authorization: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        strict: bool = False,
        stream: bool = False,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> Response:
        """One request; a GET or a HEAD follows redirects. Only the registry itself sees ``authorization``.

        ``strict``: verify certificates even for an insecure registry, as buildx does when it fetches a token. The body
        is read, except that of a 2xx with ``stream``. Raises RegistryError for a transient status.
        """
        url = first = join_url(self._base, address)
        for _ in range(_REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", **(headers or {})}
            if authorization and (origin(url) == origin(first) if strict else self.is_own(url)):
                sent["Authorization"] = authorization
            verify = strict or not (self.access.insecure and self.is_own(url))
            response = self._connections.send(method, url, sent, body, timeout, verify)
            if not stream or response.status >= 300:
                response.read()
            if response.status in TRANSIENT:
                raise self.error(response)
            if method not in ("GET", "HEAD") or not response.location:
                return response
            url = join_url(url, response.location)
        raise RegistryError("unknown", f"it redirects more than {_REDIRECTS} times")

    def raise_if_stopped(self) -> None:
        """Raises Stopped."""
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """Ends all requests of other threads: with the next bytes, or after ``TIMEOUT``."""
        self._stopped.set()

    def is_own(self, url: str) -> bool:
        """Whether an address is the registry's own: the same scheme, host and port."""
        return origin(url) == origin(self._base)

    def expect(self, response: Response, *statuses: int) -> Response:
        """The response; raises RegistryError if its status is none of these."""
        if response.status not in statuses:
            raise self.error(response)
        return response

    def error(self, response: Response, kind: ErrorKind | None = None) -> RegistryError:
        """Why a registry refused, in its own words (the code and message of its first error)."""
        login = self.access.login
        if kind is None:
            forbidden: ErrorKind = "denied" if login else "no login"
            kinds: dict[int, ErrorKind] = {401: forbidden, 403: forbidden, 404: "missing"}
            kind = kinds.get(response.status, "unknown")
        code = text = ""
        try:
            error = response.json["errors"][0]
            code = str(error.get("code") or "")
            text = f"{code}: {error.get('message') or ''}".strip(": ")
        except (LookupError, TypeError, AttributeError):
            pass
        detail = " ".join(f"{response.status} {text or response.body.reason or ''}".split())
        detail = (login.hide(detail) if login else detail)[:200]
        return RegistryError(kind, detail, status=response.status, code=code, wait=retry_after(response))

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        """A token for these scopes; for none, only the login is checked."""
        realm, login = join_url(self._base, challenge.realm), self.access.login
        query = {"service": challenge.service, "client_id": "fategen"}
        if login is not None and login.identity:
            form = {**query, "grant_type": "refresh_token", "refresh_token": login.password}
            form.update({"scope": " ".join(scopes)} if scopes else {})
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self.once("POST", realm, headers=headers, body=urlencode(form).encode(), strict=True)
        else:
            address = with_query(realm, *query.items(), *(("scope", scope) for scope in scopes))
            response = self.once("GET", address, f"Basic {login.basic}" if login else "", strict=True)
        if response.status == 401:
            raise self.error(response, "refused" if login else "no login")
        if not scopes:
            return ""
        if response.status == 403:
            raise self.error(response)
        content = response.json if response.status < 400 else None
        token = content.get("token") or content.get("access_token") if isinstance(content, dict) else None
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        raise RegistryError("unknown", f"no token from {urlsplit(realm).netloc}: {self.error(response).detail}")


def parse_challenge(response: Response) -> Challenge:
    """``WWW-Authenticate`` (RFC 9110, 11.6.1); of several challenges the Bearer one."""
    header = response.headers.get("WWW-Authenticate", "")
    bearer = re.search(r"\bBearer\s+(?=\w+=)", header, re.IGNORECASE)
    if bearer is None:
        return Challenge("basic" if re.match(r"\s*Basic\b", header, re.IGNORECASE) else "")
    parameters: dict[str, str] = {}
    for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[bearer.end() :]):
        # the first of a name: a challenge of another scheme may follow, with a realm of its own
        parameters.setdefault(name.lower(), quoted or plain)
    return Challenge("bearer", parameters.get("realm", ""), parameters.get("service", ""))


def retry_after(response: Response) -> float | None:
    """Seconds to wait, as Retry-After says (a number or a date), at most ``MAX_RETRY_AFTER``; None if it does not."""
    try:
        return min(float(urllib3.Retry().parse_retry_after(response.headers["Retry-After"])), MAX_RETRY_AFTER)
    except (LookupError, ValueError, TypeError, OverflowError, urllib3.exceptions.InvalidHeader):
        return None


def with_query(url: str, *pairs: tuple[str, str]) -> str:
    """A URL with more parameters; the query that it has is kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *pairs])))
