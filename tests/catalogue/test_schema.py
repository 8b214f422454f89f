"""catalogue/schema.json and the reader say the same of every key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from generator.catalogue.line import parse_line
from generator.errors import InputError
from generator.project import packaged_data
from tests.fate_plan import packaged_family
from tests.pages import schema_text

SCHEMA = json.loads(schema_text())
CATALOGUE = packaged_data("catalogue") / "1.3.yaml"
# libyaml's, where this Python has it, is ten times as fast
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Change = Callable[[dict[str, Any]], object]
LOADED: dict[str, Any] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def in_schema(data: object) -> bool:
    return VALIDATOR.is_valid(data)


def in_reader(data: object) -> bool:
    try:
        parse_line(yaml.dump(data, Dumper=DUMPER), name="c.yaml", family=packaged_family())
    except InputError:
        return False
    return True


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", sorted(packaged_data("catalogue").glob("*.yaml")), ids=lambda p: p.name)
def test_every_packaged_catalogue_is_in_the_schema_and_names_it_for_editors(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    jsonschema.validate(yaml.safe_load(text), SCHEMA)
    assert text.splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert (file.parent / "schema.json").is_file()


WRONG: dict[str, Change] = {
    "an unknown key at the top": lambda c: c.update(imagse={}),
    "an unknown key of an image": lambda c: c["images"]["egg"].update(need=["jre"]),
    "a section missing": lambda c: c.pop("bases"),
    "an unknown kind": lambda c: c["images"]["egg"].update(kind="components"),
    "an image of our own from nothing": lambda c: c["images"]["egg"].pop("from"),
    "an image of our own with an image": lambda c: c["images"]["egg"].update(image="egg:1"),
    "a third-party image without one": lambda c: c["images"]["mysql"].pop("image"),
    "a third-party image with sources": lambda c: c["images"]["mysql"].update(sources=["fate"]),
    "a source without git": lambda c: c["sources"]["fate"].pop("git"),
    "a git URL with a ref": lambda c: c["sources"]["fate"].update(git="https://example.com/a.git#v1"),
    "a short commit": lambda c: c["releases"]["1.3.0"]["fate"].update(commit="abc123"),
    "half a platform": lambda c: c["images"]["base-image"]["platforms"].update(only=["arm64"]),
    "text where a list belongs": lambda c: c["images"]["egg"].update(needs="jre"),
    "a list where text belongs": lambda c: c["images"]["egg"].update(home=["fate"]),
    "nothing where text belongs": lambda c: c["images"]["egg"].update(home=None),
    "a mapping too deep below with": lambda c: c["images"]["egg"].update({"with": {"a": {"b": {"c": "d"}}}}),
    "a name that bake would refuse": lambda c: c["images"].update({"Egg": c["images"].pop("egg")}),
    "a list of images": lambda c: c.update(images=[]),
}


RIGHT: dict[str, Change] = {
    "a number as text": lambda c: c.update(line=1.3),
    "a number for a template": lambda c: c["images"]["roll"]["with"].update(port=8011),
    "a mapping for a template": lambda c: c["images"]["roll"].update({"with": {"a": {"b": True}}}),
    "a digest": lambda c: c["bases"]["jre"].update(image="jre@sha256:" + "0" * 64),
    "ssh": lambda c: c["sources"]["fate"].update(git="git@example.com:fate.git"),
    "a matrix": lambda c: c["images"]["roll"].update(matrix={"": {"heap": "1g"}, "-big": {"heap": "8g"}}),
}


@pytest.mark.parametrize(
    ("change", "right"),
    [*((change, False) for change in WRONG.values()), *((change, True) for change in RIGHT.values())],
    ids=[*WRONG, *RIGHT],
)
def test_what_is_right_or_wrong_is_so_for_both(change: Change, right: bool) -> None:
    data = copy.deepcopy(LOADED)
    change(data)
    assert (in_schema(data), in_reader(data)) == (right, right)


def test_every_key_tells_an_editor_what_it_is() -> None:
    def properties(schema: Any) -> Iterator[tuple[str, Any]]:
        for name, below in schema.get("properties", {}).items():
            yield name, below
        more = (schema.get(name) for name in ("items", "additionalProperties", "then", "else"))
        for below in (*schema.get("properties", {}).values(), *more):
            if isinstance(below, dict):
                yield from properties(below)

    found = list(properties(SCHEMA))
    assert len(found) > 50
    assert [name for name, below in found if not below["description"]] == []
