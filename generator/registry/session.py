"""Requests to one registry: login and tokens, redirects, and retries.

Sources: opencontainers/distribution-spec (spec.md), distribution/distribution (docs/content/spec/auth: token.md and
oauth.md; docs: errors), RFC 9110 (11.6.1 challenges, 10.2.3 Retry-After).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import urllib3

from generator.docker.credentials import HUB, Login
from generator.registry.http import TIMEOUT, Answer, Connections, Kind, Refusal, join_url, origin
from generator.text import printable

RETRIED = frozenset((408, 429, 500, 502, 503, 504))
DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each retry if the registry names no time."""
LONGEST = 60.0
"""Seconds that a registry may ask to wait; one that asks for more is asked again after this."""
_REDIRECTS = 5
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


class Stopped(Exception):
    """The session was ended from another thread."""


class Session:
    """For several threads. Every method raises Refusal if the registry or the network fails. ``sleep`` is for tests.

    A password is sent to the registry itself and to its token service; a token to the registry alone.
    """

    def __init__(self, access: Access, sleep: Callable[[float], object] | None = None) -> None:
        self.access = access
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._connections = Connections(access.trusted, access.environment)
        self._reading: list[Answer] = []
        self._headers: dict[tuple[str, ...], str] = {}
        # taken while a token is asked for: all threads wait for the same one
        self._tokens_lock = threading.Lock()
        host = "registry-1.docker.io" if access.host == HUB else access.host
        self._base = f"https://{host}"
        try:
            answer = self.once("GET", "/v2/")
        except Refusal:
            if not access.insecure:
                raise
            self._base = f"http://{host}"
            answer = self.once("GET", "/v2/")
        if answer.status not in (200, 401):
            raise self.refusal(answer, "unknown")
        self._challenge = parse_challenge(answer) if answer.status == 401 else Challenge("")

    def log_in(self) -> None:
        """Checks the password on its own, as ``docker login`` does."""
        login = self.access.login
        if login is not None and self._challenge.scheme == "bearer":
            self._token(self._challenge, ())
        elif login is not None and self._challenge.scheme == "basic":
            answer = self.once("GET", "/v2/", f"Basic {login.basic}")
            if answer.status == 401:
                raise self.refusal(answer, "refused")

    def request(self, method: str, address: str, *scopes: str, **options: Any) -> Answer:
        """The answer, whatever it says: with a fresh token if the old one expired, asked again if the registry is busy.

        ``options`` are those of ``once``. The caller repeats a request whose body cannot be sent twice.
        """
        for delay in (*DELAYS, None):
            self.raise_if_stopped()
            try:
                answer = self.authorised(method, address, *scopes, **options)
            except Refusal as refusal:
                if refusal.kind != "unreachable" or delay is None:
                    raise
                wait = delay
            else:
                if answer.status not in RETRIED or delay is None:
                    return answer
                wait = retry_after(answer, delay)
                answer.close()
            self.pause(wait)
        raise AssertionError("unreachable")

    def authorised(self, method: str, address: str, *scopes: str, **options: Any) -> Answer:
        """Like ``request``, without retries: only an expired token is replaced."""
        header = self.authorization(scopes)
        answer = self.once(method, address, header, **options)
        if answer.status != 401 or not self.is_own(answer.url):
            return answer
        # the token expired, or this registry lets everybody read and asks for a login only here
        fresh = self.authorization(scopes, header, parse_challenge(answer))
        if fresh == header:
            return answer
        answer.close()
        return self.once(method, address, fresh, **options)

    def authorization(
        self, scopes: tuple[str, ...], stale: str | None = None, challenge: Challenge | None = None
    ) -> str:
        """The header for these scopes (``repository:PATH:pull``); a new one if the current one is ``stale``."""
        with self._tokens_lock:
            if self._headers.get(scopes) == stale:
                challenge = challenge if challenge and challenge.scheme else self._challenge
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
    ) -> Answer:
        """One request; a GET or a HEAD follows redirects. Only the registry itself sees ``authorization``.

        ``strict``: verify certificates even for an insecure registry, as buildx does when it fetches a token. The body
        is read, except that of a 2xx with ``stream``.
        """
        url = first = join_url(self._base, address)
        for _ in range(_REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", **(headers or {})}
            if authorization and (origin(url) == origin(first) if strict else self.is_own(url)):
                sent["Authorization"] = authorization
            verify = strict or not (self.access.insecure and self.is_own(url))
            answer = self._connections.send(method, url, sent, body, timeout, verify)
            if not stream or answer.status >= 300:
                with self.reading(answer):
                    answer.read()
            if method not in ("GET", "HEAD") or not answer.location:
                return answer
            url = join_url(url, answer.location)
        raise Refusal("unknown", f"it redirects more than {_REDIRECTS} times")

    def pause(self, seconds: float) -> None:
        """Sleeps. Raises Stopped if the session was ended."""
        self._sleep(seconds)
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raises Stopped."""
        if self._stopped.is_set():
            raise Stopped

    @contextlib.contextmanager
    def reading(self, answer: Answer) -> Iterator[None]:
        """While the block reads the body of an answer, ``stop`` ends it."""
        self._reading.append(answer)
        try:
            # only now: ``stop`` either sees the answer, or is seen here
            self.raise_if_stopped()
            yield
        finally:
            self._reading.remove(answer)

    def stop(self) -> None:
        """For another thread: ends what is read and waited for here, after ``TIMEOUT`` at the latest."""
        self._stopped.set()
        for answer in list(self._reading):
            # it ends a read in another thread, which closing does not
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                answer.body.shutdown()

    def is_own(self, url: str) -> bool:
        """Whether an address is the registry's own: the same scheme, host and port."""
        return origin(url) == origin(self._base)

    def refusal(self, answer: Answer, kind: Kind | None = None) -> Refusal:
        """Why a registry refused, in its own words (the code and message of its first error)."""
        login = self.access.login
        if kind is None:
            forbidden: Kind = "denied" if login else "no login"
            kinds: dict[int, Kind] = {401: forbidden, 403: forbidden, 404: "missing"}
            kind = kinds.get(answer.status, "unknown")
        try:
            error = answer.json["errors"][0]
            text = f"{error.get('code') or ''}: {error.get('message') or ''}".strip(": ")
        except (LookupError, TypeError, AttributeError):
            text = ""
        words = printable(" ".join(f"{answer.status} {text or answer.body.reason or ''}".split()))
        return Refusal(kind, (login.hide(words) if login else words)[:200])

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        """A token for these scopes; for none, only the login is checked."""
        realm, login = join_url(self._base, challenge.realm), self.access.login
        query = {"service": challenge.service, "client_id": "fategen"}
        if login is not None and login.identity:
            form = {**query, "grant_type": "refresh_token", "refresh_token": login.password}
            form.update({"scope": " ".join(scopes)} if scopes else {})
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self.once("POST", realm, headers=headers, body=urlencode(form).encode(), strict=True)
        else:
            address = with_query(realm, *query.items(), *(("scope", scope) for scope in scopes))
            answer = self.once("GET", address, f"Basic {login.basic}" if login else "", strict=True)
        if answer.status == 401:
            raise self.refusal(answer, "refused" if login else "no login")
        if not scopes:
            return ""
        if answer.status == 403:
            raise self.refusal(answer)
        content = answer.json if answer.status < 400 else None
        token = content.get("token") or content.get("access_token") if isinstance(content, dict) else None
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        raise Refusal("unknown", f"no token from {urlsplit(realm).netloc}: {self.refusal(answer).words}")


def parse_challenge(answer: Answer) -> Challenge:
    """``WWW-Authenticate`` (RFC 9110, 11.6.1); of several challenges the Bearer one."""
    header = answer.headers.get("WWW-Authenticate", "")
    bearer = re.search(r"\bBearer\s+(?=\w+=)", header, re.IGNORECASE)
    if bearer is None:
        return Challenge("basic" if re.match(r"\s*Basic\b", header, re.IGNORECASE) else "")
    parameters: dict[str, str] = {}
    for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[bearer.end() :]):
        # the first of a name: a challenge of another scheme may follow, with a realm of its own
        parameters.setdefault(name.lower(), quoted or plain)
    return Challenge("bearer", parameters.get("realm", ""), parameters.get("service", ""))


def retry_after(answer: Answer, otherwise: float) -> float:
    """Seconds to wait, as Retry-After says (a number or a date), but never more than ``LONGEST``."""
    try:
        return min(float(urllib3.Retry().parse_retry_after(answer.headers["Retry-After"])), LONGEST)
    except (LookupError, ValueError, TypeError, OverflowError, urllib3.exceptions.InvalidHeader):
        return otherwise


def with_query(url: str, *pairs: tuple[str, str]) -> str:
    """A URL with more parameters; the query that it has is kept."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *pairs])))
