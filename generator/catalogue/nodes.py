"""YAML read strictly, with a line for every problem: unknown, missing and duplicate keys, wrong types.

PyYAML composes nodes that carry ``start_mark`` (zero-based line and column); duplicate keys pass it silently, so they
are looked for here. Readers collect problems and return a harmless value, so that one run lists everything.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.nodes import Node as YamlNode

from generator.catalogue.shapes import Entries, Record, Text, Texts
from generator.errors import Problem, did_you_mean

Param = str | tuple[str, ...] | tuple[tuple[str, str], ...]
"""A free value: text, a list of texts, or a mapping of texts as pairs in file order."""


class Node:
    """One value of a YAML file, its place, and where problems go."""

    def __init__(self, raw: YamlNode, file: str, problems: list[Problem]) -> None:
        self._raw = raw
        self._file = file
        self._problems = problems

    @property
    def where(self) -> str:
        return f"{self._file}:{self._raw.start_mark.line + 1}"

    def problem(self, message: str) -> None:
        self._problems.append(Problem(self.where, message))

    def text(self, shape: Text | None = None) -> str:
        """The text of a scalar; numbers and booleans are taken as they are written."""
        if not isinstance(self._raw, ScalarNode) or self._raw.tag.endswith(":null"):
            self.problem(f"expected text, found {_kind(self._raw)}")
            return ""
        value = str(self._raw.value)
        if shape is not None and (wrong := shape.problem(value)):
            self.problem(wrong)
        return value

    def scalar(self) -> str:
        """The text of a scalar; "" for anything else, without a problem."""
        return str(self._raw.value) if isinstance(self._raw, ScalarNode) else ""

    def items(self) -> list[Node]:
        if not isinstance(self._raw, SequenceNode):
            self.problem(f"expected a list, found {_kind(self._raw)}")
            return []
        return [Node(child, self._file, self._problems) for child in self._raw.value]

    def pairs(self) -> list[tuple[str, Node]]:
        """The entries of a mapping in file order; a key that comes twice is a problem that names both lines."""
        if not isinstance(self._raw, MappingNode):
            self.problem(f"expected a mapping, found {_kind(self._raw)}")
            return []
        seen: dict[str, Node] = {}
        for raw_key, raw_value in self._raw.value:
            key_node = Node(raw_key, self._file, self._problems)
            key = key_node.text()
            if key in seen:
                key_node.problem(f"{key} is here twice: first at {seen[key].where}")
            else:
                seen[key] = Node(raw_value, self._file, self._problems)
        return list(seen.items())

    def texts_below(self) -> Iterator[tuple[str, Node]]:
        """Every text in it, keys and values at any depth, with its place."""
        if isinstance(self._raw, ScalarNode):
            yield str(self._raw.value), self
        elif isinstance(self._raw, SequenceNode):
            for child in self._raw.value:
                yield from Node(child, self._file, self._problems).texts_below()
        else:
            for pair in self._raw.value:
                for child in pair:
                    yield from Node(child, self._file, self._problems).texts_below()

    def param(self) -> Param:
        if isinstance(self._raw, SequenceNode):
            return tuple(child.text() for child in self.items())
        if isinstance(self._raw, MappingNode):
            return tuple((key, child.text()) for key, child in self.pairs())
        return self.text()

    def mapping(self, record: Record) -> Mapping:
        """A mapping as its record has it; each difference is a problem."""
        entries = dict(self.pairs())
        if isinstance(self._raw, MappingNode):
            for key, child in entries.items():
                if key not in record.keys:
                    listed = "; known are " + ", ".join(record.keys) if record.keys else "; none is known here"
                    child.problem(f"{key}: unknown key{did_you_mean(key, record.keys) or listed}")
            for key in record.required:
                if key not in entries:
                    self.problem(f"{key}: missing")
            self._check_rules(record, entries)
        return Mapping(entries, record)

    def _check_rules(self, record: Record, entries: dict[str, Node]) -> None:
        chosen = entries[record.by].scalar() if record.by in entries else ""
        present, absent = (record.rules or {}).get(chosen, ((), ()))
        for key in present:
            if key not in entries:
                self.problem(f"{key}: missing")
        for key in absent:
            if key in entries:
                entries[key].problem(f"{key}: an image of {record.by} {chosen} has none")


class Mapping:
    """The entries of one mapping, read by key and type; an absent key gives the default."""

    def __init__(self, entries: dict[str, Node], record: Record) -> None:
        self._entries = entries
        self._record = record

    def child(self, key: str) -> Node | None:
        assert key in self._record.keys
        return self._entries.get(key)

    def text(self, key: str, *, default: str = "") -> str:
        shape = self._record.keys[key]
        assert isinstance(shape, Text)
        node = self._entries.get(key)
        return default if node is None else node.text(shape)

    def texts(self, key: str) -> tuple[str, ...]:
        shape = self._record.keys[key]
        assert isinstance(shape, Texts)
        node = self._entries.get(key)
        return () if node is None else tuple(child.text(shape.item) for child in node.items())

    def pairs(self, key: str) -> list[tuple[str, str, str]]:
        """Name, text and place of each entry below ``key``, all of which are texts."""
        shape = self._record.keys[key]
        assert isinstance(shape, Entries) and isinstance(shape.each, Text)
        each, names, found = shape.each, shape.name, []
        for name, child in self.entries(key):
            if names is not None and (wrong := names.problem(name)):
                child.problem(wrong)
            found.append((name, child.text(each), child.where))
        return found

    def entries(self, key: str) -> list[tuple[str, Node]]:
        node = self.child(key)
        return [] if node is None else node.pairs()


def parse_yaml(text: str, file: str, problems: list[Problem]) -> Node | None:
    """The root of a YAML text; None with a problem that names the line where it is not YAML or is empty."""
    try:
        raw = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problems.append(Problem(f"{file}{line}", f"not YAML: {error.problem or error.context}"))
        return None
    except yaml.YAMLError as error:
        problems.append(Problem(file, f"not YAML: {' '.join(str(error).split())}"))
        return None
    except RecursionError:
        problems.append(Problem(file, "not YAML that can be read: nested too deeply"))
        return None
    if raw is None:
        problems.append(Problem(file, "is empty"))
        return None
    return Node(raw, file, problems)


def _kind(raw: YamlNode) -> str:
    if isinstance(raw, ScalarNode):
        return "nothing" if raw.tag.endswith(":null") else f'"{raw.value}"'
    return "a list" if isinstance(raw, SequenceNode) else "a mapping"
