"""A conversation with one registry: where it is, its tokens, its redirects, and another try where that may help.

Sources: opencontainers/distribution-spec (spec.md), distribution/distribution (docs/content/spec/auth: token.md and
oauth.md). What Harbor and others answer: see ``rights``; what an answer says: ``answers``.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from generator.docker.credentials import HUB, Login
from generator.registry.answers import Challenge, challenge, joined, origin, retry_after, told, words
from generator.registry.transport import Refused, anything, open_session, send, trusting

if TYPE_CHECKING:
    import requests

RETRIED = frozenset((408, 429, 500, 502, 503, 504))
DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try where the registry names no time."""
_REDIRECTS = 5
_PLAIN = re.compile(r"[!-~]+")
"""What a header can carry as a token (RFC 6750, 2.1, is narrower)."""
_IDENTITY = {"Accept-Encoding": "identity"}


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


class Stopped(Exception):
    """Somebody ended the conversation."""


class Registry:
    """For several threads. ``sleep`` is for tests. Every method raises Refused for what a registry or the network does.

    A password goes to the registry's own address and to the one that it names for tokens; a token to the former alone.
    """

    def __init__(self, access: Access, sleep: Callable[[float], object] | None = None) -> None:
        self.access = access
        self._ended = threading.Event()
        self._sleep = sleep or self._ended.wait
        self._answers: list[requests.Response] = []
        # not that of the tokens, which is held while one is asked for
        self._answers_lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._lock = threading.Lock()
        host = "registry-1.docker.io" if access.host == HUB else access.host
        for scheme in ("https", "http") if access.insecure else ("https",):
            self._base = f"{scheme}://{host}"
            try:
                answer = self.once("GET", "/v2/")
                break
            except Refused:
                if scheme == "http" or not access.insecure:
                    raise
        if answer.status_code not in (200, 401):
            raise Refused("unknown", words(answer, access.login))
        self._challenge = challenge(answer) if not answer.ok else None

    @cached_property
    def _strict(self) -> requests.Session:
        """To who proves who he is. Made when it is needed: the system's authorities take long to read."""
        return open_session(trusting(self.access.trusted, self.access.environment))

    @cached_property
    def _lenient(self) -> requests.Session:
        return open_session(anything())

    def path(self, path: str) -> str:
        """A repository's path in addresses: Docker Hub's own images have one that their names leave out."""
        return path if self.access.host != HUB or "/" in path else f"library/{path}"

    def log_in(self) -> None:
        """Tries the password on its own, as ``docker login`` does."""
        login = self.access.login
        if login is None or self._challenge is None:
            return
        if self._challenge.scheme == "bearer":
            self._token(self._challenge, ())
        elif self._challenge.scheme == "basic":
            answer = self.once("GET", "/v2/", f"Basic {login.basic}")
            if answer.status_code == 401:
                raise Refused("refused", words(answer, login))

    def authorization(self, scopes: tuple[str, ...], asked: Challenge | None = None) -> str:
        """The header for these scopes (``repository:PATH:pull``); ``asked`` is a later challenge than the first one."""
        found = asked or self._challenge
        if found is None:
            return ""
        if found.scheme == "bearer":
            return f"Bearer {self._token(found, scopes)}"
        login = self.access.login
        return f"Basic {login.basic}" if found.scheme == "basic" and login else ""

    def request(self, method: str, address: str, *scopes: str, **options: Any) -> requests.Response:
        """An answer, whatever it says: with a fresh token where the old one is over, asked again where it is busy.

        A request whose body cannot be sent twice is the caller's to repeat (``once`` with ``kept_authorization``).
        """
        for delay in (*DELAYS, None):
            if self._ended.is_set():
                raise Stopped
            wait = delay
            try:
                answer = self._authorised(method, address, scopes, **options)
            except Refused as refused:
                if refused.finding.kind != "unreachable" or delay is None:
                    raise
            else:
                if answer.status_code not in RETRIED or delay is None:
                    return answer
                wait = retry_after(answer, delay)
                answer.close()
            self.pause(wait or 0.0)
        raise AssertionError("unreachable")

    def kept_authorization(self, *scopes: str) -> str:
        """The header that the last request for these scopes had."""
        key = " ".join(scopes)
        with self._lock:
            if key not in self._headers:
                self._headers[key] = self.authorization(scopes)
            return self._headers[key]

    def _authorised(self, method: str, address: str, scopes: tuple[str, ...], **options: Any) -> requests.Response:
        key, header = " ".join(scopes), self.kept_authorization(*scopes)
        answer = self.once(method, address, header, **options)
        if answer.status_code != 401 or not self.is_own(answer.url):
            return answer
        # the token is over, or this registry lets everybody read and asks for a login only here
        asked = challenge(answer)
        with self._lock:
            if self._headers.get(key) == header:
                self._headers[key] = self.authorization(scopes, asked if asked.scheme else None)
            fresh = self._headers[key]
        if fresh == header:
            return answer
        answer.close()
        return self.once(method, address, fresh, **options)

    def once(
        self, method: str, address: str, authorization: str = "", *, strict: bool = False, **options: Any
    ) -> requests.Response:
        """One request; a GET or a HEAD goes where it is sent on to. Only the registry itself sees ``authorization``.

        ``strict``: to where the client goes itself, which knows nothing of insecure registries.
        """
        access, url = self.access, joined(self._base, address)
        first = origin(url)
        headers = {**_IDENTITY, **options.pop("headers", {})}
        for _ in range(_REDIRECTS + 1):
            own = self.is_own(url)
            session = self._lenient if access.insecure and own and not strict else self._strict
            mine = authorization and (own if not strict else origin(url) == first)
            sent = {**headers, "Authorization": authorization} if mine else headers
            answer = send(session, method, url, access.environment, sent, **options)
            location = answer.headers.get("Location")
            if method not in ("GET", "HEAD") or not answer.is_redirect or not location:
                return answer
            answer.close()
            url = joined(url, location)
            if urlsplit(url).scheme not in ("http", "https"):
                raise Refused("unknown", f"it sends on to {urlsplit(url).scheme}:")
            # what was asked for stands in the new address
            options.pop("params", None)
        raise Refused("unknown", f"it sends on more than {_REDIRECTS} times")

    def pause(self, seconds: float) -> None:
        """Raises Stopped where the conversation was ended."""
        self._sleep(seconds)
        if self._ended.is_set():
            raise Stopped

    @contextlib.contextmanager
    def reading(self, answer: requests.Response) -> Iterator[None]:
        """While the body of an answer is read here, ``stop`` ends it."""
        with self._answers_lock:
            if self._ended.is_set():
                raise Stopped
            self._answers.append(answer)
        try:
            yield
        finally:
            with self._answers_lock:
                self._answers.remove(answer)

    def stop(self) -> None:
        """For another thread: ends what is read and waited for here, at the latest after ``TIMEOUT``."""
        self._ended.set()
        with self._answers_lock:
            for answer in self._answers:
                # it ends a read in another thread, which closing does not (urllib3 from 2.3 on)
                with contextlib.suppress(AttributeError, ValueError, RuntimeError, OSError):
                    answer.raw.shutdown()

    def is_own(self, url: str) -> bool:
        """Whether an address is the registry's own: the same scheme, host and port."""
        return origin(url) == origin(self._base)

    def _token(self, found: Challenge, scopes: tuple[str, ...]) -> str:
        """A token for some scopes, or for none to try the login."""
        realm = found.parameters.get("realm", "")
        asked: dict[str, Any] = {"service": found.parameters.get("service", ""), "client_id": "fategen"}
        asked.update({"scope": list(scopes)} if scopes else {})
        login = self.access.login
        if login is not None and login.identity:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": login.password}
            form.update({"scope": " ".join(scopes)} if scopes else {})
            answer = self.once("POST", realm, data=form, strict=True)
        else:
            header = f"Basic {login.basic}" if login else ""
            answer = self.once("GET", realm, header, params=asked, strict=True)
        if answer.status_code == 401:
            raise Refused("refused" if login else "no login", words(answer, login))
        if scopes and answer.status_code == 403:
            raise Refused("denied" if login else "no login", words(answer, login))
        content = told(answer) if answer.ok else None
        found_token = content.get("token") or content.get("access_token") if isinstance(content, dict) else None
        token = found_token if isinstance(found_token, str) and _PLAIN.fullmatch(found_token) else ""
        if scopes and not token:
            raise Refused("unknown", f"no token from {urlsplit(realm).netloc}: {words(answer, login)}")
        return token
