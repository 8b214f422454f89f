"""What a YAML file may contain, declared once: for reading it, for its defaults, and for its JSON Schema.

A YAML mapping is a frozen dataclass whose fields are made with ``key``; ``Object`` reads it. A plain field called
``name`` gets the mapping's name and one called ``where`` its ``file:line``. Every problem of a file is collected with
its line, and a harmless value is read in its place, so that one run lists them all.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.nodes import Node as YamlNode

from generator.errors import InputError, Problem, did_you_mean

Make = Callable[[str, Any, str], Any]
"""Name, value and ``file:line`` -> what is kept of a value."""
JsonSchema = dict[str, object]
"""JSON Schema, draft 7: the newest that yaml-language-server knows well."""
Param = str | tuple[str, ...] | tuple[tuple[str, str], ...]
"""A free value: text, a list of texts, or a mapping of texts as pairs in file order."""

_SCALAR: JsonSchema = {"type": ["string", "number", "boolean"]}
"""YAML's numbers and booleans are taken as they are written."""
_NAMED = re.compile(r"\$\{(\w+)\}")
DEEPEST, LARGEST = 50, 1_000_000
"""Levels and values of a YAML file."""


class Placed(str):
    """A text that knows its place, for what is wrong with it beside others."""

    where: str


def place_of(text: str, otherwise: str) -> str:
    """The ``file:line`` of a text that was read; of a default, ``otherwise``."""
    return text.where if isinstance(text, Placed) else otherwise


def unknown(
    name: str, known: Collection[str], where: str, wrong: str, otherwise: str | None = None
) -> Iterator[Problem]:
    """A problem if a name is not known: what is ``wrong``, and the known name that is near; else all of them, or what
    to say ``otherwise``."""
    if name not in known:
        listed = f"; known are {', '.join(known) or 'none'}" if otherwise is None else otherwise
        yield Problem(place_of(name, where), wrong + (did_you_mean(name, known) or listed))


