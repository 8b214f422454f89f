"""``Settings``: one table that gives the keys of ``.env`` their types, defaults, documentation and fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from generator.config import values


@dataclass(frozen=True)
class Key:
    """One row of the table.

    ``name`` is the key, or ``<NAME>_SOURCE`` and ``<NAME>_IMAGE`` for a family of keys. ``read`` turns text into the
    field's value or raises ValueError. ``default`` is written as in ``.env``, "" for a key that is not set by default.
    ``example`` is a value to show; for a family, the keys to show, with spaces between. ``local`` keys never reach a
    rendered file, so ``.env.local`` may have them; a ``login`` key may have a password, and only there.
    ``group`` is the heading of the keys from here on, "" if it stays. ``attribute`` is its field of Settings.
    """

    read: Callable[[str], object]
    doc: str
    example: str = ""
    default: str = ""
    group: str = ""
    name: str = ""
    required: bool = False
    local: bool = False
    login: bool = False
    attribute: str = ""

    @property
    def suffix(self) -> str:
        """``_SOURCE`` or ``_IMAGE`` of a family, "" of a single key."""
        return self.name.partition(">")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """The keys to show: itself, or the examples of a family."""
        return tuple(self.example.split()) if self.suffix else (self.name,)


def key(read: Callable[[str], object], doc: str, **row: Any) -> Any:
    """A field of Settings, and the key of ``.env`` that it is read from: the field's name in capitals, or ``name``."""
    made = Key(read, doc, **row)
    value: Any = MISSING if made.required else read(made.default) if made.default else () if made.name else ""
    return field(default=value, repr=not made.login, metadata={"key": made})


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

    prefix: str = key(
        values.prefix,
        "registry and path in front of every image name",
        example="federatedai",
        required=True,
        group="Image names",
    )
    base_tag: str = key(values.tag, "tag of base-image", example="1.3.0-release", required=True)
    tag: str = key(values.tag, "tag of the components", example="1.3.0-release", required=True)
    fate_version: str = key(
        values.version, "FATE release; a catalogue must have it", default="1.3.0", group="What is built"
    )
    platforms: tuple[str, ...] = key(
        values.platforms, "platforms to build, separated by commas or spaces", default="linux/amd64,linux/arm64"
    )
    sources: tuple[Override, ...] = key(
        values.source,
        "git URL with #ref, or a path, for a source in the catalogue",
        name="<NAME>_SOURCE",
        example="FATE_SOURCE EGGROLL_SOURCE FATEFLOW_SOURCE FATEBOARD_SOURCE LMDB_SAFE_SOURCE",
    )
    base_registry: str = key(
        values.mirror,
        "mirror of every base image and third-party image",
        example="10.0.0.5:8443/dockerhub",
        group="Base images and mirrors",
    )
    images: tuple[Override, ...] = key(
        values.image,
        "image with a tag or digest that replaces a base image or third-party image",
        name="<NAME>_IMAGE",
        example="MAVEN_IMAGE NODE_IMAGE JRE_IMAGE PYTHON_BASE_IMAGE MYSQL_IMAGE REDIS_IMAGE",
    )
    apt_mirror: str = key(
        values.apt_mirror,
        "URL of a Debian mirror; its -security archive must be next to it",
        example="http://mirror.example.com/debian",
    )
    pip_index_url: str = key(
        values.url,
        "Python package index, without a login",
        example="https://pypi.example.com/simple",
        group="Python and Node.js packages",
    )
    pip_extra_index_url: str = key(
        values.urls, "more Python package indexes, separated by spaces", example="https://wheels.example.com/simple"
    )
    pip_trusted_host: str = key(
        values.hosts, "index hosts without a valid certificate", example="pypi.example.com:8443"
    )
    requirements: str = key(
        values.copied_path,
        "requirements file that replaces FATE's own; base-image is then built for every platform",
        example="requirements.txt",
    )
    npm_registry: str = key(
        values.url, "npm registry, for lines that build web pages", example="https://npm.example.com"
    )
    maven_settings: str = key(
        values.secret_path,
        "Maven's settings.xml, with mirrors and their logins",
        example="/etc/fategen/settings.xml",
        local=True,
        group="Files mounted as build secrets: never in a layer or in docker history",
    )
    pip_netrc: str = key(
        values.secret_path, "netrc file with logins for package indexes", example="/etc/fategen/netrc", local=True
    )
    ca_bundle: str = key(
        values.secret_path, "certificates (PEM) that the build trusts", example="/etc/ssl/certs/company.pem", local=True
    )
    http_proxy: str = key(
        values.proxy,
        "proxy for http; a password belongs in .env.local",
        example="http://proxy.example.com:3128",
        local=True,
        login=True,
        group="Network of the build",
    )
    https_proxy: str = key(
        values.proxy,
        "proxy for https; a password belongs in .env.local",
        example="http://proxy.example.com:3128",
        local=True,
        login=True,
    )
    no_proxy: str = key(
        values.no_proxy, "hosts to reach without the proxy", example="localhost,.example.com,10.0.0.0/8", local=True
    )
    movable_tags: str = key(
        values.tag_patterns,
        "tags, or patterns of tags, that a push may move to another image; other tags need --overwrite",
        example="latest nightly-*",
        group="Publishing",
    )
    media_types: str = key(
        values.media_types,
        "oci, or docker for registries and clients that refuse OCI indexes (Huawei SWR)",
        default="oci",
    )
    cache_from: str = key(
        values.cache,
        "repository to read build caches from, with one tag per image",
        example="10.0.0.5:8443/cache/fate",
        group="Cache and attestations",
    )
    cache_to: str = key(
        values.cache, "repository to write build caches to, with one tag per image", example="10.0.0.5:8443/cache/fate"
    )
    provenance: bool = key(values.boolean, "attach a provenance attestation to pushed images", default="false")
    sbom: bool = key(values.boolean, "attach an SBOM (a list of packages) to pushed images", default="false")
    origins: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """each key that was given, and where"""

    def is_set(self, key: str) -> bool:
        """Whether a key that is empty by default, or the key of an image, has a value."""
        return any(key == key_of(image.name, "_IMAGE") for image in self.images) or bool(getattr(self, key.lower(), ""))

    def where(self, key: str) -> str:
        """``file:line`` of a key, for messages; ``.env`` if the key has its default."""
        return dict(self.origins).get(key, ".env")


