"""``.env`` text -> ``Settings``. (shape only; the parser comes with the next commit)"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Override:
    """``<NAME>_SOURCE`` or ``<NAME>_IMAGE``: what replaces a source or an image of the catalogue.

    ``name`` is the catalogue's name (``lmdb-safe`` for ``LMDB_SAFE_SOURCE``), ``where`` is ``.env:7`` or ``--set``.
    """

    name: str
    value: str
    where: str


@dataclass(frozen=True)
class Settings:
    """The typed content of ``.env``. Empty text means "not set"; paths are as written, relative to the project."""

    prefix: str
    base_tag: str
    tag: str
    fate_version: str = "1.3.0"
    platforms: tuple[str, ...] = ("linux/amd64", "linux/arm64")
    sources: tuple[Override, ...] = ()
    images: tuple[Override, ...] = ()
    base_registry: str = ""
    apt_mirror: str = ""
    pip_index_url: str = ""
    pip_extra_index_url: str = ""
    pip_trusted_host: str = ""
    requirements: str = ""
    maven_settings: str = ""
    pip_netrc: str = ""
    ca_bundle: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    cache_from: str = ""
    cache_to: str = ""
    provenance: bool = False
    sbom: bool = False
    origins: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def where(self, key: str) -> str:
        """``file:line`` of a key, for messages; ``.env`` where the key has its default."""
        return dict(self.origins).get(key, ".env")