class Node:
    """One value of a YAML file, with its place and the list that its problems go to.

    A value that begins on a later line than its ``key`` is where the key is.
    """

    def __init__(self, raw: YamlNode, problems: list[Problem], key: YamlNode | None = None) -> None:
        self.raw, self.problems = raw, problems
        mark = (key or raw).start_mark
        self.where = f"{mark.name}:{mark.line + 1}"

    def problem(self, message: str) -> None:
        self.problems.append(Problem(self.where, message))

    def scalar(self) -> str | None:
        """The text of a scalar; None for anything else."""
        return str(self.raw.value) if isinstance(self.raw, ScalarNode) and not _is_null(self.raw) else None

    def text(self) -> str:
        """The text of a scalar; "" and a problem for anything else."""
        text = self.scalar()
        if text is None:
            self._unexpected("text")
        return text or ""

    def items(self) -> list[Node]:
        """The items of a list; none and a problem for anything else."""
        if not isinstance(self.raw, SequenceNode):
            self._unexpected("a list")
            return []
        return [self._child(raw) for raw in self.raw.value]

    def entries(self) -> dict[str, Node] | None:
        """The entries of a mapping in file order; None and a problem for anything else.

        PyYAML accepts a key that comes twice; here it is a problem that names both lines.
        """
        if not isinstance(self.raw, MappingNode):
            self._unexpected("a mapping")
            return None
        entries: dict[str, Node] = {}
        for raw_key, raw_value in self.raw.value:
            node = self._child(raw_key)
            key = node.text()
            if key in entries:
                node.problem(f"{key} is set twice, first at {entries[key].where}")
            else:
                entries[key] = Node(raw_value, self.problems, raw_key)
        return entries

    def texts_below(self) -> Iterator[tuple[str, Node]]:
        """Every text in it, keys and values at any depth, with its place."""
        if isinstance(self.raw, ScalarNode):
            yield str(self.raw.value), self
        for raw in _children(self.raw):
            yield from self._child(raw).texts_below()

    def places(self, name: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
        """Every value with its path (``images.tool.from``): its text, and its place."""
        if isinstance(self.raw, MappingNode):
            for key, child in (self.entries() or {}).items():
                yield from child.places(f"{name}.{key}" if name else key)
        else:
            yield name, (" ".join(text for text, _ in self.texts_below()), self.where)

    def _child(self, raw: YamlNode) -> Node:
        return Node(raw, self.problems)

    def _unexpected(self, wanted: str) -> None:
        kind = "a list" if isinstance(self.raw, SequenceNode) else "a mapping"
        if isinstance(self.raw, ScalarNode):
            kind = "nothing" if _is_null(self.raw) else f'"{self.raw.value}"'
        self.problem(f"expected {wanted}, found {kind}")


def parse_yaml(text: str, file: str) -> Node:
    """The root of a YAML text. Raises InputError, with the line, if it is not YAML or is empty."""
    stream = io.StringIO(text)
    stream.name = file  # of the marks of its nodes
    try:
        raw = yaml.compose(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        raise InputError(Problem(place, f"not YAML: {error.problem or error.context}")) from error
    except yaml.YAMLError as error:
        raise InputError(Problem(file, f"not YAML: {' '.join(str(error).split())}")) from error
    except RecursionError:
        raise InputError(Problem(file, "not readable as YAML: nested too deeply")) from None
    if raw is None:
        raise InputError(Problem(file, "is empty"))
    _check_size(raw, file)
    return Node(raw, [])


def expand_matrix(entries: YamlNode, problems: list[Problem], others: Collection[str]) -> dict[str, list[str]]:
    """Replaces each entry of a mapping that has ``matrix`` by one for each suffix in it: ``tool`` by ``tool-a``, ….

    In their texts ``${suffix}`` and the names below the suffix stand for their values; ``others`` are filled in later.
    Returns the entries that were replaced, each with the names that it became.
    """
    if not isinstance(entries, MappingNode):
        return {}
    expanded, became = [], {}
    for key, value in entries.value:
        pairs = value.value if isinstance(value, MappingNode) else []
        matrix = next((Node(node, problems) for name, node in pairs if name.value == "matrix"), None)
        if matrix is None:
            expanded.append((key, value))
            continue
        rest = MappingNode(value.tag, [p for p in pairs if p[1] is not matrix.raw], value.start_mark, value.end_mark)
        suffixes = matrix.entries() or {}
        if suffixes and not rest.value:
            # else a file that extends another would change a matrix there without an effect
            wrong = f"matrix: {key.value} has nothing else, so no text uses its values; change the images themselves"
            problems.append(Problem(matrix.where, f"{wrong}, such as {key.value}{next(iter(suffixes))}"))
        became[str(key.value)] = [f"{key.value}{suffix}" for suffix in suffixes]
        values = {suffix: child.entries() for suffix, child in suffixes.items()}
        known = set[str]().union(*filter(None, values.values())).difference(others, ["suffix"])
        used = set[str]()
        for text, node in Node(rest, problems).texts_below():
            for name in _NAMED.findall(text):
                used |= {name} & known
                # what resembles none, or is in capitals, is a variable of a shell or of a Dockerfile
                unknown_here = name not in {*known, *others, "suffix"} and not name.isupper()
                if unknown_here and (near := did_you_mean(name, [*known, "suffix"])):
                    shell = f"a variable of a shell is written ${name}"
                    node.problem(f"matrix: no suffix of {key.value} defines ${{{name}}}{near} ({shell})")
        for suffix, named in values.items():
            for lacking in sorted(used.difference(known if named is None else named)):
                wrong = f"matrix: {key.value}{suffix} has no {lacking}, which ${{{lacking}}} needs"
                problems.append(Problem(suffixes[suffix].where, wrong + did_you_mean(lacking, named or ())))
            names = {"suffix": suffix, **{name: node.text() for name, node in (named or {}).items()}}
            name = ScalarNode(key.tag, f"{key.value}{suffix}", key.start_mark, key.end_mark)
            expanded.append((name, _filled(rest, names)))
    entries.value = expanded
    return became


def _filled(raw: YamlNode, names: Mapping[str, str]) -> YamlNode:
    """A copy of a node, its texts with the values of ``${name}``."""
    filled = copy(raw)
    if isinstance(raw, ScalarNode):
        filled.value = _NAMED.sub(lambda match: names.get(match[1], match[0]), str(raw.value))
    elif isinstance(raw, MappingNode):
        filled.value = [(_filled(key, names), _filled(value, names)) for key, value in raw.value]
    else:
        filled.value = [_filled(child, names) for child in raw.value]
    return filled


def merged_yaml(below: Node, above: Node) -> Node:
    """Two texts in one: of mappings in both, each key; else what is ``above``. A key that is null above is dropped."""

    def merge(first: YamlNode, second: YamlNode) -> YamlNode:
        if not isinstance(first, MappingNode) or not isinstance(second, MappingNode):
            return second
        pairs = {str(key.value): (key, value) for key, value in first.value}
        # a key that is there twice is a problem, which is lost once it is merged
        for mapping in (first, second):
            Node(mapping, above.problems).entries()
        for key, value in second.value:
            name = str(key.value)
            if isinstance(value, ScalarNode) and _is_null(value) and name in pairs:
                del pairs[name]
            else:
                pairs[name] = (key, merge(pairs[name][1], value) if name in pairs else value)
        return MappingNode(second.tag, list(pairs.values()), second.start_mark, second.end_mark)

    return Node(merge(below.raw, above.raw), above.problems)


def _check_size(root: YamlNode, file: str) -> None:
    """Raises InputError for what is nested too deeply or is too large once its aliases are filled in.

    An alias may stand for what it is part of, or, ten times ten, for more than fits into memory.
    """
    measured: dict[int, tuple[int, int]] = {}

    def measure(node: YamlNode, depth: int) -> tuple[int, int]:
        """Its nodes, itself included, and its height."""
        if id(node) not in measured:
            below = [measure(child, depth + 1) for child in _children(node)] if depth < DEEPEST else []
            height = 1 + max((height for _, height in below), default=0)
            measured[id(node)] = 1 + sum(nodes for nodes, _ in below), height
        nodes, height = measured[id(node)]
        if depth + height > DEEPEST or nodes > LARGEST:
            wrong = f"more than {LARGEST} values, including those behind aliases"
            if depth + height > DEEPEST:
                wrong = "nested too deeply, or an alias that contains itself"
            raise InputError(Problem(f"{file}:{node.start_mark.line + 1}", f"not readable as YAML: {wrong}"))
        return nodes, height

    measure(root, 0)


@dataclass(frozen=True)
class Shape(ABC):
    """What one value may be; ``about`` tells people what it is. ``make`` builds what is kept of the value."""

    about: str
    make: Make | None = field(default=None, kw_only=True)
    empty: ClassVar[Any] = None
    """the value of an absent key"""

    def read(self, node: Node, name: str = "") -> Any:
        """The value of a node that is called ``name``; what is wrong with it becomes a problem."""
        value = self._value(node, name)
        return self.make(name, value, node.where) if self.make else value

    def schema(self) -> JsonSchema:
        return {"description": self.about, **self._schema()}

    @abstractmethod
    def _value(self, node: Node, name: str) -> Any: ...

    @abstractmethod
    def _schema(self) -> JsonSchema: ...


@dataclass(frozen=True)
class Text(Shape):
    """A scalar, read as text. ``pattern`` is for the whole text, in what Python's and ECMA-262's expressions share.

    ``wrong`` completes the message '"TEXT" …'. ``parse`` makes the value of the text and raises ValueError for what no
    pattern can say; the JSON Schema lacks it.
    """

    pattern: str = ""
    wrong: str = ""
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] = lambda text: text
    empty = ""

    def parsed(self, text: str) -> Any:
        """The value of a text. Raises ValueError that says what is wrong with it."""
        if self.choices and text not in self.choices:
            near = did_you_mean(text, self.choices)
            raise ValueError(f'"{text}" {self.wrong}: {", ".join(self.choices)}{near}')
        if self.pattern and not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f'"{text}" {self.wrong}')
        return self.parse(text)

    def _value(self, node: Node, name: str) -> Any:
        text = Placed(node.text())
        text.where = node.where
        try:
            return text if node.scalar() is None else self.parsed(text)
        except ValueError as error:
            node.problem(str(error))
            return text

    def _schema(self) -> JsonSchema:
        if self.choices:
            return {"enum": list(self.choices)}
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"} if self.pattern else _SCALAR


