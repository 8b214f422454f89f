"""What the catalogue asks of one image, each part with its line in the catalogue; ``generator.verify`` checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from generator.catalogue.contract_shape import CONTRACT, FILE, RUN, STARTED
from generator.catalogue.nodes import Mapping as Entries
from generator.catalogue.nodes import Node
from generator.errors import did_you_mean

T = TypeVar("T")
NAMES = ("image", "release", "tag", "source")
_NAME = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Item:
    """A text that is asked for: a pattern, a port, a workdir."""

    name: str
    where: str


@dataclass(frozen=True)
class Pair:
    """A name and what it is to be: a label, a variable, a path that is mounted, a path that may not be there."""

    name: str
    value: str
    where: str


@dataclass(frozen=True)
class Words:
    """A command."""

    words: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class File:
    """A path and what it is to be; "" asks for nothing. ``mode`` is octal, ``owner`` is ``uid:gid``."""

    name: str
    type: str
    mode: str
    owner: str
    target: str
    where: str


@dataclass(frozen=True)
class Run:
    """A command that ends with 0 and prints what the expression finds; ``within`` is in seconds."""

    name: str
    words: tuple[str, ...]
    prints: str
    within: float
    where: str


@dataclass(frozen=True)
class Started:
    """How an image is started alone: the ports that accept ``within`` seconds, the variables that it gets.

    ``traces``: the expression that stack traces have which it may log, alone as it is; "" allows none.
    """

    answers: tuple[Item, ...]
    within: float
    environment: tuple[Pair, ...]
    where: str
    traces: str = ""


@dataclass(frozen=True)
class Contract:
    """All that is asked of one image; None and empty tuples ask for nothing, but for ``setuid``: what may be so.

    ``where`` is the line of the image's own contract.
    """

    where: str = ""
    files: tuple[File, ...] = ()
    mounted: tuple[Pair, ...] = ()
    absent: tuple[Pair, ...] = ()
    setuid: tuple[Item, ...] = ()
    user: Item | None = None
    workdir: Item | None = None
    ports: tuple[Item, ...] = ()
    labels: tuple[Pair, ...] = ()
    environment: tuple[Pair, ...] = ()
    command: Words | None = None
    entrypoint: Words | None = None
    size: Item | None = None
    runs: tuple[Run, ...] = ()
    started: Started | None = None


def read_contract(node: Node, known: Mapping[str, Contract]) -> Contract:
    """A contract and, before it, those that it ``is``; ``known`` has them by name."""
    m = node.mapping(CONTRACT)
    found = Contract()
    child = m.child("is")
    for name, item in zip(m.texts("is"), child.items() if child else (), strict=False):
        if name in known:
            found = merged(found, known[name])
        else:
            item.problem(f"unknown contract {name}{did_you_mean(name, known)}")
    return merged(found, _own(m, node))


def merged(first: Contract, then: Contract) -> Contract:
    """Both; where they say two things of one name, the second."""

    def join(name: str) -> Any:
        one, two = getattr(first, name), getattr(then, name)
        if isinstance(one, tuple) and name != "ports":
            return tuple({item.name: item for item in (*one, *two)}.values())
        return two or one

    return Contract(**{field.name: join(field.name) for field in fields(Contract)})


def filled(contract: Contract, values: Mapping[str, str]) -> Contract:
    """The contract of one image: ``${image}`` and the like are what ``values`` says, paths are absolute."""
    full = cast(Contract, _replaced(contract, values))
    home = full.workdir.name if full.workdir else "/"

    def below(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            replace(i, name=i.name if i.name.startswith("/") else f"{home.rstrip('/')}/{i.name}") for i in items
        )

    return replace(
        full,
        files=below(full.files),
        mounted=below(full.mounted),
        absent=below(full.absent),
        setuid=below(full.setuid),
    )


def _replaced(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _NAME.sub(lambda match: values.get(match[1], match[0]), value)
    if isinstance(value, tuple):
        return tuple(_replaced(one, values) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _replaced(getattr(value, f.name), values) for f in fields(value) if f.name != "where"}
        return replace(value, **changed)
    return value


def _own(m: Entries, node: Node) -> Contract:
    _check_names(m, node)
    started = m.child("started")
    return Contract(
        where=node.where,
        files=tuple(_file(name, child) for name, child in m.entries("files")),
        mounted=_pairs(m, "mounted"),
        absent=_pairs(m, "absent"),
        setuid=_items(m, "setuid"),
        user=_item(m, "user"),
        workdir=_item(m, "workdir"),
        ports=_items(m, "ports"),
        labels=_pairs(m, "labels"),
        environment=_pairs(m, "environment"),
        command=_words(m, "command"),
        entrypoint=_words(m, "entrypoint"),
        size=_item(m, "size"),
        runs=tuple(_run(name, child) for name, child in m.entries("runs")),
        started=_started(started) if started else None,
    )


def _check_names(m: Entries, node: Node) -> None:
    """``${…}`` in any text of it: a name that stands for nothing would be looked for as it is written."""
    for text, child in node.texts_below():
        for name in _NAME.findall(text):
            if name not in NAMES:
                child.problem(
                    f"${{{name}}} stands for nothing{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}"
                )


def _items(m: Entries, key: str) -> tuple[Item, ...]:
    node = m.child(key)
    return tuple(
        Item(text, child.where) for text, child in zip(m.texts(key), node.items() if node else (), strict=False)
    )


def _item(m: Entries, key: str) -> Item | None:
    node = m.child(key)
    return Item(m.text(key), node.where) if node else None


def _words(m: Entries, key: str) -> Words | None:
    node = m.child(key)
    return Words(m.texts(key), node.where) if node else None


def _pairs(m: Entries, key: str) -> tuple[Pair, ...]:
    return tuple(Pair(name, text, where) for name, text, where in m.pairs(key))


def _file(name: str, node: Node) -> File:
    m = node.mapping(FILE)
    return File(name, m.text("type"), m.text("mode"), m.text("owner"), m.text("target"), node.where)


def _run(name: str, node: Node) -> Run:
    m = node.mapping(RUN)
    return Run(name, m.texts("command"), m.text("prints"), _number(m.text("within"), 120), node.where)


def _started(node: Node) -> Started:
    m = node.mapping(STARTED)
    within, traces = _number(m.text("within"), 60), m.text("traces")
    return Started(_items(m, "answers"), within, _pairs(m, "environment"), node.where, traces)


def _number(text: str, default: float) -> float:
    return float(text) if text.isdigit() else default


def derived(contract: Contract, params: Sequence[tuple[str, Node]]) -> Contract:
    """The contract with what ``with:`` says already, where it says nothing itself: ``port`` and ``command``."""
    by_name = dict(params)
    if not contract.ports and "port" in by_name and isinstance(port := by_name["port"].param(), str):
        contract = replace(contract, ports=(Item(port, by_name["port"].where),))
    words = by_name["command"].param() if "command" in by_name and contract.command is None else ()
    if isinstance(words, tuple) and words and all(isinstance(word, str) for word in words):
        contract = replace(contract, command=Words(cast("tuple[str, ...]", words), by_name["command"].where))
    return contract
