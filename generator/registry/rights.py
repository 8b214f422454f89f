"""Asks a registry what a push asks first, and tells apart what it answers.

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

import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from generator.registry.answers import challenge, joined, origin, words
from generator.registry.session import Access, Registry
from generator.registry.transport import Finding, Refused

if TYPE_CHECKING:
    import requests

_MISSING = re.compile(r"project \S+ not found|repository .*does not exist", re.IGNORECASE)


def check_push(access: Access, paths: Sequence[str]) -> dict[str, Finding]:
    """Path of a repository -> whether a push to it would be let begin. The one key "" is a finding about the registry.

    Nothing is left behind: the uploads that are begun are cancelled. Raises nothing that a registry can cause.
    """
    try:
        registry = Registry(access)
        registry.log_in()
    except Refused as refused:
        return {"": refused.finding}
    with ThreadPoolExecutor(8) as pool:
        return dict(pool.map(lambda path: (path, _push(registry, path)), paths))


def _push(registry: Registry, path: str) -> Finding:
    """Begins an upload and cancels it."""
    try:
        return _try_push(registry, registry.path(path))
    except Refused as refused:
        return refused.finding


def _try_push(registry: Registry, path: str) -> Finding:
    uploads, scopes = f"/v2/{path}/blobs/uploads/", (f"repository:{path}:pull,push",)
    header = registry.authorization(scopes)
    answer = registry.once("POST", uploads, header)
    if answer.status_code == 401 and not header:
        # one that lets everybody read asks for a login only here
        header = registry.authorization(scopes, challenge(answer))
        answer = registry.once("POST", uploads, header) if header else answer
    if _begun(answer):
        _cancel(registry, answer, header)
    return _finding(registry, answer)


def _finding(registry: Registry, answer: requests.Response) -> Finding:
    said = words(answer, registry.access.login)
    if _begun(answer):
        return Finding("ok")
    if answer.status_code == 401 and registry.access.login is None:
        return Finding("no login", said)
    if answer.status_code in (401, 404) and (_MISSING.search(said) or "NAME_UNKNOWN" in said):
        return Finding("missing", said)
    # 405: a pull-through cache (distribution, registry/handlers/app.go) takes no upload
    return Finding("denied" if answer.status_code in (401, 403, 405) else "unknown", said)


def _cancel(registry: Registry, answer: requests.Response, header: str) -> None:
    """Registries forget uploads by themselves; to cancel one may need a right that pushing does not (Harbor)."""
    with contextlib.suppress(Refused):
        location = joined(answer.url, answer.headers.get("Location", ""))
        if origin(location) == origin(answer.url) and "/blobs/uploads/" in location:
            registry.once("DELETE", location, header)


def _begun(answer: requests.Response) -> bool:
    """202 in distribution's spec; a redirect is no yes."""
    return 200 <= answer.status_code < 300
