"""The requests to a registry: check a push, read a tag or a manifest, fetch and push blobs, put manifests.

How registries answer a push: everybody gets a token for a scope, even with a wrong password, but one without rights,
so the password is checked on its own (goharbor/harbor, src/core/service/token/creator.go; GitLab as well). Starting an
upload is then 401 for a missing project or right (Harbor's src/server/middleware/v2auth/auth.go, distribution's
registry/handlers/app.go), 403 for a proxy project or a read-only Harbor, 405 for a pull-through cache.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from generator.config.reference import Reference
from generator.docker.credentials import HUB, certificates, find_login, read_config
from generator.docker.engine import ask_engine
from generator.docker.process import find_docker
from generator.errors import EngineError
from generator.files import write_atomically
from generator.images.image import sha256
from generator.images.layout import Layout
from generator.images.oci import INDEX_TYPES, MANIFEST_TYPES, Descriptor, parse_config, parse_index, parse_manifest
from generator.images.strictjson import Malformed
from generator.images.strictjson import digest as checked_digest
from generator.registry.http import ErrorKind, RegistryError, Response, is_insecure, join_url, origin
from generator.registry.session import NOT_YET_VISIBLE, UPLOAD_TIMEOUT, Access, Session

ACCEPT = ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))
_NO_PROJECT = re.compile(r"project \S+ not found|repository .*does not exist|NAME_UNKNOWN", re.IGNORECASE)


@dataclass(frozen=True)
class RawManifest:
    """A manifest or an index, with the digest of its ``data``, as the registry sent it or gets it."""

    digest: str
    media_type: str
    data: bytes

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.digest, len(self.data), self.media_type)


class Registry(Session):
    """A registry; thread-safe. Every method raises RegistryError.

    ``path`` is a repository's path (``team/tool``); ``name`` a tag or a digest. A digest must have been checked. A
    manifest is fetched once for each digest.
    """

    @cached_property
    def _manifests(self) -> dict[tuple[str, str], RawManifest]:
        return {}

    def refusal(self, path: str) -> RegistryError | None:
        """Why a push to this repository would be refused; None if it would not. Leaves nothing behind."""
        try:
            response = self.ask("POST", path, "blobs/uploads/", "pull,push")
        except RegistryError as error:
            return error
        if 200 <= response.status < 300:
            # registries forget uploads by themselves; canceling one may need a right that pushing does not (Harbor)
            with contextlib.suppress(RegistryError):
                location = join_url(response.url, response.headers.get("Location", ""))
                if origin(location) == origin(response.url) and "/blobs/uploads/" in location:
                    self.once("DELETE", location, self.authorization((self.scope(path, "pull,push"),)))
            return None
        detail = self.error(response).detail
        kind: ErrorKind = "denied" if response.status in (401, 403, 405) else "unknown"
        if response.status == 401 and self.access.login is None:
            kind = "no login"
        elif response.status in (401, 404) and _NO_PROJECT.search(detail):
            kind = "missing"
        return RegistryError(kind, detail)

    def manifest(self, path: str, name: str) -> RawManifest:
        """The manifest with this tag or digest; RegistryError too if its digest is a different one."""
        if manifest := self._manifests.get((path, name)):
            return manifest
        response = self._get(path, "manifests", name)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        manifest = RawManifest(sha256(response.data), media_type, response.data)
        self._manifests[path, manifest.digest] = manifest
        return manifest

    def platforms(self, path: str, name: str) -> tuple[str, ...]:
        """The platforms of the image with this tag or digest. Raises Malformed if it is damaged."""
        top = self.manifest(path, name)
        if top.media_type in INDEX_TYPES:
            children = parse_index(top.data, top.media_type)
            return tuple(child.platform for child in children if child.platform and not child.attestation)
        config = parse_manifest(top.data, top.media_type).config
        return (parse_config(self.small_blob(path, config.digest)).platform,)

    def only_platform(self, path: str, name: str) -> str:
        """The platform of an image that has no index; "" for one with an index, without a pull that Docker Hub counts.

        Raises Malformed if it is damaged.
        """
        response = self.expect(self._look("HEAD", path, f"manifests/{name}"), 200)
        if response.headers.get("Content-Type", "").partition(";")[0].strip() in INDEX_TYPES:
            return ""
        platforms = self.platforms(path, name)
        return platforms[0] if len(platforms) == 1 else ""

    def small_blob(self, path: str, digest: str) -> bytes:
        """A blob of at most 4 MiB (a config); RegistryError too if its digest is a different one."""
        return self._get(path, "blobs", digest).data

    def _get(self, path: str, kind: str, name: str) -> Response:
        def get() -> Response:
            response = self.expect(self._look("GET", path, f"{kind}/{name}"), 200)
            digest = sha256(response.data)
            said = response.headers.get("Docker-Content-Digest", "")
            expected = name if ":" in name else said if said.startswith("sha256:") else digest
            if digest != expected:
                # a proxy in between may have cut it
                raise RegistryError("unknown", f"it sent {digest}, not {expected}", code="DIGEST_INVALID")
            return response

        return self.retried(get, lambda error: error.code == "DIGEST_INVALID")

    def digest(self, path: str, tag: str) -> str:
        """The digest behind a tag, "" if there is no such tag; computed if the registry does not send it."""
        response = self.expect(self._look("HEAD", path, f"manifests/{tag}"), 200, 404)
        if response.status == 404:
            return ""
        with contextlib.suppress(Malformed):
            return checked_digest(response.headers.get("Docker-Content-Digest"), "its digest")
        return self.manifest(path, tag).digest

    def has_blob(self, path: str, digest: str) -> bool:
        return self.expect(self._look("HEAD", path, f"blobs/{digest}"), 200, 404).status == 200

    def put_manifest(self, path: str, name: str, manifest: RawManifest) -> None:
        """Puts a manifest under a tag or its digest; RegistryError too if the registry reports another digest.

        Tries again while the registry does not see what was pushed just before.
        """
        headers = {"Content-Type": manifest.media_type}
        options = {"body": manifest.data, "headers": headers, "timeout": UPLOAD_TIMEOUT}
        response = self.retried(
            lambda: self.expect(self.ask("PUT", path, f"manifests/{name}", "pull,push", **options), 201),
            lambda error: error.code in NOT_YET_VISIBLE,
        )
        if (digest := response.headers.get("Docker-Content-Digest", manifest.digest)) != manifest.digest:
            raise RegistryError("unknown", f"it accepted {manifest.digest} and reports it as {digest}")

    def pushed(self, path: str, digest: str) -> RawManifest:
        """A manifest that was pushed just before; waits for a registry that does not show it yet."""
        return self.retried(lambda: self.manifest(path, digest), lambda error: error.kind == "missing")

    def delete_tag(self, path: str, tag: str) -> bool:
        """Deletes a tag, not its manifest; False if the registry does not support this (distribution before 3.0)."""
        response = self.ask("DELETE", path, f"manifests/{tag}", "delete,pull")
        if response.status in (200, 202, 404):
            return True
        error = self.error(response)
        # distribution before 3.0 takes the tag for a digest
        if response.status == 405 or error.code in ("UNSUPPORTED", "DIGEST_INVALID"):
            return False
        raise error

    def _look(self, method: str, path: str, what: str) -> Response:
        return self.ask(method, path, what, headers={"Accept": ACCEPT})

    def ask(self, method: str, path: str, what: str, actions: str = "pull", **options: Any) -> Response:
        """As ``request``, for what a repository has below its path."""
        return self.request(method, f"/v2/{self.full(path)}/{what}", self.scope(path, actions), **options)

    def scope(self, path: str, actions: str) -> str:
        return f"repository:{self.full(path)}:{actions}"

    def full(self, path: str) -> str:
        """A repository's path in URLs: Docker Hub's own images are in "library", which their names leave out."""
        return path if self.access.host != HUB or "/" in path else f"library/{path}"


@dataclass(frozen=True)
class Repository:
    """The manifests and configs of a repository as a ``BlobSource``; a ``layout`` has those that were fetched."""

    registry: Registry
    path: str
    hint: str = "run the same command again"
    layout: Layout | None = None

    def open(self, blob: Descriptor, /) -> BytesIO:
        file = self.layout.blob_path(blob.digest) if self.layout else None
        if file is not None:
            with contextlib.suppress(OSError):
                if sha256(data := file.read_bytes()) == blob.digest:
                    return BytesIO(data)
        if blob.media_type in INDEX_TYPES | MANIFEST_TYPES:
            data = self.registry.manifest(self.path, blob.digest).data
        else:
            data = self.registry.small_blob(self.path, blob.digest)
        if file is not None:
            write_atomically(file, data, sync=False)
        return BytesIO(data)


def access_to(
    host: str, environment: Mapping[str, str], insecure: Sequence[str] | None = None, authorities: Sequence[Path] = ()
) -> Access:
    """How docker with this environment talks to ``host`` (``host[:port]``, or ``docker.io``).

    ``insecure`` are the engine's insecure-registries (None: it is asked, if there is one), ``authorities`` files with
    certificates besides docker's own. Raises EngineError if a credential helper does not answer.
    """
    login = find_login(read_config(environment)[0], host, environment)
    if insecure is None:
        insecure = ()
        with contextlib.suppress(EngineError):
            insecure = () if is_insecure(host, ()) else ask_engine(find_docker()).insecure
    trusted = (*certificates(host, environment), *authorities)
    return Access(host, login, environment, trusted, is_insecure(host, insecure))


class Registries:
    """One client for each registry, connected when it is first needed; the arguments are those of ``access_to``."""

    def __init__(
        self, environment: Mapping[str, str], insecure: Sequence[str] | None = None, authorities: Sequence[Path] = ()
    ) -> None:
        self._how = environment, insecure, authorities
        self._opened: dict[str, Registry | RegistryError] = {}
        # a registry that does not answer must not keep the others waiting
        self._locks: dict[str, threading.Lock] = {}
        self._stopped = threading.Event()

    def of(self, reference: Reference) -> Registry:
        """The client for a reference's registry.

        Raises RegistryError, the same one for all its images; EngineError if a credential helper does not answer.
        """
        host = reference.full.domain
        with self._locks.setdefault(host, threading.Lock()):
            if host not in self._opened:
                access = access_to(host, *self._how)
                try:
                    registry = Registry(access, stopped=self._stopped)
                    registry.log_in()
                    self._opened[host] = registry
                except RegistryError as error:
                    self._opened[host] = error
            opened = self._opened[host]
        if isinstance(opened, RegistryError):
            raise opened
        return opened

    def stop(self) -> None:
        """As ``Session.stop``, for all of them."""
        self._stopped.set()
