"""The grammar of image references: registries, repositories, tags and digests, with messages that say what is wrong.

Source: github.com/distribution/reference, regexp.go and reference.go (``domain[:port]/path[:tag][@digest]``), which
docker, buildx, containerd and podman share. Two things are stricter here: a first part in upper case, as in
``MyTeam/tool``, is never a registry, and the 255 characters of a name include its registry (as docker before 25
counted).

Every ``check_…`` returns nothing and raises ValueError; its message is the part after ``KEY: "value" is not …:``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from generator.text import without

NAME_MAX = 255
TAG_MAX = 128
LONGEST_IMAGE_NAME = 32
"""Room that a prefix leaves for an image's name."""

_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*", re.ASCII)
_IPV6 = re.compile(r"\[[A-Fa-f0-9:]+\]", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}", re.ASCII)
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """An image reference as written: nothing is added (no ``docker.io``, no ``library/``, no ``latest``).

    ``domain`` is the registry with its port, "" if none is written; ``tag`` and ``digest`` are "" if not written.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository: ``domain/path``, or ``path`` alone."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def full(self) -> Reference:
        """With what docker adds to a short name: ``docker.io/library/debian`` for ``debian``. A tag is not added."""
        if self.domain not in ("", "docker.io", "index.docker.io"):
            return self
        path = self.path if "/" in self.path else f"library/{self.path}"
        return replace(self, domain="docker.io", path=path)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """``[domain[:port]/]path[:tag][@digest]`` -> Reference. Raises ValueError that says what is wrong."""
    _check_scheme(text)
    rest, at, digest = text.partition("@")
    if at:
        check_digest(digest)
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon:
        try:
            check_tag(tag)
        except ValueError as error:
            raise ValueError(f'its tag "{tag}": {error}') from None
    domain, path = _split_domain(head + slash + last)
    if domain:
        check_domain(domain)
    _check_path(path)
    reference = Reference(domain, path, tag, digest)
    _check_length(reference.name, 0)
    return reference


def mirrored(image: str, registry: str) -> str:
    """Where a mirror has an image: ``debian:12`` -> ``R/library/debian:12``, ``quay.io/x/y:1`` -> ``R/quay.io/x/y:1``.

    That is how pull-through caches and Harbor's proxy projects serve them. A mirror that is called ``R/docker.io`` has
    each registry under its name, as ``skopeo sync --scoped`` writes it: ``R/docker.io/library/debian:12``.
    """
    reference = parse_reference(image).full
    if reference.domain == "docker.io":
        path = reference.path
    else:
        path = f"{reference.domain.replace(':', '_')}/{reference.path}"
        registry = registry[: -len("/docker.io")] if registry.endswith("/docker.io") else registry
    return f"{registry}/{path}" + str(reference)[len(reference.name) :]


def normalize(reference: str) -> str:
    """The full form ``domain/path:tag`` of a reference; the tag is ``latest`` if none is given.

    Archives name images by it: podman takes a short one for ``localhost/…``, every loader takes a full one. Raises
    ``ValueError`` with the reason: not a reference, or one with a digest (an archive cannot name by digest).
    """
    try:
        parsed = parse_reference(reference).full
    except ValueError as error:
        raise ValueError(f'"{reference[:300]}" is not an image reference: {error}') from None
    if parsed.digest:
        raise ValueError(f'"{reference[:300]}" names a digest; a bundle needs names with tags')
    return f"{parsed.name}:{parsed.tag or 'latest'}"


def familiar(reference: str) -> str:
    """The short form that Docker shows: without ``docker.io/`` and ``library/``."""
    rest = without("docker.io/", reference)
    library = without("library/", rest)
    return library if rest != reference and "/" not in library else rest


def repository(reference: str) -> str:
    """A full reference without its tag."""
    return reference.rpartition(":")[0]


def short(reference: str) -> str:
    """The last part of the name, without the tag: ``tool`` for ``docker.io/team/tool:1.0``."""
    return repository(reference).rpartition("/")[2]


def below(prefix: str, path: str) -> str:
    """What follows a prefix in the path of a repository: ``web/api`` for ``host/team`` and ``team/web/api``."""
    return without(parse_reference(f"{prefix}/image").path[: -len("image")], path)


def check_prefix(text: str) -> None:
    """What stands before ``/<image>:<tag>``: a registry, a path, or both. Raises ValueError."""
    _check_scheme(text)
    refuse(text, "@", ": log in with docker login, not in the name")
    if text.endswith("/") and text.strip("/"):
        raise ValueError(f'"/" at the end is not allowed: write {text.rstrip("/")}')
    domain, path = _split_domain(text + "/")
    path = path[:-1] if path.endswith("/") else path
    if not domain and ":" in path:
        raise ValueError('":" is not allowed after a path: write the tag in TAG')
    host, colon, port = _split_port(domain)
    if colon and not path and not is_port(port):
        raise ValueError(f'what follows "{host}:" is not a port; write a tag in TAG')
    if domain:
        check_domain(domain)
    if path or not domain or text.endswith("/"):
        _check_path(path)
    _check_length(text, LONGEST_IMAGE_NAME + 1)


def check_mirror(text: str) -> None:
    """A registry, with or without a path, that is put in front of other images. Raises ValueError."""
    check_prefix(text)
    first = text.partition("/")[0]
    if not _is_domain(first):
        raise ValueError(
            f'"{first}" is not a registry host: it needs a dot or a port (for Docker Hub: docker.io/{text})'
        )


def check_tag(text: str) -> None:
    """``[A-Za-z0-9_][A-Za-z0-9._-]{0,127}``. Raises ValueError."""
    allowed = f'(letters, digits, ".", "_", "-", at most {TAG_MAX})'
    refuse(text, "[^A-Za-z0-9._-]", f" {allowed}")
    if text[:1] in (".", "-"):
        raise ValueError(f'it must not begin with "{text[0]}" (a letter, a digit or "_")')
    if not text:
        raise ValueError(f"it is empty {allowed}")
    if len(text) > TAG_MAX:
        raise ValueError(f"it has {len(text)} characters, at most {TAG_MAX} are allowed")


def check_digest(text: str) -> None:
    """``algorithm:hex``; the known algorithms with the length that they have. Raises ValueError."""
    algorithm, _, encoded = text.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if not (re.fullmatch(rf"[0-9a-f]{{{length}}}", encoded) if length else _DIGEST.fullmatch(text)):
        known = algorithm if length else "sha256"
        raise ValueError(f'what follows "@" must be a digest: "{known}:" and {length or 64} characters of 0-9 and a-f')


def check_domain(text: str) -> None:
    """A registry: ``host[:port]``, the host a name, an IPv4 address, or an IPv6 one in brackets. Raises ValueError."""
    host, colon, port = _split_port(text)
    if host.startswith("["):
        if not _IPV6.fullmatch(host):
            raise ValueError('an IPv6 registry is written "[address]" or "[address]:port"')
    elif not _HOST.fullmatch(host):
        odd = re.search(r"[^A-Za-z0-9.-]", host)
        rule = f"{describe(odd[0])} is not allowed in it" if odd else 'each part has only letters, digits and "-"'
        raise ValueError(f'"{host}" is not a registry host: {rule}')
    if colon and not is_port(port):
        raise ValueError(f'the port of "{host}" is not a number from 1 to 65535')


def is_port(text: str) -> bool:
    """Whether it is a TCP port, 1 to 65535, in ASCII digits."""
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 1 <= int(text) <= 65535


def refuse(text: str, pattern: str, rule: str, start: str = "") -> None:
    """Raises ValueError for the first character that a pattern finds: ``CHARACTER is not allowed`` and the rule."""
    if odd := re.search(pattern, text):
        raise ValueError(f"{start}{describe(odd[0])} is not allowed{rule}")


def describe(char: str) -> str:
    """A character for a message: ``a space``, ``"%"``, ``U+00E9 "é"``."""
    if char == " ":
        return "a space"
    if char.isascii() and char.isprintable():
        return f'"{char}"'
    return f"U+{ord(char):04X}" + (f' "{char}"' if char.isprintable() else "")


def _check_scheme(text: str) -> None:
    scheme = _SCHEME.match(text)
    if scheme:
        raise ValueError(f'write it without "{scheme[0]}": a registry is host[:port]/path, and docker finds the scheme')


def _check_path(path: str) -> None:
    for part in path.split("/"):
        if not part:
            raise ValueError('a part between two "/" is empty, or the first or last one')
        if re.match("[a-z0-9._-]*[A-Z]", part):
            raise ValueError(f"upper case is not allowed in a repository path (write {part.lower()})")
        refuse(part, "[^a-z0-9._-]", ' in a repository path (a-z, 0-9, ".", "_", "-", "/" between parts)')
        if not _PATH_PART.fullmatch(part):
            raise ValueError(
                f'"{part}" must begin and end with a letter or digit, with one ".", one or two "_", or any "-" between'
            )


def _check_length(name: str, room: int) -> None:
    if len(name) + room > NAME_MAX:
        kept = f", because the longest image name needs {room} of {NAME_MAX}" if room else ""
        raise ValueError(f"it has {len(name)} characters, at most {NAME_MAX - room} are allowed{kept}")


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    return (first, rest) if slash and _is_domain(first) else ("", name)


def _is_domain(first: str) -> bool:
    return first == "localhost" or "." in first or ":" in first


def _split_port(text: str) -> tuple[str, str, str]:
    """Host, ":" and port; the colons in the brackets of an IPv6 address are its own."""
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:?)(.*)", text, re.DOTALL)
    return (match[1], match[2], match[3]) if match and (match[2] or not match[3]) else (text, "", "")
