"""The catalogue's ``party``: two parties of FATE in out/compose.yaml, and the smoke commands that show them at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from generator.catalogue.contract import PRINTS, WITHIN, WORD, Pair
from generator.catalogue.schema import ListOf, MapOf, Object, Text, key
from generator.errors import Problem, did_you_mean


@dataclass(frozen=True)
class Smoke:
    """A command in a container of ``service`` that must exit with 0 and print ``prints``, ``within`` seconds."""

    name: str
    service: str = key(Text("the service: an image, or a name in services"), "in", required=True)
    command: tuple[str, ...] = key(
        ListOf("the command; $PARTY and $OTHER: the ids of its party and of the other", WORD), required=True
    )
    prints: str = key(PRINTS)
    within: float = key(WITHIN, default=120.0)
    where: str = ""


@dataclass(frozen=True)
class Party:
    ids: tuple[str, ...] = key(
        ListOf("their ids", Text("a party's id", "[0-9]+", "is not the id of a party: digits")), required=True
    )
    template: str = key(Text("a file below templates/; default: compose.yaml.j2"), default="compose.yaml.j2")
    services: tuple[Pair, ...] = key(
        MapOf("services whose names differ from their images", Text("the image", make=Pair))
    )
    smoke: tuple[Smoke, ...] = key(
        MapOf(
            "commands that show that a party works, in order",
            Object(
                "a command that docker compose exec runs in a service of each party, and that must exit with 0", Smoke
            ),
        ),
        required=True,
    )
    where: str = ""

    @property
    def images(self) -> set[str]:
        """The images that the smoke commands need, by their services."""
        return {self.image_of(smoke.service) for smoke in self.smoke}

    def image_of(self, service: str) -> str:
        """The image of a service, which has its image's name unless ``services`` says otherwise."""
        return next((named.value for named in self.services if named.name == service), service)


PARTY = Object("two parties to try the images with (out/compose.yaml)", Party)


def check_party(party: Party, images: Sequence[str], problems: list[Problem]) -> None:
    """Adds what is wrong with the names in a party; ``images`` are those of its line."""

    def check(name: str, known: Sequence[str], where: str) -> None:
        if name and name not in known:
            problems.append(Problem(where, f"unknown image {name}{did_you_mean(name, known)}"))

    for service in party.services:
        check(service.value, images, service.where)
        if service.name in images:
            problems.append(Problem(service.where, f"{service.name}: is already the name of an image"))
    for smoke in party.smoke:
        check(smoke.service, [*images, *(service.name for service in party.services)], smoke.where)
    if len(set(party.ids)) != 2:
        problems.append(Problem(party.where, f"ids: expected two, found {len(set(party.ids))}"))
