"""The catalogue's ``party``: two parties of FATE in out/compose.yaml, and the smoke commands that show them at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.catalogue.contract_shape import RUN
from generator.catalogue.nodes import Node
from generator.catalogue.shapes import Entries, Record, Text, Texts
from generator.errors import did_you_mean

SMOKE = Record(
    "a command that is run in a service of each party by docker compose exec, and has to end with 0",
    {
        "in": Text("the service: an image, unless services: says of which"),
        "command": Texts("the command; $PARTY and $OTHER: the ids of its party and of the other", Text("a word")),
        "prints": RUN.keys["prints"],
        "within": RUN.keys["within"],
    },
    required=("in", "command"),
)

PARTY = Record(
    "two parties to try the images with (out/compose.yaml)",
    {
        "ids": Texts("their ids", Text("a party's id", "[0-9]+", "is not the id of a party: digits")),
        "template": Text("a file below templates/; default: compose.yaml.j2"),
        "services": Entries("services of another name than their image", Text("the image")),
        "smoke": Entries("what shows that a party works, in this order", SMOKE),
    },
    required=("ids", "smoke"),
)


@dataclass(frozen=True)
class Smoke:
    """A command in a container of ``service`` that has to end with 0 and to print ``prints``, in ``within`` seconds."""

    name: str
    service: str
    command: tuple[str, ...]
    prints: str
    within: float
    where: str


@dataclass(frozen=True)
class Party:
    """``services`` are (service, image) of those whose image has another name."""

    ids: tuple[str, ...]
    smoke: tuple[Smoke, ...]
    template: str
    services: tuple[tuple[str, str], ...]

    @property
    def images(self) -> set[str]:
        """The images that the smoke commands need, by their services."""
        return {dict(self.services).get(smoke.service, smoke.service) for smoke in self.smoke}


def read_party(node: Node, images: Sequence[str]) -> Party:
    """Reads ``party:``, whose services may be of ``images``."""
    m = node.mapping(PARTY)
    services = tuple((name, _known(child, images)) for name, child in m.entries("services"))
    for name, child in m.entries("services"):
        if name in images:
            child.problem(f"{name}: is the name of an image already")
    known = [*images, *(name for name, _ in services)]
    smoke = tuple(_smoke(name, child, known) for name, child in m.entries("smoke"))
    ids = m.texts("ids")
    if len(set(ids)) != 2 and (listed := m.child("ids")) is not None:
        listed.problem(f"ids: two, not {len(set(ids))}")
    return Party(ids, smoke, m.text("template", default="compose.yaml.j2"), services)


def _smoke(name: str, node: Node, services: Sequence[str]) -> Smoke:
    m = node.mapping(SMOKE)
    service = m.child("in")
    within = m.text("within", default="120")
    return Smoke(
        name,
        _known(service, services) if service else "",
        m.texts("command"),
        m.text("prints"),
        float(within) if within.isdecimal() else 120.0,
        node.where,
    )


def _known(node: Node, names: Sequence[str]) -> str:
    name = node.text()
    if name and name not in names:
        node.problem(f"unknown image {name}{did_you_mean(name, names)}")
    return name
