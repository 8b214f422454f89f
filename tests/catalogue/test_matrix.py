"""An entry with a ``matrix`` is an image for each of its suffixes: only the pairs that are listed."""

from __future__ import annotations

import pytest

from generator.catalogue.line import parse_line
from tests.catalogue.test_catalogue import GOOD
from tests.fate_plan import problems_of

LINE = (
    GOOD.partition("images:")[0]
    + """\
images:
  tools:
    kind: base
    description: tools${suffix}, ${what}
    from: jre
    matrix: {"": {what: alone}, -nn: {what: with networks}, -gpu: {what: "for ${device}"}}
  worker:
    kind: component
    from: tools${suffix}
    template: worker.j2
    args: {EDITION: "${edition}", "E${edition}": x}
    contract: {labels: {org.opencontainers.image.title: "${image}"}, entrypoint: [run, "${edition}"]}
    matrix:
      -nn: {edition: "1"}
      -gpu: {edition: "2"}
"""
)


@pytest.mark.parametrize("names", ["{}", "{what: x}", "{what: x, suffix: own}", "{what: x, tag: own}"])
def test_a_suffix_may_have_names_that_no_text_needs_of_the_others(names: str) -> None:
    text = LINE.replace("tools${suffix}, ${what}", 'tools${suffix}\n    tags: ["${tag}"]')
    parse_line(text.replace("{what: with networks}", names), name="c.yaml")


@pytest.mark.parametrize("variable", ["${EDITION}", "$editions", "${TARGETPLATFORM}", "${other_thing}"])
def test_a_variable_of_a_shell_or_of_a_dockerfile_is_left_to_it(variable: str) -> None:
    text = LINE.replace('EDITION: "${edition}"', f'EDITION: "${{edition}}{variable}"')
    images = {image.name: image for image in parse_line(text, name="c.yaml").images}
    assert images["worker-gpu"].args[0].value == f"2{variable}"


def test_an_image_for_each_suffix_with_the_parent_of_its_suffix() -> None:
    images = {image.name: image for image in parse_line(LINE, name="c.yaml").images}
    assert list(images) == ["tools", "tools-nn", "tools-gpu", "worker-nn", "worker-gpu"]
    assert [images[name].from_ for name in ("worker-nn", "worker-gpu")] == ["tools-nn", "tools-gpu"]
    assert [(arg.name, arg.value) for arg in images["worker-gpu"].args] == [("EDITION", "2"), ("E2", "x")]
    entrypoint = images["worker-gpu"].contract.entrypoint
    assert entrypoint is not None and entrypoint.value == ("run", "2")
    assert images["tools-nn"].description == "tools-nn, with networks"
    assert images["worker-nn"].contract.labels[0].value == "${image}", "a name of contracts is left to them"
    assert images["worker-nn"].where == images["worker-gpu"].where == "c.yaml:15"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("      -gpu: {edition", "      -x: {edition", "c.yaml:17: worker-x: unknown parent tools-x"),
        ("-gpu: {edition", "-gpu: {edition: {}}\n      -x: {edition", "c.yaml:23: expected text, found a mapping"),
        ('      -nn: {edition: "1"}', "      -nn: 1", 'c.yaml:22: expected a mapping, found "1"'),
        ("      -gpu: {edition", "      -nn: {edition", "c.yaml:23: -nn is set twice, first at c.yaml:22"),
        (
            "  worker:\n",
            '  other:\n    matrix: {-gpu: {edition: "3"}}\n  worker:\n',
            "c.yaml:16: matrix: other has nothing else, so no text uses",
        ),
        (
            "      -gpu: {edition",
            "      -gpu: {editoin",
            "c.yaml:23: matrix: worker-gpu has no edition, which ${edition} needs; did you mean editoin?",
        ),
        ("-nn: {what", "-NN: {what", 'c.yaml:10: "tools-NN" is not a name'),
        ("{edition}", "{Editon}", "c.yaml:19: matrix: no suffix of worker defines ${Editon}; did you mean edition?"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, said: str) -> None:
    found = problems_of(lambda: parse_line(LINE.replace(old, new), name="c.yaml"))
    assert any(problem.startswith(said) for problem in found), found


@pytest.mark.parametrize(
    ("section", "entry", "names"),
    [
        ("images", "worker: {description: x}", "worker-nn, worker-gpu"),
        ("images", "worker:", "worker-nn, worker-gpu"),
        ("bases", "os: {image: x}", "os-12, os-13"),
    ],
)
def test_a_line_changes_the_images_of_a_matrix_and_not_the_matrix(section: str, entry: str, names: str) -> None:
    below = LINE.replace(
        "bases:\n", 'bases:\n  os: {image: "debian:${version}", matrix: {-12: {version: "12"}, -13: {version: "13"}}}\n'
    )
    text = f'extends: "1.3"\n{section}:\n  {entry}\n'
    found = problems_of(lambda: parse_line(text, name="d.yaml", other=lambda _: below))
    said = f"d.yaml:3: {entry.partition(':')[0]} is a matrix in packaged catalogue/1.3.yaml: change {names}"
    assert said in found, found
