"""``.env`` text -> ``Settings``. The keys and their values are those of ``settings.Keys``.

How the text is read (python-dotenv's parser, 1.0 and later):

* ``KEY=value``, spaces around ``=`` and ``export`` before it allowed; ``#`` begins a comment at the start of a line or
  after a space. ``'…'`` knows the escapes ``\\'`` and ``\\\\``, ``"…"`` also ``\\n`` and its like (a value that has
  one is refused: it is one line of visible characters).
* LF, CRLF and CR end a line. A byte order mark is skipped in ``.env.local``, and refused in ``.env``, as is whatever
  else compose's parser does not take: buildx before 0.26 reads a project's ``.env`` in any case. ``${`` in a value is
  an error; any other ``$`` is a dollar sign. A key that is set twice and a line without ``=`` are errors. An empty
  value means "not set".

What wins: ``--source`` and ``--set`` over ``.env.local`` over ``.env``; of two equal flags the last. A flag's value is
taken as it is, without quotes or comments, and an empty one takes a key back to its default.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from generator.config import values
from generator.config.settings import Key, Keys, Settings, key_of
from generator.errors import Problem, did_you_mean, raise_all

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LINE_KEY = re.compile(r"(?:\A\ufeff|^|\r)[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII | re.MULTILINE)
_COMMENT_ALONE = re.compile(r"[^=]*=[^\S\n]+#")
_FOR_BUILDX = re.compile(
    r"""[ \t\n]*(?:(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*"""
    r"""(?:'(?:[^'\\]|\\.)*'[ \t]*|"(?:[^"\\]|\\.)*"[ \t]*|[^'"\s\x85\xa0][^\n]*|))?(?:\#[^\n]*)?\n?""",
    re.ASCII | re.DOTALL,
)
"""A statement that python-dotenv and compose's parser (compose-go, dotenv/parser.go) both read."""
_VARIABLES = re.compile(r"(?:[^$]|\$\$|\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*\})*", re.ASCII)
"""A value whose dollars compose's parser can read where they are not in single quotes (compose-go, template)."""
ENV, LOCAL = ".env", ".env.local"


@dataclass(frozen=True)
class _Entry:
    """One ``KEY=value`` that was read, before it is checked; ``where`` is a line of a file, or a flag."""

    key: str
    value: str
    where: str

    def problem(self, message: str) -> Problem:
        return Problem(self.where, f"{self.key}: {message}")


def value_of(key: str, text: str, sets: Sequence[str] = ()) -> tuple[str, str]:
    """The value that ``.env`` or ``--set`` has for one key, and where, before anything is checked; "" if none has."""
    entries = _read_file(text, ENV, Keys(), []) + _read_flags(sets, (), [])
    return next(((entry.value.strip(), entry.where) for entry in reversed(entries) if entry.key == key), ("", ENV))


def parse_settings(
    text: str,
    keys: Keys,
    *,
    local_text: str = "",
    sets: Sequence[str] = (),
    source_sets: Sequence[str] = (),
    strict: bool = False,
) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings, and warnings: unknown keys that resemble no known one (``strict`` makes them errors).

    ``text`` is the content of ``.env``, which may have ``keys``, and ``local_text`` of ``.env.local``; ``sets`` are the
    ``KEY=VALUE`` of ``--set`` and ``source_sets`` the ``NAME=DIR`` of ``--source``. Raises InputError with every
    problem of all of them; each says where (``.env:7``, ``--set``, ``--source``), and none repeats a password.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    entries = _read_file(text, ENV, keys, problems)
    entries += _read_file(local_text, LOCAL, keys, problems)
    entries += _read_flags(sets, source_sets, problems)

    accepted: dict[str, tuple[Key, object, str]] = {}
    for entry in entries:
        row, is_local = keys.find(entry.key), entry.where.startswith(LOCAL)
        if is_local and not (row and row.local):
            allowed = ", ".join(keys.local)
            wrong = f"is not allowed in {LOCAL}: only bake reads that file, so it may have only {allowed}"
            problems.append(entry.problem(wrong))
        elif row is None:
            unknown = entry.problem("unknown key" + did_you_mean(entry.key.upper(), keys.names))
            is_error = strict or entry.where == "--set" or _is_near(entry.key, keys.names)
            (problems if is_error else warnings).append(unknown)
        elif not entry.value.strip():
            accepted.pop(entry.key, None)
            if row.required:
                problems.append(entry.problem("is required but empty"))
        else:
            try:
                values.check_characters(entry.value)
                # any "@": a password may be written with a "/"
                if row.login and not is_local and "@" in entry.value:
                    raise ValueError(
                        f"it has a login, which belongs in {LOCAL} (git ignores it, and only bake reads it)"
                    )
                value = row.read(entry.value)
                # a flag that repeats the file changes nothing
                if entry.key not in accepted or accepted[entry.key][1] != value:
                    accepted[entry.key] = row, value, entry.where
            except ValueError as error:
                problems.append(entry.problem(str(error)))
    # a key of a malformed line is not missing too
    named = {*_LINE_KEY.findall(text), *(entry.key for entry in entries)}
    problems += [
        Problem(ENV, f"{row.name} is required: {row.doc}, such as {row.name}={row.example}")
        for row in keys.rows
        if row.required and row.name not in named
    ]
    raise_all(problems)
    return _build(accepted, keys), tuple(warnings)


