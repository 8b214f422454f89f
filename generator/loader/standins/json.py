"""For Pythons without ``json``: a reader and a writer (RFC 8259) with the arguments that the loader's modules give."""

from __future__ import annotations

import re
from collections.abc import Callable

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CHUNK = re.compile(r'([^"\\\x00-\x1f]*)(["\\\x00-\x1f]|$)')
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{4}")
_WORDS = {"true": True, "false": False, "null": None}
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_UNESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = {value: f"\\{key}" for key, value in _UNESCAPED.items() if value != "/"}

Pairs = Callable[["list[tuple[str, object]]"], object]


class JSONDecodeError(ValueError):
    """``msg`` says what was expected at character ``pos``."""

    def __init__(self, msg: str, pos: int) -> None:
        super().__init__(f"{msg}: char {pos}")
        self.msg, self.pos = msg, pos


def loads(
    text: str,
    *,
    object_pairs_hook: Pairs = dict,
    parse_int: Callable[[str], object] = int,
    parse_constant: Callable[[str], object] = float,
) -> object:
    """The document in ``text``. JSONDecodeError: it is none; RecursionError: it is nested too deep."""
    reader = _Reader(text, object_pairs_hook, parse_int, parse_constant)
    value, end = reader.value(reader.skip(0))
    end = reader.skip(end)
    if end != len(text):
        raise JSONDecodeError("Extra data", end)
    return value


class _Reader:
    def __init__(
        self, text: str, pairs: Pairs, integer: Callable[[str], object], constant: Callable[[str], object]
    ) -> None:
        self._text, self._pairs, self._integer, self._constant = text, pairs, integer, constant

    def skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int) -> tuple[object, int]:
        """The value that begins at a character, and where it ends."""
        start = self._text[at : at + 1]
        if start == '"':
            return self._string(at + 1)
        if start == "{":
            return self._object(self.skip(at + 1))
        if start == "[":
            return self._array(self.skip(at + 1))
        for word, meant in _WORDS.items():
            if self._text.startswith(word, at):
                return meant, at + len(word)
        for word in _CONSTANTS:
            if self._text.startswith(word, at):
                return self._constant(word), at + len(word)
        number = _NUMBER.match(self._text, at)
        if not number:
            raise JSONDecodeError("Expecting value", at)
        whole = number[2] is None and number[3] is None
        return self._integer(number[0]) if whole else float(number[0]), number.end()

    def _array(self, at: int) -> tuple[object, int]:
        found: list[object] = []
        if self._text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self.value(at)
            found.append(value)
            at = self.skip(at)
            end = self._text[at : at + 1]
            if end == "]":
                return found, at + 1
            if end != ",":
                raise JSONDecodeError("Expecting ',' delimiter", at)
            at = self.skip(at + 1)

    def _object(self, at: int) -> tuple[object, int]:
        found: list[tuple[str, object]] = []
        if self._text[at : at + 1] == "}":
            return self._pairs(found), at + 1
        while True:
            if self._text[at : at + 1] != '"':
                raise JSONDecodeError("Expecting property name enclosed in double quotes", at)
            key, at = self._string(at + 1)
            at = self.skip(at)
            if self._text[at : at + 1] != ":":
                raise JSONDecodeError("Expecting ':' delimiter", at)
            value, at = self.value(self.skip(at + 1))
            found.append((key, value))
            at = self.skip(at)
            end = self._text[at : at + 1]
            if end == "}":
                return self._pairs(found), at + 1
            if end != ",":
                raise JSONDecodeError("Expecting ',' delimiter", at)
            at = self.skip(at + 1)

    def _string(self, at: int) -> tuple[str, int]:
        start, parts = at, []
        while True:
            chunk = _CHUNK.match(self._text, at)
            if chunk is None or not chunk[2]:
                raise JSONDecodeError("Unterminated string starting at", start - 1)
            parts.append(chunk[1])
            at = chunk.end()
            if chunk[2] == '"':
                return "".join(parts), at
            if chunk[2] != "\\":
                raise JSONDecodeError("Invalid control character at", at - 1)
            letter = self._text[at : at + 1]
            if letter == "u":
                char, at = self._escaped(at + 1)
            elif letter in _UNESCAPED:
                char, at = _UNESCAPED[letter], at + 1
            else:
                raise JSONDecodeError("Invalid \\escape", at)
            parts.append(char)

    def _escaped(self, at: int) -> tuple[str, int]:
        """The character of a \\u escape, of two where they are a surrogate pair."""
        first = self._four(at)
        at += 4
        if 0xD800 <= first < 0xDC00 and self._text.startswith("\\u", at):
            second = self._four(at + 2)
            if 0xDC00 <= second < 0xE000:
                return chr(0x10000 + ((first - 0xD800) << 10) + second - 0xDC00), at + 6
        return chr(first), at

    def _four(self, at: int) -> int:
        digits = _HEXADECIMAL.match(self._text, at)
        if not digits:
            raise JSONDecodeError("Invalid \\uXXXX escape", at)
        return int(digits[0], 16)


def dumps(
    value: object,
    *,
    sort_keys: bool = False,
    separators: tuple[str, str] | None = None,
    ensure_ascii: bool = True,
    allow_nan: bool = False,
    indent: int | None = None,
) -> str:
    """Always in ASCII and without NaN, whatever is asked for."""
    comma, colon = separators or (("," if indent is not None else ", "), ": ")
    return _written(value, sort_keys, comma, colon, indent, "\n" if indent is not None else "")


def _written(value: object, sort_keys: bool, comma: str, colon: str, indent: int | None, line: str) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("Out of range float values are not JSON compliant")
        return float.__repr__(value)
    inner = line + " " * indent if indent is not None else ""
    if isinstance(value, dict):
        entries = sorted(value.items()) if sort_keys else value.items()
        parts = [f"{_quoted(k)}{colon}{_written(v, sort_keys, comma, colon, indent, inner)}" for k, v in entries]
        brackets = "{}"
    elif isinstance(value, (list, tuple)):
        parts = [_written(v, sort_keys, comma, colon, indent, inner) for v in value]
        brackets = "[]"
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return brackets[0] + inner + (comma + inner).join(parts) + line + brackets[1] if parts else brackets


def _quoted(text: str) -> str:
    return '"' + re.sub(r"[^ !#-\[\]-~]", _escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char in _ESCAPED:
        return _ESCAPED[char]
    number = ord(char)
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
