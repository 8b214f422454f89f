"""The keys of ``.env``: one table, which drives the parsing, the sample ``.env`` and the docs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from generator.config import values
from generator.errors import InputError, Problem


@dataclass(frozen=True)
class Key:
    """One row of the table.

    ``name`` is the key, or ``<NAME>_SOURCE`` and ``<NAME>_IMAGE`` for a family of keys. ``read`` turns text into the
    field's value or raises ValueError. ``default`` is the default as it would stand in ``.env``, "" where that is not
    to set it. ``example`` is a value to show; for a family, the keys to show, with spaces between. ``local`` keys never
    reach a rendered file, so ``.env.local`` may hold them; a ``login`` key may have a password, and only there.
    """

    group: str
    name: str
    read: Callable[[str], object]
    default: str
    doc: str
    example: str = ""
    required: bool = False
    local: bool = False
    login: bool = False

    @property
    def suffix(self) -> str:
        """``_SOURCE`` or ``_IMAGE`` of a family, "" of a single key."""
        return self.name.partition(">")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """The keys to show: itself, or the examples of a family."""
        return tuple(self.example.split()) if self.suffix else (self.name,)


_IMAGES = "Names of images"
_WHAT = "What is built"
_BASES = "Where it comes from"
_PACKAGES = "Packages of Python and of Node.js"
_SECRETS = "Files mounted as build secrets: in no layer, in no docker history"
_NET = "The network of the build"
_RESULT = "Cache and attestations"
_EXAMPLE_CACHE = "10.0.0.5:8443/cache/fate"
_EXAMPLE_PROXY = "http://proxy.example.com:3128"

KEYS: tuple[Key, ...] = (
    Key(
        _IMAGES,
        "PREFIX",
        values.prefix,
        "",
        "registry and path before every image's name",
        "federatedai",
        required=True,
    ),
    Key(_IMAGES, "BASE_TAG", values.tag, "", "tag of base-image", "1.3.0-release", required=True),
    Key(_IMAGES, "TAG", values.tag, "", "tag of the components", "1.3.0-release", required=True),
    Key(_WHAT, "FATE_VERSION", values.version, "1.3.0", "FATE release, one that a catalogue has"),
    Key(
        _WHAT, "PLATFORMS", values.platforms, "linux/amd64,linux/arm64", "platforms to build, commas or spaces between"
    ),
    Key(
        _WHAT,
        "<NAME>_SOURCE",
        values.source,
        "",
        "a git URL with #ref, or a path, for a source of the catalogue",
        "FATE_SOURCE EGGROLL_SOURCE FATEFLOW_SOURCE FATEBOARD_SOURCE LMDB_SAFE_SOURCE",
    ),
    Key(
        _BASES,
        "BASE_REGISTRY",
        values.mirror,
        "",
        "a mirror put in front of every base image and third-party image",
        "10.0.0.5:8443/dockerhub",
    ),
    Key(
        _BASES,
        "<NAME>_IMAGE",
        values.image,
        "",
        "an image with a tag or digest, for a base image or third-party image",
        "MAVEN_IMAGE NODE_IMAGE JRE_IMAGE PYTHON_BASE_IMAGE MYSQL_IMAGE REDIS_IMAGE",
    ),
    Key(
        _BASES,
        "APT_MIRROR",
        values.url,
        "",
        "URL of a Debian mirror; its -security is looked for beside it",
        "http://mirror.example.com/debian",
    ),
    Key(
        _PACKAGES, "PIP_INDEX_URL", values.url, "", "package index, without a login", "https://pypi.example.com/simple"
    ),
    Key(
        _PACKAGES,
        "PIP_EXTRA_INDEX_URL",
        values.urls,
        "",
        "more package indexes, spaces between",
        "https://wheels.example.com/simple",
    ),
    Key(
        _PACKAGES,
        "PIP_TRUSTED_HOST",
        values.hosts,
        "",
        "index hosts that need no valid certificate",
        "pypi.example.com:8443",
    ),
    Key(
        _PACKAGES,
        "REQUIREMENTS",
        values.path,
        "",
        "a requirements file instead of FATE's own; part of the image, which is then built for every platform",
        "requirements.txt",
    ),
    Key(
        _PACKAGES,
        "NPM_REGISTRY",
        values.url,
        "",
        "registry of npm packages, where a line has pages to build",
        "https://npm.example.com",
    ),
    Key(
        _SECRETS,
        "MAVEN_SETTINGS",
        values.secret_path,
        "",
        "Maven's settings.xml, for mirrors and their logins",
        "/etc/fategen/settings.xml",
        local=True,
    ),
    Key(
        _SECRETS,
        "PIP_NETRC",
        values.secret_path,
        "",
        "a netrc file with the logins of package indexes",
        "/etc/fategen/netrc",
        local=True,
    ),
    Key(
        _SECRETS,
        "CA_BUNDLE",
        values.secret_path,
        "",
        "certificates (PEM) that the build trusts",
        "/etc/ssl/certs/company.pem",
        local=True,
    ),
    Key(
        _NET,
        "HTTP_PROXY",
        values.proxy,
        "",
        "proxy for http; with a password only in .env.local",
        _EXAMPLE_PROXY,
        local=True,
        login=True,
    ),
    Key(
        _NET,
        "HTTPS_PROXY",
        values.proxy,
        "",
        "proxy for https; with a password only in .env.local",
        _EXAMPLE_PROXY,
        local=True,
        login=True,
    ),
    Key(
        _NET,
        "NO_PROXY",
        values.no_proxy,
        "",
        "hosts reached without the proxy",
        "localhost,.example.com,10.0.0.0/8",
        local=True,
    ),
    Key(
        _RESULT,
        "CACHE_FROM",
        values.cache,
        "",
        "repository that build caches are read from, a tag for each image",
        _EXAMPLE_CACHE,
    ),
    Key(
        _RESULT,
        "CACHE_TO",
        values.cache,
        "",
        "repository that build caches are written to, a tag for each image",
        _EXAMPLE_CACHE,
    ),
    Key(_RESULT, "PROVENANCE", values.boolean, "false", "attach a provenance attestation to pushed images"),
    Key(_RESULT, "SBOM", values.boolean, "false", "attach a list of packages (SBOM) to pushed images"),
)

KNOWN_NAMES: tuple[str, ...] = tuple(name for key in KEYS for name in key.names)
"""Every key that is spelt out somewhere, for suggestions."""

LOCAL_NAMES: tuple[str, ...] = tuple(key.name for key in KEYS if key.local)
"""The keys that ``.env.local`` may hold."""

_BY_NAME = {key.name: key for key in KEYS if not key.suffix}


def find_key(name: str) -> Key | None:
    """The row of a key, or None: by its name, else by the family that it belongs to (``LMDB_SAFE_SOURCE``)."""
    found = _BY_NAME.get(name)
    if found is None and re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)+", name):
        found = next((key for key in KEYS if key.suffix and name.endswith(key.suffix)), None)
    return found


def sample_env(having: Collection[str] = (), **given: str) -> str:
    """The commented ``.env`` that ``fategen init`` writes; ``given`` are values by key, checked like those of a file.

    ``having`` are the keys of the line's own sources and images; without them those of every line are shown.
    Required keys are set (to federatedai and 1.3.0-release unless given), each other one is a comment with its default.
    Raises InputError with every value that is not allowed; an unknown key is a KeyError, since it is the caller's.
    """
    problems = []
    for name, text in given.items():
        row = find_key(name)
        if row is None:
            raise KeyError(name)
        try:
            values.check_characters(text)
            row.read(text)
        except ValueError as error:
            problems.append(Problem("", f"{name}: {error}"))
    if problems:
        raise InputError(problems)
    lines = ["# Settings of fategen. Every key that is commented out shows its default; empty means not set."]
    group = ""
    for row in KEYS:
        if row.group != group:
            group = row.group
            lines += ["", f"## {group}"]
        lines.append(f"# {row.doc}" + (f" (such as {row.example})" if row.example and not _is_shown(row) else ""))
        for name in [n for n in having if n.endswith(row.suffix)] if row.suffix and having else row.names:
            value: str | None = given.get(name, row.example if row.required else None)
            lines.append(f"#{name}={row.default}" if value is None else f"{name}={_quote(value)}")
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """The keys as a Markdown table, one row a key or family, for the docs."""
    lines = ["| key | default | what it is |", "|---|---|---|"]
    for row in KEYS:
        default = "required" if row.required else f"`{row.default}`" if row.default else ""
        example = f"; such as {' '.join(f'`{word}`' for word in row.example.split())}" if row.example else ""
        local = "; may be in `.env.local`" if row.local else ""
        lines.append(f"| `{row.name}` | {default} | {row.doc}{example}{local} |")
    return "\n".join(lines) + "\n"


def _is_shown(row: Key) -> bool:
    return row.required or bool(row.suffix)


def _quote(value: str) -> str:
    if not re.search(r"""[\s'"#\\]""", value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def key_of(name: str, suffix: str = "") -> str:
    """The key, or HCL variable, of a catalogue's name: ``LMDB_SAFE_SOURCE`` for lmdb-safe and ``_SOURCE``."""
    return name.upper().replace("-", "_") + suffix
