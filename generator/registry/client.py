"""A registry and what it is asked: may I push, what is behind a tag, fetch and push blobs and manifests.

How answers to the first of these are told apart:

* goharbor/harbor, src/core/service/token/creator.go: a token for a scope is given to everybody, also with a wrong
  password and for a project that does not exist; it then has no rights. Only a request without a scope, as
  ``docker login`` makes it, is refused (401). A password is therefore tried on its own (``log_in``).
* goharbor/harbor, src/server/middleware/v2auth/auth.go: beginning an upload is 401 UNAUTHORIZED with "project NAME not
  found" (src/pkg/project/dao/dao.go), or with "unauthorized to access repository" for who may not push. 403 DENIED is a
  proxy project (middleware/repoproxy/proxy.go) or a Harbor in read-only mode (middleware/readonly/readonly.go).
* gitlabhq/gitlabhq, app/services/auth/container_registry_authentication_service.rb: a token without rights as well, and
  403 DENIED; app/controllers/jwt_controller.rb refuses a wrong password.
* distribution/distribution, registry/handlers/app.go: 401 for everything that a token or a password does not cover;
  registry/auth/htpasswd is Basic; 405 is a pull-through cache, which takes no upload.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from generator.config.reference import Reference
from generator.docker.credentials import HUB, certificates, docker_config, find_login
from generator.errors import EngineError
from generator.registry.http import Answer, Kind, Refusal, is_insecure, join_url, origin
from generator.registry.session import Access, Session
from generator.registry.transfer import UPLOAD_TIMEOUT, Content, Download, Received, State, Upload

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_NO_PROJECT = re.compile(r"project \S+ not found|repository .*does not exist|NAME_UNKNOWN", re.IGNORECASE)


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index as the registry has it: its own digest, media type and bytes."""

    digest: str
    media_type: str
    data: bytes


class Registry(Session):
    """What a registry can be asked, by several threads. Every method raises Refusal.

    ``path`` is a repository's path (``fate/roll``); ``name`` a tag or a digest. A digest must have been checked.
    """

    def check_push(self, path: str) -> None:
        """Raises Refusal where a push to this repository would not be let begin. Leaves nothing behind."""
        path = self._path(path)
        scope = f"repository:{path}:pull,push"
        answer = self.authorised("POST", f"/v2/{path}/blobs/uploads/", scope)
        if 200 <= answer.status < 300:
            # registries forget uploads by themselves; cancelling one may need a right that pushing does not (Harbor)
            with contextlib.suppress(Refusal):
                location = join_url(answer.url, answer.headers.get("Location", ""))
                if origin(location) == origin(answer.url) and "/blobs/uploads/" in location:
                    self.once("DELETE", location, self.authorization(scope))
            return
        words = self.refusal(answer).words
        kind: Kind = "unknown"
        if answer.status == 401 and self.access.login is None:
            kind = "no login"
        elif answer.status in (401, 404) and _NO_PROJECT.search(words):
            kind = "missing"
        elif answer.status in (401, 403, 405):
            kind = "denied"
        raise Refusal(kind, words)

    def manifest(self, path: str, name: str) -> Manifest:
        """The manifest with this tag or digest; Refusal too where it is another one than was asked for."""
        answer = self._get(path, "manifests", name)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return Manifest(sha256(answer.data), media_type, answer.data)

    def small_blob(self, path: str, digest: str) -> bytes:
        """A blob of at most 4 MiB (a config); Refusal too where its bytes are others."""
        return self._get(path, "blobs", digest).data

    def _get(self, path: str, kind: str, name: str) -> Answer:
        answer = self._ask("GET", path, kind, name)
        if answer.status != 200:
            raise self.refusal(answer)
        digest = sha256(answer.data)
        expected = name if ":" in name else answer.headers.get("Docker-Content-Digest", digest)
        if digest != expected:
            raise Refusal("unknown", f"what came is {digest}, not {expected}")
        return answer

    def digest(self, path: str, tag: str) -> str:
        """The digest behind a tag, "" where there is none; of what is there where the registry does not name it."""
        answer = self._ask("HEAD", path, "manifests", tag)
        if not self._exists(answer):
            return ""
        return answer.headers.get("Docker-Content-Digest") or self.manifest(path, tag).digest

    def has_blob(self, path: str, digest: str) -> bool:
        """Whether the repository has this blob."""
        return self._exists(self._ask("HEAD", path, "blobs", digest))

    def fetch_blob(
        self, path: str, digest: str, size: int, directory: Path, received: Received = lambda _: None
    ) -> bool:
        """Brings a blob to ``directory/<hex>``; whether anything had to be asked for.

        Raises Refusal where the registry does not give it, or gives other bytes; EngineError where the disk fails.
        What came is kept in each case, but for bytes that are proven wrong.
        """
        return Download(self, self._path(path), digest, size, received).into(directory)

    def push_blob(self, path: str, digest: str, size: int, content: Content, mounts: Sequence[str] = ()) -> State:
        """Has the repository have this blob: it is there, in one of ``mounts`` (repositories), or sent.

        Raises Refusal, and whatever ``content`` raises; then the registry has no new blob.
        """
        if self.has_blob(path, digest):
            return "was there"
        return Upload(self, self._path(path), digest, size, content).run([self._path(mount) for mount in mounts])

    def put_manifest(self, path: str, name: str, media_type: str, data: bytes) -> None:
        """Puts a manifest under a tag or its digest; Refusal too where the registry calls it otherwise."""
        path = self._path(path)
        address, scope = f"/v2/{path}/manifests/{name}", f"repository:{path}:pull,push"
        headers = {"Content-Type": media_type}
        answer = self.request("PUT", address, scope, body=data, headers=headers, timeout=UPLOAD_TIMEOUT)
        if answer.status != 201:
            raise self.refusal(answer)
        digest = answer.headers.get("Docker-Content-Digest", sha256(data))
        if digest != sha256(data):
            raise Refusal("unknown", f"it took {sha256(data)} and calls it {digest}")

    def _ask(self, method: str, path: str, kind: str, name: str) -> Answer:
        path = self._path(path)
        scope = f"repository:{path}:pull"
        return self.request(method, f"/v2/{path}/{kind}/{name}", scope, headers={"Accept": ACCEPT})

    def _exists(self, answer: Answer) -> bool:
        if answer.status not in (200, 404):
            raise self.refusal(answer)
        return answer.status == 200

    def _path(self, path: str) -> str:
        """A repository's path in addresses: Docker Hub's own images have one that their names leave out."""
        return path if self.access.host != HUB or "/" in path else f"library/{path}"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


