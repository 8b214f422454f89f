"""Quoting: every text comes back exactly as HCL and BuildKit read it.

The two readers below are written from the grammars, not from the writers: hashicorp/hcl, hclsyntax/scan_tokens.rl and
parser.go, and moby/buildkit, frontend/dockerfile/shell/lex.go. That real programs read the same is an end-to-end test.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from generator.render import hcl
from tests.hostile import UNREPRESENTABLE, hostile_strings, hostile_text


def read_hcl(literal: str) -> str:
    """One HCL string literal -> its text. AssertionError where HCL would see a template, a line break or the end."""
    assert literal[0] == literal[-1] == '"'
    body, out, i = literal[1:-1], "", 0
    while i < len(body):
        char = body[i]
        assert char not in '\n\r"', f"{char!r} ends the string"
        if char == "\\":
            kind = body[i + 1]
            if kind in "uU":
                digits = body[i + 2 : i + (6 if kind == "u" else 10)]
                out, i = out + chr(int(digits, 16)), i + 2 + len(digits)
            else:
                out, i = out + {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}[kind], i + 2
        elif body[i : i + 3] in ("$${", "%%{"):
            out, i = out + body[i + 1 : i + 3], i + 3
        else:
            assert body[i : i + 2] not in ("${", "%{"), "a template begins"
            out, i = out + char, i + 1
    return out


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('say "x"', r'"say \"x\""'),
        ("C:\\x", r'"C:\\x"'),
        ("a\nb\rc\td", r'"a\nb\rc\td"'),
        ("\x00\x1b\x7f\x85", r'"\u0000\u001b\u007f\u0085"'),
        ("${x}", '"$${x}"'),
        ("%{if x}", '"%%{if x}"'),
        ("$x 50% $", '"$x 50% $"'),
        ("$${x}", '"$$${x}"'),
        ("%%%{x}", '"%%%%{x}"'),
        ("$%{x}", '"$%%{x}"'),
        ("a\u202eb\u200bc\ufeff\u2028", r'"a\u202eb\u200bc\ufeff\u2028"'),
        ("é 中 😀", '"é 中 😀"'),
    ],
)
def test_a_string_is_quoted_by_the_rules_of_hcl(text: str, literal: str) -> None:
    assert hcl.quote(text) == literal


@pytest.mark.parametrize("text", UNREPRESENTABLE)
def test_text_that_hcl_would_change_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HCL would change it"):
        hcl.quote(text)


def test_hundreds_of_hostile_strings_survive() -> None:
    strings = hostile_strings()
    literals = [hcl.quote(text) for text in strings]
    assert len(strings) > 500
    assert [read_hcl(literal) for literal in literals] == strings
    assert all(len(literal.splitlines()) == 1 for literal in literals)


@given(hostile_text())
def test_any_text_survives(text: str) -> None:
    assert read_hcl(hcl.quote(text)) == text


def test_a_list_quotes_each_item() -> None:
    assert hcl.hcl_list(["a", "${b}"]) == '["a", "$${b}"]'
    assert hcl.hcl_list([]) == "[]"


def test_a_comment_marks_every_line() -> None:
    assert hcl.comment("one\n\nthree\rfour\u2028five") == "# one\n#\n# three\n# four\n# five"
    assert hcl.comment("") == "#"


@given(hostile_text())
def test_nothing_gets_out_of_a_comment(text: str) -> None:
    assert all(line.startswith("#") for line in re.split("[\r\n]", hcl.comment(text)))


def test_a_command_is_a_json_list_on_one_line() -> None:
    assert hcl.exec_form(["java", "-cp", "conf/:lib/*", "é\n$x"]) == '["java", "-cp", "conf/:lib/*", "é\\n$x"]'


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "at least one word"),
        ("java -jar x", "is text; expected a list"),
        (["a", 8080], "8080 is not text"),
        ((("java", "-jar"),), "is not text"),
    ],
)
def test_a_command_that_is_no_list_of_texts_is_refused(words: list[str], problem: str) -> None:
    for written in (hcl.exec_form, hcl.shell_words):
        with pytest.raises(ValueError, match=problem):
            written(words)


@pytest.mark.parametrize("text", ["torch==1.13.1+cpu", "a[b]>=1,<2", "x/y|z.(*)?$^{1}", "back\\slash & more"])
def test_sed_finds_and_puts_text_as_it_is(text: str) -> None:
    # sed -E reads what Python's expressions read of these; of what is put, it reads \\, / and &
    assert re.fullmatch(hcl.sed_pattern(text), text)
    assert re.sub(r"\\(.)", r"\1", hcl.sed_text(text)) == text
    assert not re.search(r"(?<!\\)(?:\\\\)*[/&]", hcl.sed_text(text))


@pytest.mark.parametrize("quoted", ["it's", "two\nlines"])
def test_sed_is_given_no_quote_and_no_line_break(quoted: str) -> None:
    for put in (hcl.sed_pattern, hcl.sed_text):
        with pytest.raises(ValueError, match="quote or a line break"):
            put(quoted)


def test_words_of_a_shell_are_quoted() -> None:
    assert hcl.shell_words(["a b", "it's", "c"]) == """'a b' 'it'"'"'s' c"""
