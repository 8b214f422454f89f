"""Quoting for HCL (bake files) and for Dockerfiles. Pure text in, text out.

By the rules of hashicorp/hcl (hclsyntax/scan_tokens.rl, ``decodeQuotedLit`` in parser.go) and moby/buildkit
(frontend/dockerfile/shell/lex.go, parser/line_parsers.go).
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Sequence

_HCL_ESCAPE = re.compile('[\x00-\x1f\x7f-\x9f"\\\\\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]')
_HCL_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def quote(text: str) -> str:
    """An HCL string literal, its quotes included, that HCL reads back as exactly ``text``.

    A ``${`` or ``%{`` opens a template and is doubled; HCL counts from the brace, so that is right after any run of
    ``$``. Raises ValueError for text that is not NFC (HCL normalizes every string: zclconf/go-cty,
    ``cty.NormalizeString``).
    """
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("HCL would change it: it is not in Unicode NFC form")
    escaped = _HCL_ESCAPE.sub(lambda char: _HCL_SHORT.get(char[0], f"\\u{ord(char[0]):04x}"), text)
    return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'


def hcl_list(items: Iterable[str]) -> str:
    """``["a", "b"]`` on one line, each item through ``quote``; ``[]`` for none."""
    return "[" + ", ".join(quote(item) for item in items) + "]"


def comment(text: str) -> str:
    """``# `` before every line of ``text``. In a Dockerfile it must not come first: it could be a directive there."""
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines() or [""])


def exec_form(items: Sequence[str]) -> str:
    """The exec form of CMD and ENTRYPOINT: a JSON list on one line. Raises ValueError for what is no list of texts."""
    return json.dumps(list(_command(items)), ensure_ascii=False)


def sed_pattern(text: str) -> str:
    """Text that ``sed -E 's/…/…/'``, in single quotes, finds as it is. ValueError for a quote, which ends them."""
    return re.sub(r"([\\.*+?^$(){}\[\]|/])", r"\\\1", _in_single_quotes(text))


def sed_text(text: str) -> str:
    """Text that ``sed -E 's/…/…/'``, in single quotes, puts as it is. ValueError for a quote, which ends them."""
    return re.sub(r"([\\/&])", r"\\\1", _in_single_quotes(text))


def shell_words(words: Sequence[str]) -> str:
    """A list of texts as words of a shell. Raises ValueError for anything else, and for no words."""
    return " ".join(shlex.quote(word) for word in _command(words))


def text_list(items: Sequence[str]) -> Sequence[str]:
    """The same list. Raises ValueError for a text, whose letters would be taken for the list, and for other values."""
    if isinstance(items, str):
        raise ValueError(f"{items!r} is text; expected a list: [{', '.join(items.split())}]")
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"{item!r} is not text")
    return items


FILTERS: dict[str, Callable[..., str | Sequence[str]]] = {
    "hcl": quote,
    "hcl_list": hcl_list,
    "comment": comment,
    "exec_form": exec_form,
    "sed_pattern": sed_pattern,
    "sed_text": sed_text,
    "shell_words": shell_words,
    "text_list": text_list,
}
"""What templates call them."""


def _command(words: Sequence[str]) -> Sequence[str]:
    if not text_list(words):
        raise ValueError("a command needs at least one word")
    return words


def _in_single_quotes(text: str) -> str:
    if "'" in text or "\n" in text:
        raise ValueError(f"{text!r} has a quote or a line break, which is not allowed here")
    return text
