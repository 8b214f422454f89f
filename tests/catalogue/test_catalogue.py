from __future__ import annotations

import pytest

from generator.catalogue.contract import Item
from generator.catalogue.line import Line, parse_family, parse_line
from generator.config.settings import Settings
from generator.errors import InputError
from generator.plan.plan import make_plan
from tests.fate_plan import problems_of

GOOD = """\
line: "1"
releases:
  1.0.0:
    code: {ref: v1, commit: "0123456789012345678901234567890123456789"}
sources:
  code: {git: https://example.com/code.git}
bases:
  jre: {image: "jre:8"}
images:
  one: {kind: base, from: jre, sources: [code], home: code}
  two: {kind: component, from: one, needs: [three]}
  three: {kind: builder, from: jre}
  db: {kind: third-party, image: "db:1"}
"""


def problems(text: str) -> list[str]:
    return problems_of(lambda: parse_line(text, name="c.yaml"))


OTHER = """\
line: "1.2"
extends: "1"
releases:
  1.2.0:
    code: {ref: v2, commit: "0123456789012345678901234567890123456789"}
bases:
  jre: {image: "jre:11"}
images:
  two:
"""


def extending(extended: str = "1.1", **others: str) -> Line:
    given = {"1.1.yaml": GOOD, **{f"{name.replace('_', '.')}.yaml": line for name, line in others.items()}}
    return parse_line(OTHER.replace('"1"', f'"{extended}"'), name="catalogue/1.2.yaml", other=given.get)


def test_a_line_that_extends_another_is_that_one_with_changes_and_its_own_releases() -> None:
    line = extending()
    assert [image.name for image in line.images] == ["one", "three", "db"]
    assert [(base.image, base.where) for base in line.bases] == [("jre:11", "catalogue/1.2.yaml:7")]
    assert [release.version for release in line.releases] == ["1.2.0"]
    assert line.sources[0].where == "catalogue/1.1.yaml:6"


CIRCLE = "catalogue/1.2.yaml -> catalogue/1.1.yaml -> catalogue/1.2.yaml"


@pytest.mark.parametrize(
    ("extended", "others", "said"),
    [
        ("1.9", {}, "1.2.yaml:2: extends: there is no packaged catalogue/1.9.yaml"),
        (
            "1.1",
            {"1_1": OTHER.replace('"1"', '"1.2"'), "1_2": OTHER},
            f"1.1.yaml:2: extends: a line cannot extend itself, or more than 20 others: {CIRCLE}",
        ),
        ("../1.1", {}, '1.2.yaml:2: "../1.1" is neither packaged nor a line, such as 1.0'),
        ("1.1", {"1_1": GOOD + "odd: 1\n"}, "1.1.yaml:14: odd: unknown key"),
        ("1.1", {"1_1": GOOD + "line: x\n"}, "1.1.yaml:14: line is set twice, first at catalogue/1.1.yaml:1"),
    ],
)
def test_a_line_that_cannot_be_extended_is_told(extended: str, others: dict[str, str], said: str) -> None:
    found = problems_of(lambda: extending(extended, **others))
    assert any(problem.startswith(f"catalogue/{said}") for problem in found), found


def test_a_chain_of_lines_that_extend_each_other_has_an_end() -> None:
    def other(name: str) -> str:
        return OTHER.replace('"1"', f'"1.{int(name.split(".")[1]) + 1}"')

    with pytest.raises(InputError, match=r":2: extends: .* more than 20 others: .* -> packaged catalogue/1\.22\.yaml$"):
        parse_line(other("1.1"), name="catalogue/1.1.yaml", other=other)


FAMILY_CONTRACTS = """\
family: A
release: 1.0.0
contracts:
  plain: {user: a, size: 1 MB}
  known: {is: [plain], workdir: /a}
"""


def test_images_have_the_contracts_of_the_family_as_the_line_changes_them() -> None:
    family = parse_family(FAMILY_CONTRACTS, "catalogue/family.yaml")
    text = GOOD.replace("needs: [three]", "contract: {is: [known]}") + "contracts: {plain: {size: 2 MB}}\n"
    two = parse_line(text, name="c.yaml", family=family).images[1].contract
    assert (two.workdir, two.size) == (Item("/a", "catalogue/family.yaml:5"), Item("2 MB", "c.yaml:14"))
    with pytest.raises(InputError, match=r"^catalogue/family.yaml:4: unknown contract known; known are none$"):
        parse_family(FAMILY_CONTRACTS.replace("user: a", "is: [known]"), "catalogue/family.yaml")


