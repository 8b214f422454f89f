"""The catalogue's ``party``: two parties of FATE to try the images with, and who must reach whom in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from generator.catalogue.nodes import Node
from generator.catalogue.shapes import Entries, Record, Records, Text, Texts
from generator.errors import did_you_mean

Protocol = Literal["rpc", "http", "redis"]
PROTOCOLS: dict[str, Protocol] = {"rpc": "rpc", "http": "http", "redis": "redis"}

OTHER = "party"
"""As the end of a path: the other party, through its proxy."""


def _check_json(text: str) -> str:
    import json

    try:
        json.loads(text)
    except ValueError:
        return f'"{text}" is not JSON'
    return ""


PATH = Record(
    "a component that must reach another",
    {
        "from": Text("the service that connects: an image, unless services: says of which"),
        "to": Text(f"the service that it connects to; {OTHER}: the other party"),
        "speaks": Text(
            "rpc: gRPC, and the lines of fategen's sample sources in its place; http; redis",
            choices=tuple(PROTOCOLS),
            wrong="is not a protocol",
        ),
        "port": Text("where from is asked; none for python, which connects itself", "[0-9]+", "is not a port"),
        "call": Text("what from is asked, so that it asks to: a gRPC method, or a path of HTTP"),
        "headers": Entries("headers of the call", Text("a header's value")),
        "message": Text(
            "the call's message, in JSON; for gRPC with the numbers of its fields as keys. Here and in headers, $PARTY "
            "and $OTHER are the ids of the party that is asked and of the other one, $TRY is a new number each time",
            check=_check_json,
        ),
        "says": Text("of gRPC: what the answer has in it; default: it may be anything"),
        "code": Text(
            "of HTTP: what retcode or code, in the answer, says that all is well; default: 0", "[0-9]+", "is no code"
        ),
    },
    required=("from", "to", "speaks"),
)

PARTY = Record(
    "two parties to try the images with (out/compose.yaml)",
    {
        "ids": Texts("their ids", Text("a party's id", "[0-9]+", "is not the id of a party: digits")),
        "template": Text("a file below templates/; default: compose.yaml.j2"),
        "services": Entries("services of another name than their image", Text("the image")),
        "asks": Texts(
            "services whose Python asks, each where the one before does not run; default: python, egg",
            Text("a service"),
        ),
        "paths": Records("who must reach whom; first what others build on", PATH),
    },
    required=("ids", "paths"),
)


@dataclass(frozen=True)
class Path:
    """``from_`` must reach ``to``: asked ``call`` with ``message`` at its ``port``, it asks ``to`` in turn.

    Without a port it is python's own: python connects to what its configuration names. ``says``: what an answer of gRPC
    has in it; "" asks for any.
    """

    from_: str
    to: str
    speaks: Protocol
    port: str
    call: str
    headers: tuple[tuple[str, str], ...]
    message: str
    says: str
    code: int
    where: str

    def __str__(self) -> str:
        return f"{self.from_} → {'the other party' if self.to == OTHER else self.to}"


@dataclass(frozen=True)
class Party:
    """``services`` are those whose image has another name; the Python of one of ``asks`` asks all others."""

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    template: str
    services: tuple[tuple[str, str], ...]
    asks: tuple[str, ...]

    @property
    def images(self) -> set[str]:
        ends = {end for path in self.paths for end in (path.from_, path.to)} - {OTHER}
        return {dict(self.services).get(end, end) for end in ends}


def read_party(node: Node, images: Sequence[str]) -> Party:
    """Reads ``party:``, whose paths may name ``images``."""
    m = node.mapping(PARTY)
    services = tuple((name, _known(child, images)) for name, child in m.entries("services"))
    for name, service in m.entries("services"):
        if name in (OTHER, *images):
            service.problem(f"{name}: is the name of {'the other party' if name == OTHER else 'an image'} already")
    known = [*images, *(name for name, _ in services)]
    listed, asking = m.child("paths"), m.child("asks")
    paths = tuple(_path(child, known) for child in (listed.items() if listed else ()))
    asks = tuple(_known(child, known) for child in (asking.items() if asking else ()))
    ids = m.texts("ids")
    if len(set(ids)) != 2 and (child := m.child("ids")) is not None:
        child.problem(f"ids: two, not {len(set(ids))}")
    return Party(ids, paths, m.text("template", default="compose.yaml.j2"), services, asks or ("python", "egg"))


def _known(node: Node, names: Sequence[str]) -> str:
    name = node.text()
    if name and name not in names:
        node.problem(f"unknown image {name}{did_you_mean(name, names)}")
    return name


def _path(node: Node, images: Sequence[str]) -> Path:
    m = node.mapping(PATH)
    ends = m.text("from"), m.text("to")
    for end in ends:
        if end and end not in (OTHER, *images):
            node.problem(f"unknown image {end}{did_you_mean(end, images)}")
    speaks = PROTOCOLS.get(m.text("speaks"), "rpc")
    if speaks != "rpc" and (child := m.child("says")) is not None:
        child.problem("says: is for rpc alone")
    headers = tuple((name, child.text()) for name, child in m.entries("headers"))
    code = m.text("code", default="0")
    return Path(
        *ends,
        speaks,
        m.text("port"),
        m.text("call"),
        headers,
        m.text("message"),
        m.text("says"),
        int(code) if code.isdecimal() else 0,
        node.where,
    )
