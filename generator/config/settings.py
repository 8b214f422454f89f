"""``Settings``: one table that gives the keys of ``.env`` their types, defaults, documentation and fields.

The catalogue adds keys of its own to it (``Family.keys``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from generator.config import values


@dataclass(frozen=True)
class Key:
    """One row of the table.

    ``name`` is the key, or ``<NAME>_SOURCE`` and ``<NAME>_IMAGE`` for a family of keys. ``read`` turns text into the
    field's value or raises ValueError. ``default`` is written as in ``.env``, "" for a key that is not set by default.
    ``example`` is a value to show. ``local`` keys never reach a rendered file, so ``.env.local`` may have them; a
    ``login`` key may have a password, and only there. ``group`` is its heading, "" if that is the one of the key before
    it. ``attribute`` is its field of Settings.
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


def key(read: Callable[[str], object], doc: str, **row: Any) -> Any:
    """A field of Settings, and the key of ``.env`` that it is read from: the field's name in capitals, or ``name``."""
    made = Key(read, doc, **row)
    value: Any = MISSING if made.required else read(made.default) if made.default else () if made.name else ""
    return field(default=value, repr=not made.login, metadata={"key": made})


@dataclass(frozen=True)
class Settings:
    """The typed content of ``.env``. Empty text means "not set"; paths are as written, relative to the project."""

    prefix: str = key(
        values.prefix,
        "registry and path in front of every image name",
        example="registry.example.com/team",
        required=True,
        group="Image names",
    )
    base_tag: str = key(values.tag, "tag of the base images", example="1.0.0", required=True)
    tag: str = key(values.tag, "tag of the components", example="1.0.0", required=True)
    version: str = key(values.version, "release; a catalogue must have it", group="What is built")
    platforms: tuple[str, ...] = key(
        values.platforms, "platforms to build, separated by commas or spaces", default="linux/amd64,linux/arm64"
    )
    sources: tuple[tuple[str, str], ...] = key(
        values.source, "git URL with #ref, or a path, for a source in the catalogue", name="<NAME>_SOURCE"
    )
    base_registry: str = key(
        values.mirror,
        "mirror of every base image and third-party image",
        example="10.0.0.5:8443/dockerhub",
        group="Base images and mirrors",
    )
    images: tuple[tuple[str, str], ...] = key(
        values.image, "image with a tag or digest that replaces a base image or third-party image", name="<NAME>_IMAGE"
    )
    ca_bundle: str = key(
        values.secret_path,
        "certificates (PEM) that the build trusts",
        example="/etc/ssl/certs/company.pem",
        local=True,
        group="Files mounted as build secrets: never in a layer or in docker history",
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
        example="10.0.0.5:8443/cache/team",
        group="Cache and attestations",
    )
    cache_to: str = key(
        values.cache, "repository to write build caches to, with one tag per image", example="10.0.0.5:8443/cache/team"
    )
    provenance: bool = key(values.boolean, "attach a provenance attestation to pushed images", default="false")
    sbom: bool = key(values.boolean, "attach an SBOM (a list of packages) to pushed images", default="false")
    others: tuple[tuple[str, str], ...] = ()
    """the keys of the catalogue that have a value, and it"""
    origins: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """each key that was given, and where"""

    def other(self, key: str) -> str:
        """The value of one of the catalogue's keys, "" if it is not set."""
        return dict(self.others).get(key, "")

    @cached_property
    def overrides(self) -> dict[str, str]:
        """What replaces sources and images, by its key: ``MY_LIB_SOURCE`` for the source ``my-lib``."""
        return dict((*self.sources, *self.images))

    def is_set(self, key: str) -> bool:
        """Whether a key that is empty by default, or the key of an image, has a value."""
        return key in self.overrides or bool(self.other(key) or getattr(self, key.lower(), ""))

    def where(self, key: str) -> str:
        """``file:line`` of a key, for messages; ``.env`` if the key has its default."""
        return dict(self.origins).get(key, ".env")


_OURS: tuple[Key, ...] = tuple(
    replace(f.metadata["key"], name=f.metadata["key"].name or f.name.upper(), attribute=f.name)
    for f in fields(Settings)
    if "key" in f.metadata
)


class Keys:
    """The keys that ``.env`` may have: those of every project, and those of a catalogue.

    ``changes`` are what a catalogue says of the former, by their fields; ``others`` are its own. ``upstream`` are the
    keys of its sources and images, such as ``<NAME>_SOURCE`` stands for.
    """

    def __init__(self, others: Iterable[Key] = (), upstream: Iterable[str] = (), **changes: Mapping[str, Any]) -> None:
        group, rows = "", []
        for row in (*_OURS, *others):
            group = row.group or group
            rows.append(replace(row, group=group, **changes.get(row.attribute, {})))
        order = list(dict.fromkeys(row.group for row in rows))
        self.rows = tuple(sorted(rows, key=lambda row: order.index(row.group)))
        self._upstream = tuple(dict.fromkeys(upstream))
        self._by_name = {row.name: row for row in self.rows if not row.suffix}
        self.names = tuple(name for row in self.rows for name in self.names_of(row))
        """each, for suggestions"""
        self.local = tuple(row.name for row in self.rows if row.local)
        """those that ``.env.local`` may hold"""

    def find(self, name: str) -> Key | None:
        """The row of a key, or None: by its name, else by the family that it belongs to."""
        if name not in self._by_name and re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)+", name):
            return next((row for row in self.rows if row.suffix and name.endswith(row.suffix)), None)
        return self._by_name.get(name)

    def sample_env(self, **given: str) -> str:
        """The commented ``.env`` that ``fategen init`` writes; ``given`` are values by key, which need no quotes.

        Required keys are set, to their example unless given; each other one is a comment with its default.
        """
        lines = ["# Settings of fategen. Commented-out keys show their defaults; an empty value means not set."]
        for row in self.rows:
            if (heading := f"## {row.group}") not in lines:
                lines += ["", heading]
            lines.append(f"# {row.doc}" + (f" (for example {row.example})" if row.example and not row.required else ""))
            for name in self.names_of(row):
                value = given.get(name, row.example if row.required else None)
                lines.append(f"#{name}={row.default}" if value is None else f"{name}={value}")
        return "\n".join(lines) + "\n"

    def names_of(self, row: Key) -> tuple[str, ...]:
        """The keys that a row stands for."""
        return tuple(name for name in self._upstream if name.endswith(row.suffix)) if row.suffix else (row.name,)


def key_of(name: str, suffix: str = "") -> str:
    """The key, or HCL variable, of a catalogue's name: ``MY_LIB_SOURCE`` for my-lib and ``_SOURCE``."""
    return name.upper().replace("-", "_") + suffix
