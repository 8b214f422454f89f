"""The contract of an image: what it must have and do, each part with its line. ``generator.verify`` checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar, cast

from generator.catalogue.schema import ListOf, MapOf, Node, Object, Param, Text, key, unknown
from generator.config.reference import is_port
from generator.errors import Problem, did_you_mean

T = TypeVar("T")
NAMES = ("image", "release", "tag", "source")
"""What ``${…}`` may name in a contract."""
_NAME = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Item:
    """A text that the image must have: a pattern, a port, a workdir."""

    name: str
    where: str


@dataclass(frozen=True)
class Named(Generic[T]):
    """A named value, and where it is written: a label, a variable, a command, all ports, a value for a template."""

    name: str
    value: T
    where: str


def as_item(name: str, text: str, where: str) -> Item:
    return Item(text, where)


def _seconds(text: str) -> float:
    if not re.fullmatch("[0-9]+", text):
        raise ValueError(f'"{text}" is not a number of seconds')
    return float(text)


def _tcp_port(text: str) -> str:
    if not is_port(text):
        raise ValueError(f'"{text[:20]}" is not a TCP port')
    return text


def _port(text: str) -> str:
    number, slash, protocol = text.partition("/")
    if not is_port(number) or (slash and protocol not in ("tcp", "udp", "sctp")):
        raise ValueError(f'"{text[:20]}" is not a port, such as 8080 or 53/udp')
    return text


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f'"{text}" is not a regular expression ({error})') from None
    return text


_PATH = Text(
    "a path in the image, relative to its workdir unless it begins with /; * and ? match anything but /, "
    "** matches anything",
    pattern=r"[^\s].*",
    wrong="is not a path",
)
_VALUE = Text("its value; * matches anything", make=Named)
_PORT = Text("a port, such as 8080 or 53/udp", parse=_port, make=as_item)
_TCP_PORT = Text("a TCP port", parse=_tcp_port, make=as_item)
WORD = Text("a word")
PRINTS = Text("a regular expression that its output must match", parse=_expression)
WITHIN = Text("seconds; default: 120", parse=_seconds)


@dataclass(frozen=True)
class File:
    """A path and what it must be; "" allows anything."""

    name: str
    type: str = key(Text("the type of the path", choices=("file", "directory", "link"), wrong="is not a type of path"))
    mode: str = key(Text("its permissions, in octal digits", "[0-7]{3,4}", 'is not a mode, such as "644"'))
    owner: str = key(Text("its numeric user and group", "[0-9]+:[0-9]+", 'is not an owner, such as "0:0"'))
    target: str = key(Text("the target of a link, as written in the link; * matches anything but /"))
    where: str = ""


@dataclass(frozen=True)
class Run:
    """A command that must exit with 0 and print what the expression matches, ``within`` seconds."""

    name: str
    words: tuple[str, ...] = key(ListOf("the command, instead of the image's own", WORD), "command", required=True)
    prints: str = key(PRINTS)
    within: float = key(WITHIN, default=120.0)
    where: str = ""


@dataclass(frozen=True)
class Started:
    """How an image starts on its own: the ports that must accept ``within`` seconds, and its environment variables.

    ``traces`` is an expression for the stack traces that it may log; "" allows none. An image that ``needs`` something
    is not started.
    """

    needs: str = key(Text("another service that it needs, such as a database; it is then not started on its own"))
    answers: tuple[Item, ...] = key(ListOf("ports that must accept connections; default: ports", _TCP_PORT))
    within: float = key(replace(WITHIN, about="seconds until they accept them; default: 120"), default=120.0)
    environment: tuple[Named[str], ...] = key(
        MapOf("environment variables of the container", Text("its value", make=Named))
    )
    traces: str = key(
        replace(PRINTS, about="a regular expression for stack traces that it may log when it starts on its own")
    )
    where: str = ""


_FILE = Object("requirements for the path; an empty mapping: the path exists", File)
_INCLUDED = Text("a name in contracts", make=as_item)
_MOUNT = Text("how", choices=("file", "directory"), wrong="is not a kind of mount", make=Named)
_LEFTOVER = Text("a description of the unwanted file, for the message", make=Named)
_WORKDIR = Text("its working directory", "/.*", "is not an absolute path", make=as_item)
_SIZE = Text(
    "the maximum total size of its layers, unpacked",
    "[0-9]+ ?(?:MB|GB)",
    "is not a size, such as 300 MB or 2 GB",
    make=as_item,
)
_RUN = Object("a command that runs in a container of the image, without network; it must exit with 0", Run)


@dataclass(frozen=True)
class Contract:
    """What one image must have and do. None and empty tuples allow anything.

    ``where`` is the line of the image's own contract.
    """

    is_: tuple[Item, ...] = key(ListOf("contracts to include; keys written here override them", _INCLUDED))
    files: tuple[File, ...] = key(MapOf("files that must exist", _FILE, _PATH))
    mounted: tuple[Named[str], ...] = key(
        MapOf(
            "paths that deployments mount over: they exist, and the image starts with a read-only directory",
            _MOUNT,
            _PATH,
        )
    )
    absent: tuple[Named[str], ...] = key(MapOf("files that must not exist", _LEFTOVER, _PATH))
    setuid: Named[tuple[Item, ...]] | None = key(
        ListOf("the only files that may be setuid or setgid", replace(_PATH, make=as_item), make=Named)
    )
    user: Item | None = key(Text('the user; "" is root', make=as_item))
    workdir: Item | None = key(_WORKDIR)
    ports: Named[tuple[Item, ...]] | None = key(
        ListOf("all ports that it exposes; default: the port in with", _PORT, make=Named)
    )
    labels: tuple[Named[str], ...] = key(MapOf("labels", _VALUE))
    environment: tuple[Named[str], ...] = key(MapOf("environment variables", _VALUE))
    command: Named[tuple[str, ...]] | None = key(
        ListOf("the exact command; default: the command in with", WORD, make=Named)
    )
    entrypoint: Named[tuple[str, ...]] | None = key(ListOf("the exact entrypoint", WORD, make=Named))
    size: Item | None = key(_SIZE)
    runs: tuple[Run, ...] = key(MapOf("commands to run", _RUN))
    started: Started | None = key(Object("how the image starts on its own", Started))
    where: str = ""

    @property
    def answering(self) -> tuple[Item, ...]:
        """The TCP ports that must accept connections once the image is started on its own."""
        if self.started and (self.started.needs or self.started.answers):
            return () if self.started.needs else self.started.answers
        split = [(port, *port.name.partition("/")) for port in (self.ports.value if self.ports else ())]
        return tuple(replace(port, name=number) for port, number, _, protocol in split if protocol in ("", "tcp"))


def _check_names(node: Node) -> None:
    """Reports ``${…}`` with an unknown name in any text: it would be compared as it is written."""
    for text, child in node.texts_below():
        for name in filter(lambda name: name not in NAMES, _NAME.findall(text)):
            child.problem(f"${{{name}}} stands for nothing{did_you_mean(name, NAMES)}; there are {', '.join(NAMES)}")


CONTRACT = Object(
    "what an image must have and do: fategen verify checks it; ${image}, ${release}, ${tag} and ${source} (the URL of "
    "its home) are the image's own",
    Contract,
    check=_check_names,
)


def resolved(contract: Contract, known: Mapping[str, Contract], problems: list[Problem]) -> Contract:
    """The contract merged with those that it ``is``, which ``known`` has by name."""
    included = Contract()
    for item in contract.is_:
        included = merged(included, known.get(item.name, Contract()))
        problems += unknown(item.name, known, item.where, f"unknown contract {item.name}")
    return merged(included, replace(contract, is_=()))


def merged(first: Contract, then: Contract) -> Contract:
    """Both; for a name that both have, the second."""

    def join(name: str) -> Any:
        before, after = getattr(first, name), getattr(then, name)
        if isinstance(before, tuple):
            return union(before, after)
        if name == "setuid" and before and after and after.value:
            return replace(after, value=union(before.value, after.value))
        return after or before

    def union(*lists: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple({item.name: item for items in lists for item in items}.values())

    return Contract(**{field.name: join(field.name) for field in fields(Contract)})


def derived(contract: Contract, params: Sequence[Named[Param]], problems: list[Problem]) -> Contract:
    """The contract with ``port`` and ``command`` of ``with:`` if it has none itself."""
    for param in params:
        match param:
            case Named("port", str(port), where) if contract.ports is None:
                try:
                    _port(port)
                except ValueError as error:
                    # without a contract, a template may use it as it likes
                    if contract.where:
                        problems.append(Problem(where, f"{error}; list all ports in contract: ports:"))
                    continue
                contract = replace(contract, ports=Named("ports", (Item(port, where),), where))
            case Named("command", (str(), *_) as words, where) if contract.command is None:
                contract = replace(contract, command=Named("command", cast("tuple[str, ...]", words), where))
    return contract


def filled(contract: Contract, values: Mapping[str, str]) -> Contract:
    """The contract of one image: ``${image}`` and the like are what ``values`` says, paths are absolute."""
    full = cast(Contract, _replaced(contract, values))
    workdir = full.workdir.name.rstrip("/") if full.workdir else ""

    def absolute(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(i if i.name.startswith("/") else replace(i, name=f"{workdir}/{i.name}") for i in items)

    changes: dict[str, Any] = {name: absolute(getattr(full, name)) for name in ("files", "mounted", "absent")}
    setuid = full.setuid and replace(full.setuid, value=absolute(full.setuid.value))
    return replace(full, setuid=setuid, **changes)


def _replaced(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _NAME.sub(lambda match: values.get(match[1], match[0]), value)
    if isinstance(value, tuple):
        return tuple(_replaced(item, values) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _replaced(getattr(value, f.name), values) for f in fields(value) if f.name != "where"}
        return replace(value, **changed)
    return value