Connect = Callable[[Access], Registry]
"""Opens a conversation with a registry; another than ``Registry`` is for tests."""


def refused_pushes(access: Access, paths: Sequence[str]) -> dict[str, Refusal]:
    """Path of a repository -> why a push to it would be refused. The one key "" is about the whole registry.

    Raises nothing that a registry can cause.
    """

    def ask(path: str) -> Refusal | None:
        try:
            registry.check_push(path)
        except Refusal as refusal:
            return refusal
        return None

    try:
        registry = Registry(access)
        registry.log_in()
    except Refusal as refusal:
        return {"": refusal}
    with ThreadPoolExecutor(8) as pool:
        answers = zip(paths, pool.map(ask, paths), strict=True)
        return {path: refusal for path, refusal in answers if refusal is not None}


def access_to(host: str, environment: Mapping[str, str], insecure: Sequence[str] | None = None) -> Access:
    """How docker with this environment talks to ``host`` (``host[:port]``, or ``docker.io``).

    ``insecure`` are the engine's insecure-registries (None: it is asked, where there is one). Raises EngineError where
    a credential helper does not answer.
    """
    login = find_login(docker_config(environment), host, environment)
    known = is_insecure(host, insecure or ()) or (insecure is None and is_insecure(host, _insecure_registries()))
    return Access(host, login, environment, tuple(certificates(host, environment)), known)


def host_of(reference: Reference) -> str:
    """The registry that has it."""
    return reference.full.domain or HUB


def _insecure_registries() -> tuple[str, ...]:
    from generator.docker.engine import ask_engine
    from generator.docker.process import find_docker

    try:
        return ask_engine(find_docker()).insecure
    except EngineError:
        return ()


class Registries:
    """One conversation with each registry, begun when it is first needed, as docker with this environment has it.

    ``authorities`` are files with certificates besides docker's own; ``insecure`` as for ``access_to``; ``connect`` is
    for tests.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        authorities: Sequence[Path] = (),
        connect: Connect = Registry,
        insecure: Sequence[str] | None = None,
    ) -> None:
        self._environment, self._authorities, self._connect = environment, tuple(authorities), connect
        self._insecure = insecure
        self._opened: dict[str, Registry | Refusal] = {}
        self._lock = threading.Lock()

    def of(self, reference: Reference) -> Registry:
        """Raises Refusal, the same for all images of a registry; EngineError where a credential helper is silent."""
        host = host_of(reference)
        with self._lock:
            if host not in self._opened:
                access = access_to(host, self._environment, self._insecure)
                try:
                    registry = self._connect(replace(access, trusted=(*access.trusted, *self._authorities)))
                    registry.log_in()
                    self._opened[host] = registry
                except Refusal as refusal:
                    self._opened[host] = refusal
            opened = self._opened[host]
        if isinstance(opened, Refusal):
            raise opened
        return opened

    def stop(self) -> None:
        """Ends what they are asked for, from another thread."""
        # without the lock, which is taken while one is connected to
        for registry in list(self._opened.values()):
            if isinstance(registry, Registry):
                registry.stop()