@dataclass(frozen=True)
class ListOf(Shape):
    item: Shape
    empty = ()

    def _value(self, node: Node, name: str) -> tuple[Any, ...]:
        return tuple(self.item.read(child) for child in node.items())

    def _schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.schema()}


@dataclass(frozen=True)
class MapOf(Shape):
    """A mapping whose keys are names of the user's own, all with one kind of value; read as a tuple of the values."""

    value: Shape
    key: Text = Text("any text")
    empty = ()

    def _value(self, node: Node, name: str) -> tuple[Any, ...]:
        entries = node.entries() or {}
        for key, child in entries.items():
            try:
                self.key.parsed(key)
            except ValueError as error:
                child.problem(str(error))
        return tuple(self.value.read(child, key) for key, child in entries.items())

    def _schema(self) -> JsonSchema:
        names = {"propertyNames": {"pattern": f"^(?:{self.key.pattern})$"}} if self.key.pattern else {}
        return {"type": "object", "additionalProperties": self.value.schema(), **names}


@dataclass(frozen=True)
class Free(Shape):
    """Text, a list of texts, or a mapping of texts."""

    empty = ""

    def _value(self, node: Node, name: str) -> Param:
        if isinstance(node.raw, SequenceNode):
            return tuple(child.text() for child in node.items())
        if isinstance(node.raw, MappingNode):
            return tuple((key, child.text()) for key, child in (node.entries() or {}).items())
        return node.text()

    def _schema(self) -> JsonSchema:
        array, mapping = {"type": "array", "items": _SCALAR}, {"type": "object", "additionalProperties": _SCALAR}
        return {"anyOf": [_SCALAR, array, mapping]}


