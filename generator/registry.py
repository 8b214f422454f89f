"""Asks a registry what a push asks first, and tells apart what it answers. Imported only for a push: requests is slow.

What was read to tell the answers apart:

* goharbor/harbor, src/core/service/token/creator.go: a token for a scope is given to everybody, also with a wrong
  password and for a project that does not exist; it then has no rights. Only a request without a scope, as
  ``docker login`` makes it, is refused (401). A password is therefore tried on its own.
* goharbor/harbor, src/server/middleware/v2auth/auth.go: beginning an upload is 401 UNAUTHORIZED with "project NAME not
  found" (src/pkg/project/dao/dao.go), or with "unauthorized to access repository" for who may not push. 403 DENIED is a
  proxy project (middleware/repoproxy/proxy.go) or a Harbor in read-only mode (middleware/readonly/readonly.go).
* gitlabhq/gitlabhq, app/services/auth/container_registry_authentication_service.rb: a token without rights as well, and
  403 DENIED; app/controllers/jwt_controller.rb refuses a wrong password.
* distribution/distribution, registry/handlers/app.go: 401 for everything that a token or a password does not cover;
  registry/auth/htpasswd is Basic.

oras-py was looked at and left: it takes a refused token for an anonymous one, starts credential helpers by itself, and
says of all failures the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from generator.credentials import HUB, Login
from generator.transport import Finding, Refused, anything, send, trusting

if TYPE_CHECKING:
    import requests

_MISSING = re.compile(r"project \S+ not found|repository .*does not exist", re.IGNORECASE)


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


def check_push(access: Access, paths: Sequence[str]) -> dict[str, Finding]:
    """Path of a repository -> whether a push to it would be let begin. The one key "" is a finding about the registry.

    Nothing is left behind: the uploads that are begun are cancelled. Raises nothing that a registry can cause.
    """
    try:
        conversation = _Conversation(access)
        conversation.log_in()
    except Refused as refused:
        return {"": refused.finding}
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(paths, pool.map(conversation.push, paths), strict=True))


class _Conversation:
    def __init__(self, access: Access) -> None:
        self._access, self._login = access, access.login
        self._strict = trusting(access.trusted, access.environment)
        host = "registry-1.docker.io" if access.host == HUB else access.host
        for scheme in ("https", "http") if access.insecure else ("https",):
            self._base = f"{scheme}://{host}"
            try:
                answer = self._send("GET", "/v2/")
                break
            except Refused:
                if scheme == "http" or not access.insecure:
                    raise
        if answer.status_code not in (200, 401):
            raise Refused("unknown", _words(answer))
        self._challenge = parse_challenge(answer.headers.get("WWW-Authenticate", "")) if not answer.ok else None

    def log_in(self) -> None:
        """Tries the password on its own, as ``docker login`` does. Raises Refused."""
        if self._login is None or self._challenge is None:
            return
        if self._challenge.scheme == "bearer":
            self._token(self._challenge, "")
        elif self._challenge.scheme == "basic":
            answer = self._send("GET", "/v2/", f"Basic {self._login.basic}")
            if answer.status_code == 401:
                raise Refused("refused", _words(answer))

    def push(self, path: str) -> Finding:
        """Begins an upload and cancels it."""
        try:
            return self._push(path if self._access.host != HUB or "/" in path else f"library/{path}")
        except Refused as refused:
            return refused.finding

    def _push(self, path: str) -> Finding:
        uploads = f"/v2/{path}/blobs/uploads/"
        header = self._authorization(self._challenge, path)
        answer = self._send("POST", uploads, header)
        if answer.status_code == 401 and not header:
            # one that lets everybody read asks for a login only here
            header = self._authorization(parse_challenge(answer.headers.get("WWW-Authenticate", "")), path)
            answer = self._send("POST", uploads, header) if header else answer
        if _begun(answer):
            self._cancel(answer, header)
        return self._finding(answer)

    def _finding(self, answer: requests.Response) -> Finding:
        said = _words(answer)
        if _begun(answer):
            return Finding("ok")
        if answer.status_code == 401 and self._login is None:
            return Finding("no login", said)
        if answer.status_code in (401, 404) and (_MISSING.search(said) or "NAME_UNKNOWN" in said):
            return Finding("missing", said)
        # 405: a pull-through cache (distribution, registry/handlers/app.go) takes no upload
        return Finding("denied" if answer.status_code in (401, 403, 405) else "unknown", said)

    def _cancel(self, answer: requests.Response, header: str) -> None:
        """Registries forget uploads by themselves; to cancel one may need a right that pushing does not (Harbor)."""
        location = urljoin(answer.url, answer.headers.get("Location", ""))
        if urlsplit(location).netloc == urlsplit(answer.url).netloc and "/blobs/uploads/" in location:
            try:
                self._send("DELETE", location, header)
            except Refused:
                return

    def _authorization(self, challenge: Challenge | None, path: str) -> str:
        if challenge is None:
            return ""
        if challenge.scheme == "bearer":
            return f"Bearer {self._token(challenge, f'repository:{path}:pull,push')}"
        return f"Basic {self._login.basic}" if challenge.scheme == "basic" and self._login else ""

    def _token(self, challenge: Challenge, scope: str) -> str:
        """A token for a scope, or for none to try the login. Raises Refused."""
        realm = challenge.parameters.get("realm", "")
        asked = {"service": challenge.parameters.get("service", ""), "client_id": "fategen"}
        asked |= {"scope": scope} if scope else {}
        login = self._login
        if login is not None and login.identity:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": login.password}
            answer = self._send("POST", realm, data=form, strict=True)
        else:
            header = f"Basic {login.basic}" if login else ""
            answer = self._send("GET", realm, header, params=asked, strict=True)
        if answer.status_code == 401:
            raise Refused("refused" if login else "no login", _words(answer))
        if scope and answer.status_code == 403:
            raise Refused("denied" if login else "no login", _words(answer))
        try:
            content = answer.json() if answer.ok else {}
            token = str(content.get("token") or content.get("access_token") or "")
        except (ValueError, AttributeError):
            token = ""
        if scope and not token:
            raise Refused("unknown", f"no token from {urlsplit(realm).netloc}: {_words(answer)}")
        return token

    def _send(
        self, method: str, address: str, authorization: str = "", *, strict: bool = False, **options: Any
    ) -> requests.Response:
        """One request. ``strict``: to where the client goes itself, which knows nothing of insecure registries."""
        context = anything() if self._access.insecure and not strict else self._strict
        return send(method, urljoin(self._base, address), context, self._access.environment, authorization, **options)


def parse_challenge(header: str) -> Challenge:
    """``WWW-Authenticate`` (RFC 9110, 11.6.1); of several challenges the Bearer one."""
    found = re.search(r"\bBearer\s+(?=\w+=)", header, re.IGNORECASE)
    if found is None:
        return Challenge("basic" if re.match(r"\s*Basic\b", header, re.IGNORECASE) else "", {})
    pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[found.end() :])
    return Challenge("bearer", {name.lower(): quoted or plain for name, quoted, plain in pairs})


def _begun(answer: requests.Response) -> bool:
    """202 in distribution's spec; a redirect is no yes."""
    return 200 <= answer.status_code < 300


def _words(answer: requests.Response) -> str:
    """What a registry says (distribution's spec, "Errors": a list of code and message); at most a line."""
    try:
        first = answer.json()["errors"][0]
        text = f"{first.get('code') or ''}: {first.get('message') or ''}".strip(": ")
    except (ValueError, LookupError, TypeError, AttributeError):
        text = ""
    return " ".join(f"{answer.status_code} {text or answer.reason or ''}".split())[:200]