KEYS: tuple[Key, ...] = tuple(
    replace(f.metadata["key"], name=f.metadata["key"].name or f.name.upper(), attribute=f.name)
    for f in fields(Settings)
    if "key" in f.metadata
)

KNOWN_NAMES: tuple[str, ...] = tuple(name for key in KEYS for name in key.names)
"""Every key that is spelt out somewhere, for suggestions."""

LOCAL_NAMES: tuple[str, ...] = tuple(key.name for key in KEYS if key.local)
"""The keys that ``.env.local`` may hold."""

_BY_NAME = {key.name: key for key in KEYS if not key.suffix}


def find_key(name: str) -> Key | None:
    """The row of a key, or None: by its name, else by the family that it belongs to (``LMDB_SAFE_SOURCE``)."""
    if name not in _BY_NAME and re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)+", name):
        return next((key for key in KEYS if key.suffix and name.endswith(key.suffix)), None)
    return _BY_NAME.get(name)


def sample_env(shown: Collection[str] = (), **given: str) -> str:
    """The commented ``.env`` that ``fategen init`` writes; ``given`` are values by key, which need no quotes.

    ``shown`` are the keys of the line's own sources and images; without them those of every line are shown. Required
    keys are set (to federatedai and 1.3.0-release unless given), each other one is a comment with its default.
    """
    lines = ["# Settings of fategen. Commented-out keys show their defaults; an empty value means not set."]
    for row in KEYS:
        if row.group:
            lines += ["", f"## {row.group}"]
        needs_example = row.example and not row.required and not row.suffix
        lines.append(f"# {row.doc}" + (f" (for example {row.example})" if needs_example else ""))
        for name in [key for key in shown if key.endswith(row.suffix)] if row.suffix and shown else row.names:
            value = given.get(name, row.example if row.required else None)
            lines.append(f"#{name}={row.default}" if value is None else f"{name}={value}")
    return "\n".join(lines) + "\n"


def key_of(name: str, suffix: str = "") -> str:
    """The key, or HCL variable, of a catalogue's name: ``LMDB_SAFE_SOURCE`` for lmdb-safe and ``_SOURCE``."""
    return name.upper().replace("-", "_") + suffix