def key(shape: Shape, name: str = "", *, required: bool = False, default: Any = None) -> Any:
    """A dataclass field that is read from a key, called as the field (``fetch_in`` is ``fetch-in``) unless ``name``
    says otherwise. ``default`` is for an absent key: by default None if the shape makes something of its value, else
    the shape's empty value."""
    if default is None and shape.make is None:
        default = shape.empty
    return field(default=default, metadata={"key": name, "shape": shape, "required": required})


@dataclass(frozen=True)
class Object(Shape):
    """A mapping with the keys that the fields of the dataclass ``into`` declare and no others.

    ``rules`` say what else the value of the key ``by`` asks for: value -> (keys that must be there, keys that may not).
    ``check`` looks at the whole node. Of the keys ``one_of`` exactly one must be there.
    """

    into: Any
    by: str = ""
    one_of: tuple[str, ...] = ()
    rules: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    check: Callable[[Node], object] = lambda node: None

    @cached_property
    def keys(self) -> dict[str, Field[Any]]:
        """Key in YAML -> the field that is read from it, in the order of the fields."""
        declared = [f for f in fields(self.into) if f.metadata]
        return {f.metadata["key"] or f.name.strip("_").replace("_", "-"): f for f in declared}

    @cached_property
    def required(self) -> list[str]:
        return [name for name, f in self.keys.items() if f.metadata["required"]]

    def _value(self, node: Node, name: str) -> Any:
        entries = node.entries()
        if entries is not None:
            self._check_keys(node, entries)
            self.check(node)
        given = {"name": name, "where": node.where}
        values = {f.name: given[f.name] for f in fields(self.into) if f.name in given and not f.metadata}
        for yaml_key, child in (entries or {}).items():
            if f := self.keys.get(yaml_key):
                values[f.name] = f.metadata["shape"].read(child, yaml_key)
        return self.into(**values)

    def _check_keys(self, node: Node, entries: Mapping[str, Node]) -> None:
        for name, child in entries.items():
            if name not in self.keys:
                known = f"; known are {', '.join(self.keys)}"
                child.problem(f"{name}: unknown key{did_you_mean(name, self.keys) or known}")
        choice = (entries[self.by].scalar() if self.by in entries else None) or ""
        present, absent = self.rules.get(choice, ((), ()))
        for name in (*self.required, *present):
            if name not in entries:
                node.problem(f"{name}: missing")
        if self.one_of and len(entries.keys() & set(self.one_of)) != 1:
            node.problem(f"expected one of {', '.join(self.one_of)}")
        for name in absent:
            if name in entries:
                entries[name].problem(f"{name}: an image of {self.by} {choice} has none")

    def _schema(self) -> JsonSchema:
        rules = [
            {
                "if": {"properties": {self.by: {"const": value}}, "required": [self.by]},
                "then": {"required": list(present), "properties": dict.fromkeys(absent, False)},
            }
            for value, (present, absent) in self.rules.items()
        ]
        return {
            "type": "object",
            "properties": {name: f.metadata["shape"].schema() for name, f in self.keys.items()},
            "required": self.required,
            "additionalProperties": False,
            **({"allOf": rules} if rules else {}),
            **({"oneOf": [{"required": [name]} for name in self.one_of]} if self.one_of else {}),
        }


def _children(raw: YamlNode) -> list[YamlNode]:
    """The items of a list; the keys and values of a mapping."""
    if isinstance(raw, MappingNode):
        return [child for pair in raw.value for child in pair]
    return list(raw.value) if isinstance(raw, SequenceNode) else []


def _is_null(raw: ScalarNode) -> bool:
    return str(raw.tag).endswith(":null")