def _read_file(text: str, name: str, keys: Keys, problems: list[Problem]) -> list[_Entry]:
    from dotenv.parser import parse_stream

    if text.startswith("\ufeff") and name == ENV:
        wrong = "begins with a byte order mark, which buildx cannot read: save it as UTF-8 without one"
        problems.append(Problem(f"{name}:1", wrong))
    if name == ENV and (alone := re.search(r"\r(?!\n)", text)):
        wrong = "has a lone carriage return, which ends no line for buildx: save it with LF or CRLF line endings"
        problems.append(Problem(f"{name}:{len(text[: alone.start()].splitlines())}", wrong))
    # One kind of line end first: after an error python-dotenv would count CRLF as two lines.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    entries: dict[str, _Entry] = {}
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins with the blank lines before it; the key is on the line after them.
        original = binding.original.string
        line = binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
        where = f"{name}:{line}"
        # python-dotenv before 1.2 took the comment of "KEY= # comment" for the value.
        value = "" if _COMMENT_ALONE.match(original) else binding.value or ""
        # where compose's parser looks for variables: not in single quotes, and to it a comment begins with " #"
        plain = original.partition("=")[2].strip()
        with_variables = {"'": "", '"': value}.get(plain[:1], plain.partition(" #")[0])
        known = keys.find(binding.key or "")
        if binding.error:
            quoted = re.search("=\\s*['\"]", original)
            quote = " (is a closing quote missing, or is there text after it?)" if quoted else ""
            problems.append(Problem(where, f"expected KEY=value{quote}"))
        elif binding.key is not None and (not _KEY.fullmatch(binding.key) or binding.value is None):
            what = f"{binding.key}: no value: " if known else ""
            problems.append(Problem(where, f"{what}expected KEY=value; a key has letters, digits and _"))
        elif name == ENV and not _FOR_BUILDX.fullmatch(original):
            advice = "write KEY=value, with neither quotes nor odd characters around KEY"
            problems.append(Problem(where, f"buildx also reads this file, and cannot parse this line: {advice}"))
        elif name == ENV and not _VARIABLES.fullmatch(with_variables) and not ("${" in value and known):
            # that no key of ours may have ${ is said by ``values``
            wrong = "buildx also reads this file, and cannot parse this value: put a value with $ into single quotes"
            problems.append(Problem(where, f"{binding.key}: {wrong}"))
        elif binding.key in entries:
            first = entries[binding.key].where
            problems.append(Problem(where, f"{binding.key}: set twice, first at {first}; keep one"))
        elif binding.key and binding.value is not None:
            entries[binding.key] = _Entry(binding.key, value, where)
    return list(entries.values())


def _read_flags(sets: Iterable[str], source_sets: Iterable[str], problems: list[Problem]) -> list[_Entry]:
    entries = []
    for text in sets:
        key, equals, value = text.partition("=")
        if equals and _KEY.fullmatch(key):
            entries.append(_Entry(key, value, "--set"))
        else:
            buildx = "; for an attribute of a target: docker buildx bake -f out/docker-bake.hcl --set"
            wrong = f"expected KEY=value, such as --set TAG=test{buildx if '.' in key else ''}"
            problems.append(Problem("--set", wrong))
    for text in source_sets:
        source, _, value = text.partition("=")
        if re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", source) and value.strip():
            entries.append(_Entry(key_of(source, "_SOURCE"), value, "--source"))
        else:
            wrong = "expected NAME=DIR, such as --source library=../library (lower case, as in the catalogue)"
            problems.append(Problem("--source", wrong))
    return entries


def _build(accepted: dict[str, tuple[Key, object, str]], keys: Keys) -> Settings:
    fields: dict[str, Any] = {}
    defaults = {row.name: (row, row.read(row.default), "") for row in keys.rows if row.default}
    for name, (row, value, _) in sorted((defaults | accepted).items()):
        if row.suffix or row.attribute == "others":
            value = (*fields.get(row.attribute, ()), (name, str(value)))
        fields[row.attribute] = value
    return Settings(**fields, origins=tuple((name, where) for name, (*_, where) in sorted(accepted.items())))


def _is_near(key: str, known: Sequence[str]) -> bool:
    """Whether an unknown key is so like a known one that it must be a slip; in a short one, two letters swapped."""
    key = key.upper()
    swapped = (sorted(key) == sorted(k) and sum(a != b for a, b in zip(key, k, strict=True)) <= 2 for k in known)
    return any(swapped) or bool(difflib.get_close_matches(key, known, n=1, cutoff=0.75))
