"""What the catalogue asks of one image, each part with its line; ``generator.verify`` checks images against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

from generator.catalogue.schema import ListOf, MapOf, Node, Object, Param, Text, key
from generator.errors import Problem, did_you_mean

NAMES = ("image", "release", "tag", "source")
"""What ``${…}`` may name in a contract."""
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


def as_item(name: str, text: str, where: str) -> Item:
    return Item(text, where)


def _as_words(name: str, words: tuple[str, ...], where: str) -> Words:
    return Words(words, where)


def _as_seconds(name: str, text: str, where: str) -> float:
    return float(text) if not _check_seconds(text) else 0.0


def _check_seconds(text: str) -> str:
    return "" if text.isdecimal() and text.isascii() else f'"{text}" is not a number of seconds'


def _check_port(text: str) -> str:
    return "" if text.isdecimal() and 0 < int(text) < 65536 else f'"{text}" is not a port'


def _check_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return f'"{text}" is not a regular expression ({error})'
    return ""


_PATH = Text(
    "a path in the image, below its workdir unless it begins with /; * and ? stand for no /, ** for anything",
    pattern=r"[^\s].*",
    wrong="is not a path",
)
_VALUE = Text("its value, in which * stands for anything", make=Pair)
_PORT = Text("a TCP port", check=_check_port, make=as_item)
WORD = Text("a word")
PRINTS = Text("a regular expression that is found in what it prints", check=_check_expression)
WITHIN = Text("seconds; default: 120", check=_check_seconds, make=_as_seconds)


@dataclass(frozen=True)
class File:
    """A path and what it is to be; "" asks for nothing."""

    name: str
    type: str = key(Text("what it is", choices=("file", "directory", "link"), wrong="is no type of a path"))
    mode: str = key(
        Text("its permissions, in octal digits", pattern="[0-7]{3,4}", wrong='is not a mode, such as "644"')
    )
    owner: str = key(
        Text("its numbers of user and group", pattern="[0-9]+:[0-9]+", wrong='is not an owner, such as "0:0"')
    )
    target: str = key(Text("what a link points to, as it is written in the link; * stands for anything but /"))
    where: str = ""


@dataclass(frozen=True)
class Run:
    """A command that ends with 0 and prints what the expression finds; ``within`` is in seconds."""

    name: str
    words: tuple[str, ...] = key(ListOf("the command, in place of the image's own", WORD), "command", required=True)
    prints: str = key(PRINTS)
    within: float = key(WITHIN, default=120.0)
    where: str = ""


@dataclass(frozen=True)
class Started:
    """How an image is started alone: the ports that accept ``within`` seconds, the variables that it gets.

    ``traces`` is the expression that the stack traces have which it may log, alone as it is; "" allows none.
    """

    answers: tuple[Item, ...] = key(ListOf("the ports that accept; default: ports", _PORT))
    within: float = key(
        Text("seconds until they do; default: 60", check=_check_seconds, make=_as_seconds), default=60.0
    )
    environment: tuple[Pair, ...] = key(MapOf("variables that the container gets", Text("its value", make=Pair)))
    traces: str = key(
        Text("an expression in the stack traces that it may log, alone as it is", check=_check_expression)
    )
    where: str = ""


@dataclass(frozen=True)
class Contract:
    """All that is asked of one image; None and empty tuples ask for nothing, but for ``setuid``: what may be so.

    ``where`` is the line of the image's own contract.
    """

    is_: tuple[Item, ...] = key(
        ListOf(
            "contracts that it has too; what is said here comes before them",
            Text("a name below contracts", make=as_item),
        )
    )
    files: tuple[File, ...] = key(
        MapOf("what has to be there", Object("what the path is; nothing here: it is there", File), _PATH)
    )
    mounted: tuple[Pair, ...] = key(
        MapOf(
            "configuration that is mounted over: it is there, and a directory is tried read-only",
            Text("how", choices=("file", "directory"), wrong="is no kind of a mount", make=Pair),
            _PATH,
        )
    )
    absent: tuple[Pair, ...] = key(
        MapOf("what may not be there", Text("what it would be; users are told", make=Pair), _PATH)
    )
    setuid: tuple[Item, ...] = key(
        ListOf("what may be setuid or setgid; anything else may not", replace(_PATH, make=as_item))
    )
    user: Item | None = key(Text('the user that it runs as; "" is root', make=as_item))
    workdir: Item | None = key(
        Text("the directory that it runs in", pattern="/.*", wrong="is not an absolute path", make=as_item)
    )
    ports: tuple[Item, ...] = key(ListOf("all ports that it exposes; default: the port below with", _PORT))
    labels: tuple[Pair, ...] = key(MapOf("labels", _VALUE))
    environment: tuple[Pair, ...] = key(MapOf("environment variables", _VALUE))
    command: Words | None = key(ListOf("the exact command; default: the command below with", WORD, make=_as_words))
    entrypoint: Words | None = key(ListOf("the exact entrypoint", WORD, make=_as_words))
    size: Item | None = key(
        Text(
            "the most that its layers may hold, unpacked",
            pattern="[0-9]+ ?(?:MB|GB)",
            wrong="is not a size, such as 300 MB or 2 GB",
            make=as_item,
        )
    )
    runs: tuple[Run, ...] = key(
        MapOf(
            "commands that are run",
            Object(
                "a command that is run in a container of the image, without network, and has to end with 0",
                Run,
            ),
        )
    )
    started: Started | None = key(Object("how the image is started alone, and what it does then", Started))
    where: str = ""


def _check_names(node: Node) -> None:
    """``${…}`` in any text of it: a name that stands for nothing would be looked for as it is written."""
    for text, child in node.texts_below():
        for name in _NAME.findall(text):
            if name not in NAMES:
                child.problem(
                    f"${{{name}}} stands for nothing{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}"
                )


CONTRACT = Object(
    "what an image has to show: fategen verify checks it; ${image}, ${release}, ${tag} and ${source} (the URL of its "
    "home) stand for the image's own",
    Contract,
    check=_check_names,
)


def resolved(contract: Contract, known: Mapping[str, Contract], problems: list[Problem]) -> Contract:
    """The contract merged with those that it ``is``, which ``known`` has by name."""
    below = Contract()
    for item in contract.is_:
        if item.name in known:
            below = merged(below, known[item.name])
        else:
            problems.append(Problem(item.where, f"unknown contract {item.name}{did_you_mean(item.name, known)}"))
    return merged(below, replace(contract, is_=()))


def merged(first: Contract, then: Contract) -> Contract:
    """Both; where they say two things of one name, the second."""

    def join(name: str) -> Any:
        before, after = getattr(first, name), getattr(then, name)
        if isinstance(before, tuple) and name != "ports":
            return tuple({item.name: item for item in (*before, *after)}.values())
        return after or before

    return Contract(**{field.name: join(field.name) for field in fields(Contract)})


def derived(contract: Contract, params: Mapping[str, tuple[Param, str]]) -> Contract:
    """The contract with what ``with:`` says already, where it says nothing itself: ``port`` and ``command``.

    ``params`` has the values of ``with:`` and their places.
    """
    port, where = params.get("port", ((), ""))
    if not contract.ports and isinstance(port, str):
        contract = replace(contract, ports=(Item(port, where),))
    words, where = params.get("command", ("", ""))
    if contract.command is None and isinstance(words, tuple) and words and all(isinstance(word, str) for word in words):
        contract = replace(contract, command=Words(cast("tuple[str, ...]", words), where))
    return contract


def filled(contract: Contract, values: Mapping[str, str]) -> Contract:
    """The contract of one image: ``${image}`` and the like are what ``values`` says, paths are absolute."""
    full = cast(Contract, _replaced(contract, values))
    workdir = full.workdir.name.rstrip("/") if full.workdir else ""

    def below(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(i if i.name.startswith("/") else replace(i, name=f"{workdir}/{i.name}") for i in items)

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
        return tuple(_replaced(item, values) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _replaced(getattr(value, f.name), values) for f in fields(value) if f.name != "where"}
        return replace(value, **changed)
    return value
