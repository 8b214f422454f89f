"""A conversation with one registry: its login and tokens, where it redirects to, and another try where that may help.

Sources: opencontainers/distribution-spec (spec.md), distribution/distribution (docs/content/spec/auth: token.md and
oauth.md; docs: errors), RFC 9110 (11.6.1 challenges, 10.2.3 Retry-After).
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from generator.docker.credentials import HUB, Login
from generator.registry.http import (
    TIMEOUT,
    Answer,
    Connections,
    Kind,
    Refusal,
    join_url,
    origin,
    trusting,
    trusting_all,
)
from generator.text import printable

RETRIED = frozenset((408, 429, 500, 502, 503, 504))
DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try where the registry names no time."""
LONGEST = 60.0
"""Seconds that a registry may ask to wait; one that asks for more is asked again after this."""
_REDIRECTS = 5
_TOKEN = re.compile(r"[!-~]+")
"""What a header can carry as a token (RFC 6750, 2.1, is narrower)."""


@dataclass(frozen=True)
class Access:
    """How docker would talk to a registry. ``trusted`` are files with authorities besides the system's.

    ``insecure``: the engine takes any certificate, and plain http, from it.
    """

    host: str
    login: Login | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    trusted: tuple[Path, ...] = ()
    insecure: bool = False


@dataclass(frozen=True)
class Challenge:
    """``scheme`` is ``bearer``, ``basic``, or "" where a registry asks for nothing."""

    scheme: str
    parameters: Mapping[str, str]


class Stopped(Exception):
    """The conversation was ended from another thread."""