@pytest.mark.parametrize("platforms", ["", ", platforms: {only: [linux/amd64], because: x}"])
def test_a_chain_of_images_may_be_long_and_in_any_order(platforms: str) -> None:
    names = [f"i{number}" for number in range(3000)]
    images = [f"  {name}: {{kind: component, from: {of}}}" for name, of in zip(names[1:], names, strict=False)]
    images.append(f"  end: {{kind: component, from: i2999{platforms}}}")
    images += ["images:"]
    text = GOOD.partition("images:")[0] + "\n".join([*reversed(images), "  i0: {kind: component, from: jre}"])
    line = parse_line(text.replace('"1"', '"1.0"'), name="1.0.yaml")
    assert [image.name for image in line.images] == [*names, "end"]
    plan = make_plan(Settings("p", "t", "t", version="1.0.0"), line)
    assert len(plan.targets) == (6001 if platforms else 3001)


def test_a_line_is_what_its_file_is_called() -> None:
    text = GOOD.replace('"1"', '"1.3"').replace("1.0.0:", "1.3.0:")
    assert problems_of(lambda: parse_line(text, name="catalogue/1.4.yaml")) == [
        "catalogue/1.4.yaml:1: line: 1.3 does not match the name of the file, 1.4"
    ]


SHA = "0123456789012345678901234567890123456789"
BAD = [
    ("three: {kind: builder, from: jre}", "three: {kind: builder, from: two}",
     "c.yaml:11: cycle: two -> three -> two; an image cannot be built from itself"),
    ("from: jre, sources", "from: one, sources",
     "c.yaml:10: cycle: one -> one; an image cannot be built from itself"),
    ("needs: [three]", "needs: [tree]", "c.yaml:11: two: unknown parent tree; did you mean three?"),
    ("needs: [three]", "needs: [jre,\n    tree]", "c.yaml:12: two: unknown parent tree; did you mean three?"),
    ("needs: [three]", "files: [\n    SECRET]", "c.yaml:12: two: files: SECRET is not a key of .env of type file"),
    ("needs: [three]", "needs: [db]", "c.yaml:11: two: parent db is third-party; add it to bases instead"),
    ("sources: [code]", "sources: [cod]", "c.yaml:10: one: unknown source cod; did you mean code?"),
    ("sources: [code]", 'sources: [code, ""]', "c.yaml:10: one: unknown source "),
    ("home: code", "home: cods", "c.yaml:10: one: unknown source cods; did you mean code?"),
    ("  three: {kind: builder, from: jre}", "  three: {kind: builder, from: jre}\n  two: {}",
     "c.yaml:13: two is set twice, first at c.yaml:11"),
    ("needs: [three]", "need: [three]", "c.yaml:11: need: unknown key; did you mean needs?"),
    ("needs: [three]", "need:\n    [three]", "c.yaml:11: need: unknown key; did you mean needs?"),
    ('line: "1"', 'line: "1"\nzzz: 1', "c.yaml:2: zzz: unknown key; known are line, extends, releases, sources, bases, "
     "images, contracts, keys, groups, party"),
    ('bases:\n  jre: {image: "jre:8"}\n', "", "c.yaml:1: bases: missing"),
    ("home: code", "platforms: {only: [arm64], because: x}, home: code",
     'c.yaml:10: "arm64" is not a platform: os/arch or os/arch/variant, such as linux/arm64'),
    ("home: code", "platforms: {only: [linux/amd46], because: x}, home: code",
     'c.yaml:10: "linux/amd46": unknown architecture; did you mean amd64?'),
    ("home: code", "platforms: {only: [linux/amd64]}, home: code", "c.yaml:10: because: missing"),
    ("kind: component", "kind: components",
     'c.yaml:11: "components" is not a kind: builder, base, component, third-party; did you mean component?'),
    ("three: {kind: builder, from: jre}", "three: {kind: builder}", "c.yaml:12: from: missing"),
    ('image: "db:1"', "from: jre", "c.yaml:13: image: missing"),
    ('image: "db:1"', "from: jre", "c.yaml:13: from: an image of kind third-party has none"),
    ('"jre:8"', '"jre"', 'c.yaml:8: "jre" is not an image reference: it needs a tag or a digest'),
    ('"db:1"', f'"db@sha256:{"0" * 64}"', f'c.yaml:13: "db@sha256:{"0" * 64}" is not an image with a tag: without a '
     f"tag, it has no name after loading; write db:TAG@sha256:{'0' * 64}"),
    (f'"{SHA}"', "abc123", 'c.yaml:4: "abc123" is not a commit: 40 lower-case hexadecimal digits'),
    ("https://example.com/code.git", "https://example.com/code",
     'c.yaml:6: code: git: an http(s) git URL must end in ".git" before "#"'),
    ("code.git", "code.git#v1", 'c.yaml:6: "https://example.com/code.git#v1" is not a git URL'),
    ("{git: https://example.com/code.git}", "{git: https://example.com/code.git, fetch-in: jra}",
     "c.yaml:6: code: unknown base jra; did you mean jre?"),
    (f'    code: {{ref: v1, commit: "{SHA}"}}', "    {}", "c.yaml:3: code: missing"),
    ("1.0.0:", "2.1.0:", "c.yaml:3: 2.1.0 is not a release of line 1; it needs a catalogue/2.1.yaml"),
    ("    code: {ref", "    coda: {ref", "c.yaml:4: coda: unknown source; did you mean code?"),
    ("  three:", "  one.two:",
     'c.yaml:12: "one.two" is not a name: lower-case letters and digits, joined by "-" or "_"'),
    ("  three:", "  jre:", "c.yaml:12: jre is also the name of a base; names must be unique"),
    ("from: one, needs", "from: , needs", "c.yaml:11: expected text, found nothing"),
    ("{git: https://example.com/code.git}", "[1]", "c.yaml:6: expected a mapping, found a list"),
    ("home: code", r'home: code, description: "two\nlines"', "c.yaml:10: the description is not "),
    ("home: code", r'home: code, description: "e\u0301"', "c.yaml:10: the description is not "),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem"), BAD)
def test_what_is_wrong_is_told_with_its_line_and_what_was_meant(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    assert any(found.startswith(problem) for found in problems(GOOD.replace(old, new)))


def test_a_source_and_a_parent_of_one_name_would_be_one_name_in_the_dockerfile() -> None:
    text = GOOD.replace("  code: {git", "  jre: {git: https://example.com/j.git}\n  code: {git").replace(
        "    code: {ref", f"    jre: {{ref: v1, commit: '{SHA}'}}\n    code: {{ref"
    )
    assert problems(text.replace("sources: [code]", "sources: [jre]")) == [
        "c.yaml:12: one: jre is both a source and a parent; names must be unique"
    ]


def test_all_problems_are_listed_at_once_in_the_order_of_their_lines() -> None:
    text = GOOD.replace("needs: [three]", "need: [three]").replace("kind: base", "kind: bas").replace('"jre:8"', "jre")
    assert [problem.partition(": ")[0] for problem in problems(text)] == ["c.yaml:8", "c.yaml:10", "c.yaml:11"]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "c.yaml: is empty"),
        ("a: [", "c.yaml:2: not YAML: "),
        ("\tx: 1", "c.yaml:1: not YAML: "),
        ("- 1", "c.yaml:1: expected a mapping, found a list"),
        ("just text", 'c.yaml:1: expected a mapping, found "just text"'),
        ("\x00", "c.yaml: not YAML: "),
        ("a: !!python/object:os.system {}", "c.yaml:1: "),
        ("[" * 5000, "c.yaml"),
        (
            GOOD.replace("{kind: builder, from: jre}", "{kind: builder, from: jre,\n    contract: &a {files: *a}}"),
            "c.yaml:13: not readable as YAML: nested too deeply, or an alias that contains itself",
        ),
        (GOOD.replace("from: jre}\n  db", "from: jre, with: &a {b: *a}}\n  db"), "c.yaml:12: not"),
        (
            "a: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]\n" for n in range(1, 40)),
            "c.yaml:7: not readable as YAML: more than 1000000 values",
        ),
        ("x: &x " + "[" * 40 + "]" * 40 + "\ny: " + "[" * 40 + "*x" + "]" * 40, "c.yaml:1: not readable as YAML: nest"),
    ],
)
def test_what_is_no_catalogue_is_an_error_with_a_place(text: str, start: str) -> None:
    assert problems(text)[0].startswith(start)
