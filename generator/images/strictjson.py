"""JSON from untrusted archives: limited in size, without duplicate keys, every value read by its type.

Every function raises ``Malformed``; the callers know the file and the image, and say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from generator.text import printable

MAX_METADATA_SIZE = 4 << 20
"""bytes that any one metadata document may have"""
MAX_SIZE = 1 << 62
"""bytes that any one size field may state"""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Malformed(ValueError):
    """A document is not what it must be; the message says where and why, in printable text: it may quote a stranger."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:
            raise Malformed(f"duplicate key {key[:40]!r}")
        members[key] = value
    return members


def _int(text: str) -> int:
    # Python before 3.10.7 takes minutes over a million digits
    if len(text) > 20:
        raise Malformed("a number is too long")
    return int(text)


def _constant(text: str) -> object:
    raise Malformed(f"{text} is not JSON")


def parse(data: bytes) -> object:
    """The document in ``data``; refuses more than ``MAX_METADATA_SIZE`` bytes, duplicate keys, NaN and deep nesting."""
    if len(data) > MAX_METADATA_SIZE:
        raise Malformed(f"{len(data):,} bytes of metadata, at most {MAX_METADATA_SIZE:,} are read")
    try:
        return json.loads(data.decode(), object_pairs_hook=_object, parse_int=_int, parse_constant=_constant)
    except RecursionError:
        raise Malformed("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise Malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"it is not JSON ({error.msg} at byte {error.pos})") from None


def encode(value: object) -> bytes:
    """The canonical encoding of ``value``: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def fields(
    value: object, where: str, required: Collection[str], optional: Collection[str] = (), *, closed: bool = False
) -> dict[str, object]:
    """``value`` as an object that has the ``required`` keys, and when ``closed`` no others than these and ``optional``.

    A key that differs from one of them by case only is refused: Go, in which engines are written, reads it as that one.
    """
    if not isinstance(value, dict):
        raise Malformed(f"{where} is not an object")
    keys = {key.casefold(): key for key in (*required, *optional)}
    for key in value:
        known = keys.get(key.casefold(), key)
        if key != known:
            raise Malformed(f"{where} has the key {key[:40]!r}, which some programs read as {known!r}")
    missing = sorted(set(required) - value.keys())
    if missing:
        raise Malformed(f"{where} lacks {missing[0]!r}")
    unknown = sorted(value.keys() - keys.values()) if closed else []
    if unknown:
        raise Malformed(f"{where} has the unknown key {unknown[0][:40]!r}; a newer fategen may have written it")
    return value


def items(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise Malformed(f"{where} is not a list")
    return value


def text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"{where} is not a string")
    return value


def size(value: object, where: str) -> int:
    """``value`` as a number of bytes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise Malformed(f"{where} is not a number of bytes")
    return value


def digest(value: object, where: str) -> str:
    """``value`` as ``sha256:`` and 64 lower-case hexadecimal digits; nothing else may ever become part of a path."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise Malformed(f"{where} is not a sha256 digest in lower case")
    return value
