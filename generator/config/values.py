"""What a value in ``.env`` may be: one function a type, text in, typed value out.

Each raises ValueError with a message that never contains a password: a URL is not repeated at all, and any other text
goes through ``shown``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

from generator.config import reference
from generator.errors import did_you_mean
from generator.images.oci import platform_name

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""Control, invisible, text-direction and surrogate characters; a fixed set, so that every Python decides the same."""

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm/v7"}
_KNOWN_ARCHITECTURES = ("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x")
_HOST_PORT = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([^:]*))?", re.ASCII)
_SCP = re.compile(r"([A-Za-z0-9._-]+)@[A-Za-z0-9._-]+:")
_DIGEST_AFTER_AT = re.compile(r"[^@]*@sha(256|384|512):[^@]*")


def shown(text: str) -> str:
    """The value in quotes for a message, without what may be a login, and at most 80 characters of it."""
    if "@" in text and ("://" in text or not _DIGEST_AFTER_AT.fullmatch(text)):
        text = "…@" + text.rpartition("@")[2]
    return f'"{text[:80]}…"' if len(text) > 80 else f'"{text}"'


def check_characters(text: str) -> None:
    """Refuses what no value may have: ``${``, line breaks, control and invisible characters, text that is not NFC.

    HCL turns every string into NFC (zclconf/go-cty, ``cty.NormalizeString``).
    """
    if "${" in text:
        raise ValueError(
            '"${" is not allowed: tools disagree about it, so variables are not expanded; write the value itself'
        )
    if "\n" in text:
        raise ValueError("a value must be on one line; is a closing quote missing?")
    odd = UNPRINTABLE.search(text)
    if odd:
        raise ValueError(f"the character U+{ord(odd[0]):04X} is not allowed: it is invisible")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("it is not in Unicode NFC form, and docker would convert it: write it in NFC")


