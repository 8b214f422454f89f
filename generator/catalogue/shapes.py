"""What a YAML mapping may hold, said once: the readers of ``nodes`` go by it, and the JSON Schema is made from it.

A reader can read no key that its record lacks, and refuses every key that it lacks, so the two cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from generator.errors import did_you_mean

Check = Callable[[str], str]
"""Text -> what is wrong with it, or ``""``."""

Schema = dict[str, object]
"""JSON Schema, draft 7: the newest that yaml-language-server knows well."""

SCALAR = ["string", "number", "boolean"]
"""YAML's numbers and booleans are taken as they are written."""


@dataclass(frozen=True)
class Text:
    """A scalar. ``pattern`` is for the whole text, in what Python's and ECMA-262's expressions have in common.

    ``wrong`` completes the message '"TEXT" …'. ``check`` is what no pattern can say; the schema does not have it.
    """

    about: str
    pattern: str = ""
    wrong: str = ""
    choices: tuple[str, ...] = ()
    check: Check | None = None

    def problem(self, text: str) -> str:
        """What is wrong with a text, or ``""``."""
        if self.choices and text not in self.choices:
            return f'"{text}" {self.wrong}: {", ".join(self.choices)}{did_you_mean(text, self.choices)}'
        if self.pattern and not re.fullmatch(self.pattern, text, re.ASCII):
            return f'"{text}" {self.wrong}'
        return self.check(text) if self.check else ""

    def schema(self) -> Schema:
        if self.choices:
            return {"description": self.about, "enum": list(self.choices)}
        if self.pattern:
            return {"description": self.about, "type": "string", "pattern": f"^(?:{self.pattern})$"}
        return {"description": self.about, "type": SCALAR}


@dataclass(frozen=True)
class Texts:
    """A list of texts."""

    about: str
    item: Text

    def schema(self) -> Schema:
        return {"description": self.about, "type": "array", "items": self.item.schema()}


@dataclass(frozen=True)
class Free:
    """Text, a list of texts, or a mapping of texts, below a key of the user's own."""

    about: str

    def schema(self) -> Schema:
        scalar: Schema = {"type": SCALAR}
        kinds = [scalar, {"type": "array", "items": scalar}, {"type": "object", "additionalProperties": scalar}]
        return {"description": self.about, "anyOf": kinds}


@dataclass(frozen=True)
class Record:
    """A mapping with these keys and no others.

    ``rules`` say what else the value of the key ``by`` asks for: value -> (keys that must be there, keys that may not).
    """

    about: str
    keys: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    by: str = ""
    rules: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] | None = None

    def schema(self) -> Schema:
        made: Schema = {
            "description": self.about,
            "type": "object",
            "properties": {key: shape.schema() for key, shape in self.keys.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }
        if self.rules:
            made["allOf"] = [
                {
                    "if": {"properties": {self.by: {"const": value}}, "required": [self.by]},
                    "then": {"required": list(present), "properties": dict.fromkeys(absent, False)},
                }
                for value, (present, absent) in self.rules.items()
            ]
        return made


@dataclass(frozen=True)
class Entries:
    """A mapping whose keys are names of the user's own (``name``: what they look like), all with one shape."""

    about: str
    each: Shape
    name: Text | None = None

    def schema(self) -> Schema:
        made: Schema = {"description": self.about, "type": "object", "additionalProperties": self.each.schema()}
        if self.name:
            made["propertyNames"] = {"pattern": f"^(?:{self.name.pattern})$"}
        return made


@dataclass(frozen=True)
class Records:
    """A list of mappings, all with one shape."""

    about: str
    each: Record

    def schema(self) -> Schema:
        return {"description": self.about, "type": "array", "items": self.each.schema()}


Shape = Text | Texts | Free | Record | Records | Entries
