"""Text that breaks quoting: for the unit tests of quoting, and for the end-to-end test that asks bake what it read.

All of it is valid text that HCL can hold (Unicode form NFC, no surrogates); ``UNREPRESENTABLE`` is what HCL cannot.
``docker buildx bake --print`` of newer buildx (seen in 0.29.1, not yet in 0.13.1) writes ``${`` as ``$${`` and ``%{``
as ``%%{`` in its JSON; ``unprinted`` takes that back.
"""

from __future__ import annotations

import unicodedata
from itertools import product

from hypothesis import strategies as st

_TEMPLATE = ("$", "%", "{", "}", "${", "%{", "$${", "%%{", "$$${", "~}", "${x}", "%{if x}")
_QUOTES = ('"', "'", "\\", "\\\\", '\\"', "\\u0041", "\\n", "`")
_BREAKS = ("\n", "\r", "\r\n", "\t", " ", "\x00", "\x01", "\x1b", "\x7f", "\x85", "\u2028", "\u2029")
_COMMENTS = ("#", "//", "/*", "*/", "<<EOF", "<<-EOF")
_UNICODE = ("é", "中", "\U0001f600", "\u200b", "\ufeff", "\u202e", "\u2066", "\ud7ff", "\ue000", "\uffff", "\U0010ffff")
_OTHER = (",", "=", ":", "@", "*", "[", "]", "(", ")", "&&", ";", "$(id)", "`id`", "{{ x }}", "{% if %}", "{# x #}")

_WHOLE = (
    "",
    "a value",
    " leading and trailing ",
    "1.3.0-${version}",
    "$${already} %%{escaped}",
    "$$$$$${x}",
    "%%%%%{x}",
    "$%{x} and %${x}",
    "${~ x ~}",
    "ends with $",
    "ends with %",
    "ends with \\",
    'ends with "',
    "line one\nline two\n",
    "\r\nwindows\r\n",
    'target "evil" { tags = ["evil"] }',
    '"\n}\ntarget "evil" {\n  context = "/"\n',
    "EOF\n}\n",
    "\\u0024{x}",
    "type=registry,ref=evil",
    "a" * 5000,
    "${" * 500,
    "\\" * 501,
    '"' * 501,
)

UNREPRESENTABLE: tuple[str, ...] = ("e\u0301", "\u212b", "\u1100\u1161")
"""Not in form NFC."""


def hostile_strings() -> list[str]:
    """Several hundred different strings, always in the same order: pieces alone and in pairs, and whole values."""
    pieces = (*_TEMPLATE, *_QUOTES, *_BREAKS, *_COMMENTS, *_UNICODE, *_OTHER)
    pairs = (left + right for left, right in product((*_TEMPLATE, *_QUOTES, "\n", "\t", " ", "é"), repeat=2))
    framed = (f"a{piece}b" for piece in pieces)
    return list(dict.fromkeys((*_WHOLE, *pieces, *framed, *pairs)))


def hostile_text() -> st.SearchStrategy[str]:
    """Like ``hostile_strings`` with any other character in between."""
    pieces = (*_TEMPLATE, *_QUOTES, *_BREAKS, *_COMMENTS, *_UNICODE, *_OTHER)
    words = st.one_of(st.sampled_from(pieces), st.characters(exclude_categories=["Cs"]))
    return st.lists(words, max_size=12).map(lambda found: unicodedata.normalize("NFC", "".join(found)))


def unprinted(text: str) -> str:
    """A string from the JSON of ``bake --print`` as bake uses it, for a buildx that escapes what it prints."""
    return text.replace("$${", "${").replace("%%{", "%{")