def _checked(check: Callable[[str], object], what: str) -> Callable[[str], str]:
    """The text itself if ``check`` raises nothing; ``what`` it was to be is part of the message."""

    def read(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise ValueError(f"{shown(text)} is not {what}: {error}") from None
        return text

    return read


def _check_fixed(text: str) -> None:
    """An image without a tag or digest would be ``latest``, which changes under a release."""
    image = reference.parse_reference(text)
    if not image.tag and not image.digest:
        raise ValueError("it needs a tag or a digest")


def _check_tagged(text: str) -> None:
    """An archive and an engine name images by tags; a digest only says which one is fetched."""
    image = reference.parse_reference(text)
    if not image.tag:
        raise ValueError(f"without a tag, it has no name after loading; write {replace(image, tag='TAG')}")


def _check_untagged(text: str) -> None:
    repository = reference.parse_reference(text)
    if repository.tag or repository.digest:
        raise ValueError("leave out the tag: each image's cache gets its own tag")


def cache(text: str) -> str:
    """For bake's ``type=registry,ref=REPOSITORY:TARGET``: each target has its cache under its own tag."""
    if text.startswith("type="):
        raise ValueError("write only the repository (host/path), without type= and ref=")
    return _repository(text)


prefix = _checked(reference.check_prefix, "an image prefix")
mirror = _checked(reference.check_mirror, "a registry")
tag = _checked(reference.check_tag, "an image tag")
image = _checked(_check_fixed, "an image reference")
tagged_image = _checked(_check_tagged, "an image with a tag")
_repository = _checked(_check_untagged, "a repository")


def version(text: str) -> str:
    """A release, ``1.0.0`` or ``1.0.0.2`` or ``2.0.0-beta``; whether a catalogue has it is the plan's question."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){2,3}(-[a-z0-9.]+)?", text):
        advice = ""
        if re.match(r"v[0-9]", text):
            advice = ': leave out the "v"'
        elif re.fullmatch(r"[0-9]+\.[0-9]+", text):
            advice = f": did you mean {text}.0?"
        raise ValueError(f"{shown(text)} is not a release such as 1.0.0{advice}")
    return text


def boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{shown(text)} is neither true (1, yes, on) nor false (0, no, off)")


def media_types(text: str) -> str:
    if text not in ("oci", "docker"):
        raise ValueError(f"{shown(text)} is neither oci nor docker")
    return text


def platforms(text: str) -> tuple[str, ...]:
    """``os/arch[/variant]``, with commas or spaces between, in the order written and in containerd's normal form.

    Source of the aliases and of the variants left out: containerd/platforms, database.go.
    """
    platforms: list[str] = []
    for word in _words(text):
        platform = one_platform(word)
        if platform in platforms:
            same = "" if platform == word else f" ({shown(word)} is {platform})"
            raise ValueError(f"{platform} is listed twice{same}")
        platforms.append(platform)
    return tuple(platforms)


def path(text: str) -> str:
    """A path as written, relative to the project or absolute. Whether it exists is not asked here."""
    if text.startswith("~"):
        raise ValueError(f"{shown(text)}: ~ is not expanded; write the full path")
    if text.startswith("#"):
        raise ValueError(f"{shown(text)} looks like a comment: quote it, or write ./ before it")
    if "://" in text:
        raise ValueError(f"{shown(text)} is a URL; expected a path to a file")
    return text


def copied_path(text: str) -> str:
    """A path that goes into COPY, where BuildKit fills in variables and looks for patterns."""
    reference.refuse(text, r"[$*?\[\\]", " in the path of a file to copy", f"{shown(text)}: ")
    if text.endswith("/"):
        raise ValueError(f"{shown(text)} is a directory; expected a file")
    return path(text)


def secret_path(text: str) -> str:
    """A path that goes into bake's ``id=…,src=…``, a CSV line (docker/buildx, util/buildflags/secrets.go)."""
    reference.refuse(text, '[,"]', " in the path of a build secret", f"{shown(text)}: ")
    return path(text)


def source(text: str) -> str:
    """A git URL with ``#ref`` (a tag, branch or commit, and no directory after it), or a path to a checkout.

    What BuildKit takes for a git URL (moby/buildkit, util/gitutil): git://, ssh://, user@host:path, and http(s):// only
    if the path ends in ``.git``: another http(s) URL is downloaded as a file.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    scp = _SCP.match(text)
    if scp and scp[1] != "git":
        raise ValueError(f"{shown(text)}: write ssh://user@host/path.git#ref, or start a path with ./")
    if scheme is None and scp is None:
        if text.startswith("target:"):
            raise ValueError(f"{shown(text)}: bake would read it as a target; start a path with ./")
        if re.match(r"(github|gitlab)\.com/", text):
            raise ValueError(f"{shown(text)}: write the full URL, https://….git#ref, or start a path with ./")
        return path(text)
    if scheme and scheme[1] not in ("https", "http", "ssh", "git"):
        raise ValueError(f"{scheme[1]}:// is not supported: a source is an https, http, ssh or git URL, or a path")
    # a build stage may hand the URL to git in a command
    reference.refuse(text, r"[^!-~]|[\"'$\\`]", " in a git URL: write it percent-encoded")
    url, _, ref = text.partition("#")
    if not ref:
        raise ValueError(
            "a git URL needs #ref (a tag, branch or commit): without it, the build changes whenever the repository does"
        )
    reference.refuse(ref, ":", ' after "#": a source is a whole repository, not a directory in one')
    if scheme:
        login = url.partition("://")[2].rpartition("@")[0]
        if login and (scheme[1] != "ssh" or ":" in login):
            raise ValueError(
                "a login in a git URL would be written into rendered files: use an ssh URL or a path to a checkout"
            )
        _split_url(url, "[a-z]+")
    if scheme and scheme[1] in ("https", "http") and not url.endswith(".git"):
        raise ValueError('an http(s) git URL must end in ".git" before "#": docker would download any other as a file')
    return text


def urls(text: str) -> str:
    """One or more http(s) URLs, spaces or commas between them, none with a login; returned with single spaces."""
    words = _url_words(text)
    for word in words:
        if "@" in word:
            raise ValueError(
                "a login in a URL is not allowed: the URL stays in the image's history"
                " (what logs in with a file, as pip does with netrc, gets it as a build secret)"
            )
        _split_url(word)
    return " ".join(words)


def url(text: str) -> str:
    """One http(s) URL without a login."""
    reference.refuse(text, r"\s", " in a URL")
    if len(_url_words(text)) > 1:
        raise ValueError("expected one URL, found several with commas between them")
    return urls(text)


def apt_mirror(text: str) -> str:
    """One URL that ends in a path: a build step puts it into apt's sources with sed, and -security after it."""
    reference.refuse(text, "[?#&]", ": a mirror's URL ends with its path")
    return url(text)


def proxy(text: str) -> str:
    """``http(s)://[user:password@]host[:port]``; the caller decides whether a login is allowed there."""
    reference.refuse(text, r"\s", " in a URL (in a password: %20)")
    if _split_url(text) not in ("", "/"):
        raise ValueError('a proxy URL ends after the port; in a password "/", "?", "#", "@" are %2F, %3F, %23, %40')
    return text


def hosts(text: str) -> str:
    """Hosts with an optional port, spaces or commas between them; returned with single spaces."""

    def fits(word: str) -> bool:
        match = _HOST_PORT.fullmatch(word)
        return match is not None and (match[2] is None or reference.is_port(match[2]))

    return " ".join(_words(text, fits, "host or host:port"))


def tag_patterns(text: str) -> str:
    """Tags with the wildcards ``*`` and ``?``, spaces or commas between them; returned with single spaces."""
    pattern = re.compile(r"[\w*?][\w.*?-]{0,127}", re.ASCII)
    return " ".join(_words(text, pattern.fullmatch, "a tag or a pattern of tags such as nightly-*"))


def no_proxy(text: str) -> str:
    """Host names, ``.suffixes``, addresses and ranges; returned with single commas, which every reader takes."""
    pattern = re.compile(r"\*|(\*?\.)?[A-Za-z0-9_\[:][A-Za-z0-9_.:\[\]/-]*")
    return ",".join(_words(text, pattern.fullmatch, "a host, a .suffix, an address or a range such as 10.0.0.0/8"))


def _url_words(text: str) -> list[str]:
    """The URLs of a list; a comma inside of one is its own."""
    return re.split(r"\s+|,+\s*(?=https?://)", text.strip().strip(","), flags=re.IGNORECASE)


def _words(text: str, fits: Callable[[str], object] = bool, what: str = "") -> list[str]:
    """The words of a list, commas or spaces between; each must be ``what`` it is to be.

    None is a URL, so that a message can show a word.
    """
    if "@" in text or "://" in text:
        raise ValueError("a URL is not allowed here")
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if not words:
        raise ValueError("the list is empty")
    for word in words:
        if not fits(word):
            raise ValueError(f"{shown(word)} is not {what}")
    return words


def one_platform(word: str) -> str:
    """``os/arch[/variant]`` in containerd's normal form."""
    os, _, rest = word.lower().partition("/")
    name, _, variant = _ARCHITECTURES.get(rest, rest).partition("/")
    name = _ARCHITECTURES.get(name, name)
    if not rest:
        advice = f": write linux/{_ARCHITECTURES.get(os, os)}" if os in (*_KNOWN_ARCHITECTURES, *_ARCHITECTURES) else ""
        raise ValueError(f"{shown(word)} is not a platform such as linux/amd64{advice}")
    if os != "linux":
        raise ValueError(f"{shown(word)}: every image is a Linux image, such as linux/amd64")
    if name not in _KNOWN_ARCHITECTURES:
        raise ValueError(f"{shown(word)}: unknown architecture{did_you_mean(name, _KNOWN_ARCHITECTURES)}")
    if not re.fullmatch(r"(v?[0-9]+)?", variant):
        raise ValueError(f"{shown(word)}: a variant is v and a number, such as linux/arm/v7")
    return platform_name(f"linux/{name}" + (f"/v{variant.removeprefix('v')}" if variant else ""))


def _split_url(text: str, schemes: str = "https?") -> str:
    """Checks a URL; returns what comes after host and port."""
    if not re.match(f"{schemes}://", text, re.IGNORECASE):
        raise ValueError("it is not an http:// or https:// URL")
    reference.refuse(text, r"[^!-~]|[\"<>\\^`{|}]", " in a URL: write it percent-encoded")
    after = text.partition("://")[2]
    authority = re.split(r"[/?#]", after, maxsplit=1)[0]
    match = _HOST_PORT.fullmatch(authority.rpartition("@")[2])
    if not match:
        raise ValueError("it has no valid host")
    if match[2] is not None and not reference.is_port(match[2]):
        raise ValueError("its port is not a number from 1 to 65535")
    return after.removeprefix(authority)
