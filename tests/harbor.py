"""A registry that answers as Harbor does: TLS, tokens, projects, and accounts with and without the right to push.

What it answers and where is that of goharbor/harbor: src/server/middleware/v2auth/auth.go decides about a repository by
its first path part alone, and src/core/service/token/creator.go gives a token without rights to whoever asks with a
wrong password, for a missing project, or for more than an account may do.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs

from tests.loopback import Handler, Loopback, error_of

_REPOSITORY = re.compile(r"/v2/(?P<name>[a-z0-9._/-]+?)/(?:blobs|manifests|tags)/")


@dataclass
class Harbor(Loopback):
    """``accounts`` have a password and whether they may push; they may change while it runs. Its project is ``fate``.

    It has ``tokens`` by account; where ``refresh`` has identity tokens it is another registry, which exchanges them
    (OAuth2).
    """

    accounts: dict[str, tuple[str, bool]] = field(
        default_factory=lambda: {"writer": ("right-horse", True), "reader": ("right-mule", False)}
    )
    auth: Literal["bearer", "basic"] = "bearer"
    tokens: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)

    def handler(self) -> type[Handler]:
        return _Handler


class _Handler(Handler):
    # with what marks it for an upload: only then it is canceled
    uploads_below = "/upload/blobs/uploads/"
    loopback: Harbor

    def honest(self) -> None:
        harbor, path = self.loopback, self.url.path
        if path == "/service/token":
            return self.token()
        account = self.account()
        if path == "/v2/" and not account:
            return self.challenge("unauthorized")
        found = _REPOSITORY.match(path)
        if found is None:
            return super().honest()
        name = found["name"]
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.command, "push")
        if "Authorization" not in self.headers and action == "pull":
            return self.challenge("authorize header needed", name, action)
        project = name.split("/")[0]
        if project != "fate":
            return self.error(401, "UNAUTHORIZED", f"project {project} not found", challenge="")
        if not account or (action == "push" and not harbor.accounts[account][1]):
            return self.challenge(f"unauthorized to access repository: {name}, action: {action}", name, action)
        return super().honest()

    def account(self) -> str:
        """Whose password or token it is; "" for nobody's."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return self.loopback.tokens.get(value, "")
        if kind == "Basic":
            name, _, password = base64.b64decode(value).decode().partition(":")
            known = self.loopback.accounts.get(name)
            return name if known is not None and known[0] == password else ""
        return ""

    def token(self) -> None:
        """Harbor serves GET alone, and refuses nobody who names a scope; its tokens then have no rights."""
        harbor = self.loopback
        if self.command == "POST" and harbor.refresh:
            form = parse_qs(self.body().decode())
            del self.headers["Content-Length"]  # it is read
            account = harbor.refresh.get(form.get("refresh_token", [""])[0], "")
            if not account or form.get("grant_type") != ["refresh_token"]:
                return self.error(401, "UNAUTHORIZED", "invalid refresh token")
            harbor.tokens["exchanged"] = account
            return self.answer(200, b'{"access_token": "exchanged"}')
        if self.command != "GET":
            return self.error(405, "METHOD_NOT_ALLOWED", "")
        account = self.account()
        if not account and not self.query.get("scope"):
            return self.error(401, "UNAUTHORIZED", "")
        token = secrets.token_urlsafe()
        harbor.tokens[token] = account
        return self.answer(200, json.dumps({"token": token, "expires_in": 1800}).encode())

    def challenge(self, message: str, name: str = "", action: str = "pull") -> None:
        if self.loopback.auth == "basic" or "Authorization" in self.headers:
            return self.error(401, "UNAUTHORIZED", message, challenge='Basic realm="harbor"')
        scope = f',scope="repository:{name}:{"pull,push" if action == "push" else action}"' if name else ""
        realm = f'Bearer realm="{self.loopback.url}/service/token",service="harbor-registry"{scope}'
        return self.error(401, "UNAUTHORIZED", message, challenge=realm)

    def error(self, status: int, code: str, message: str, challenge: str | None = None) -> None:
        self.body()
        headers = {} if challenge is None else {"Www-Authenticate": challenge}
        self.answer(status, error_of(code, message), headers)