class Session:
    """For several threads. ``sleep`` is for tests. Every method raises Refusal for what a registry or the network does.

    A password goes to the registry's own address and to the one that it names for tokens; a token to the former alone.
    """

    def __init__(self, access: Access, sleep: Callable[[float], object] | None = None) -> None:
        self.access = access
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._reading: list[Answer] = []
        self._reading_lock = threading.Lock()
        self._headers: dict[str, str] = {}
        # taken while a token is asked for: all threads wait for the same one
        self._tokens_lock = threading.Lock()
        host = "registry-1.docker.io" if access.host == HUB else access.host
        for scheme in ("https", "http") if access.insecure else ("https",):
            self._base = f"{scheme}://{host}"
            try:
                answer = self.once("GET", "/v2/")
                break
            except Refusal:
                if scheme == "http" or not access.insecure:
                    raise
        if answer.status not in (200, 401):
            raise self.refusal(answer, "unknown")
        self._challenge = parse_challenge(answer) if answer.status == 401 else Challenge("", {})

    @cached_property
    def _strict(self) -> Connections:
        """Made when it is needed: the system's authorities take long to read."""
        return Connections(trusting(self.access.trusted, self.access.environment), self.access.environment)

    @cached_property
    def _lenient(self) -> Connections:
        return Connections(trusting_all(), self.access.environment)

    def log_in(self) -> None:
        """Tries the password on its own, as ``docker login`` does."""
        login = self.access.login
        if login is not None and self._challenge.scheme == "bearer":
            self._token(self._challenge, ())
        elif login is not None and self._challenge.scheme == "basic":
            answer = self.once("GET", "/v2/", f"Basic {login.basic}")
            if answer.status == 401:
                raise self.refusal(answer, "refused")

    def request(self, method: str, address: str, *scopes: str, **options: Any) -> Answer:
        """An answer, whatever it says: with a fresh token where the old one is over, asked again where it is busy.

        A request whose body cannot be sent twice is the caller's to repeat (``once`` with ``authorization``).
        """
        for delay in (*DELAYS, None):
            if self._stopped.is_set():
                raise Stopped
            wait = delay or 0.0
            try:
                answer = self.authorised(method, address, *scopes, **options)
            except Refusal as refusal:
                if refusal.kind != "unreachable" or delay is None:
                    raise
            else:
                if answer.status not in RETRIED or delay is None:
                    return answer
                wait = retry_after(answer, delay)
                answer.close()
            self.pause(wait)
        raise AssertionError("unreachable")

    def authorised(self, method: str, address: str, *scopes: str, **options: Any) -> Answer:
        """Like ``request``, but asked once: only a token that is over is replaced."""
        header = self.authorization(*scopes)
        answer = self.once(method, address, header, **options)
        if answer.status != 401 or not self.is_own(answer.url):
            return answer
        # the token is over, or this registry lets everybody read and asks for a login only here
        challenge, key = parse_challenge(answer), " ".join(scopes)
        with self._tokens_lock:
            if self._headers.get(key) == header:
                self._headers[key] = self._authorization(challenge if challenge.scheme else self._challenge, scopes)
            fresh = self._headers[key]
        if fresh == header:
            return answer
        answer.close()
        return self.once(method, address, fresh, **options)

    def authorization(self, *scopes: str) -> str:
        """The header for these scopes (``repository:PATH:pull``), as the last request for them had it."""
        key = " ".join(scopes)
        with self._tokens_lock:
            if key not in self._headers:
                self._headers[key] = self._authorization(self._challenge, scopes)
            return self._headers[key]

    def _authorization(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        if challenge.scheme == "bearer":
            return f"Bearer {self._token(challenge, scopes)}"
        login = self.access.login
        return f"Basic {login.basic}" if challenge.scheme == "basic" and login else ""

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

        ``strict``: to where buildx's client goes itself, which knows nothing of insecure registries. The body is read,
        but for that of a 2xx with ``stream``.
        """
        url = join_url(self._base, address)
        first = origin(url)
        for _ in range(_REDIRECTS + 1):
            connections = self._lenient if self.access.insecure and self.is_own(url) and not strict else self._strict
            sent = {"Accept-Encoding": "identity", **(headers or {})}
            if authorization and (origin(url) == first if strict else self.is_own(url)):
                sent["Authorization"] = authorization
            answer = connections.send(method, url, sent, body, timeout)
            if not stream or answer.status >= 300:
                with self.reading(answer):
                    answer.read()
            if method not in ("GET", "HEAD") or not answer.location:
                return answer
            url = join_url(url, answer.location)
        raise Refusal("unknown", f"it redirects more than {_REDIRECTS} times")

    def pause(self, seconds: float) -> None:
        """Raises Stopped where the conversation was ended."""
        self._sleep(seconds)
        if self._stopped.is_set():
            raise Stopped

    @contextlib.contextmanager
    def reading(self, answer: Answer) -> Iterator[None]:
        """While the body of an answer is read here, ``stop`` ends it."""
        with self._reading_lock:
            if self._stopped.is_set():
                raise Stopped
            self._reading.append(answer)
        try:
            yield
        finally:
            with self._reading_lock:
                self._reading.remove(answer)

    def stop(self) -> None:
        """For another thread: ends what is read and waited for here, at the latest after ``TIMEOUT``."""
        self._stopped.set()
        with self._reading_lock:
            for answer in self._reading:
                # it ends a read in another thread, which closing does not
                with contextlib.suppress(ValueError, RuntimeError, OSError):
                    answer.body.shutdown()

    def is_own(self, url: str) -> bool:
        """Whether an address is the registry's own: the same scheme, host and port."""
        return origin(url) == origin(self._base)

    def refusal(self, answer: Answer, kind: Kind | None = None) -> Refusal:
        """Why a registry did not give what was asked for, with its own words (a list of code and message)."""
        login = self.access.login
        if kind is None and answer.status in (401, 403):
            kind = "denied" if login else "no login"
        try:
            error = answer.json["errors"][0]
            text = f"{error.get('code') or ''}: {error.get('message') or ''}".strip(": ")
        except (LookupError, TypeError, AttributeError):
            text = ""
        words = printable(" ".join(f"{answer.status} {text or answer.body.reason or ''}".split()))
        kind = kind or ("missing" if answer.status == 404 else "unknown")
        return Refusal(kind, (login.hide(words) if login else words)[:200])

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        """A token for some scopes, or for none to try the login."""
        realm, login = join_url(self._base, challenge.parameters.get("realm", "")), self.access.login
        query = {"service": challenge.parameters.get("service", ""), "client_id": "fategen"}
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
        if scopes and answer.status == 403:
            raise self.refusal(answer)
        content = answer.json if answer.status < 400 else None
        token = content.get("token") or content.get("access_token") if isinstance(content, dict) else None
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        if scopes:
            raise Refusal("unknown", f"no token from {urlsplit(realm).netloc}: {self.refusal(answer).words}")
        return ""


def parse_challenge(answer: Answer) -> Challenge:
    """``WWW-Authenticate`` (RFC 9110, 11.6.1); of several challenges the Bearer one."""
    header = answer.headers.get("WWW-Authenticate", "")
    bearer = re.search(r"\bBearer\s+(?=\w+=)", header, re.IGNORECASE)
    if bearer is None:
        return Challenge("basic" if re.match(r"\s*Basic\b", header, re.IGNORECASE) else "", {})
    parameters: dict[str, str] = {}
    for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[bearer.end() :]):
        # the first of a name: a challenge of another scheme may follow, with a realm of its own
        parameters.setdefault(name.lower(), quoted or plain)
    return Challenge("bearer", parameters)


def retry_after(answer: Answer, otherwise: float) -> float:
    """Seconds that an answer asks to wait, as a number or as a date, but never more than ``LONGEST``."""
    text = answer.headers.get("Retry-After", "")
    seconds = otherwise
    if text.isdecimal():
        seconds = float(text)
    elif text:
        with contextlib.suppress(ValueError, TypeError):
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), LONGEST)


def with_query(url: str, *pairs: tuple[str, str]) -> str:
    """An address with more parameters; it keeps the query that the registry gave it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *pairs])))
