"""YAML text -> ``Line``, and every check that needs only the catalogue.

A catalogue file describes one FATE line: which images it has, from what sources, how they depend on each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath as Path
from typing import Literal

from generator.catalogue.contract import (
    CONTRACT,
    PRINTS,
    WITHIN,
    WORD,
    Contract,
    Item,
    Pair,
    Parameter,
    as_item,
    derived,
    merged,
    resolved,
)
from generator.catalogue.schema import Free, ListOf, MapOf, Object, Text, key, parse_yaml
from generator.config import values
from generator.errors import InputError, Problem, did_you_mean

ImageKind = Literal["builder", "base", "component", "third-party"]
KINDS: tuple[ImageKind, ...] = ("builder", "base", "component", "third-party")

LONGEST_EXTENDS = 20
"""Lines, each of which extends the next."""


def _check_description(text: str) -> str:
    """It goes into a comment of the Dockerfile and into a label: one line of text that HCL keeps as it is."""
    if text.isprintable() and unicodedata.is_normalized("NFC", text):
        return ""
    return "the description is not one line of printable text in Unicode NFC form"


def _wrong(check: Callable[[str], object]) -> Callable[[str], str]:
    """What a check that raises ValueError says is wrong, "" if it raises nothing."""

    def wrong(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            return str(error)
        return ""

    return wrong


def _normal_platform(name: str, text: str, where: str) -> str:
    return text if _wrong(values.one_platform)(text) else values.one_platform(text)


_NAME = Text(
    "a name of an image, base or source",
    "[a-z0-9]+(?:[_-][a-z0-9]+)*",
    'is not a name: lower-case letters and digits, joined by "-" or "_"',
)
_IMAGE_REFERENCE = Text("an image with a tag or a digest, such as mysql:8", check=_wrong(values.image))
_GIT_URL = Text(
    "its URL; releases say which commit",
    r"(?:https?|ssh|git)://[^\s#]+|[\w.\-]+@[\w.\-]+:[^\s#]+",
    'is not a git URL (https://…, ssh://…, git@host:path), without "#ref"',
    check=_wrong(values.check_git_url),
)
_LICENSES = Text(
    "its licenses, for the label of the images whose home it is; default: no such label",
    r"[A-Za-z0-9.+() \-]+",
    "is not an SPDX license expression, such as Apache-2.0",
)
_COMMIT = Text("its commit", "[0-9a-f]{40}", "is not a commit: 40 lower-case hexadecimal digits")
_PLATFORM = Text(
    "os/arch or os/arch/variant",
    "[a-z0-9]+/[a-z0-9_-]+(?:/v?[0-9]+)?",
    "is not a platform: os/arch or os/arch/variant, such as linux/arm64",
    check=_wrong(values.one_platform),
    make=_normal_platform,
)


@dataclass(frozen=True)
class Source:
    """A git repository that images copy from.

    ``fetch_in`` names the base (it has git, or apt-get to get it) in which a build stage fetches the commit without its
    submodules; "" leaves it to BuildKit's git contexts, which always fetch them (before BuildKit 0.24).
    """

    name: str
    git: str = key(_GIT_URL, required=True)
    fetch_in: str = key(
        Text("the base in which the commit is fetched, without submodules; default: BuildKit fetches it")
    )
    licenses: str = key(_LICENSES)
    where: str = ""


@dataclass(frozen=True)
class Ref:
    """What a release takes of the source ``name``: the tag that upstream names, and the commit that it was."""

    name: str
    ref: str = key(Text("the upstream tag or branch"), required=True)
    commit: str = key(_COMMIT, required=True)
    where: str = ""


@dataclass(frozen=True)
class Release:
    version: str
    refs: tuple[Ref, ...]
    where: str


@dataclass(frozen=True)
class Base:
    """An image of another publisher that our images are built from."""

    name: str
    image: str = key(_IMAGE_REFERENCE, required=True)
    where: str = ""


@dataclass(frozen=True)
class PlatformLimit:
    """The only platforms that an image has, and why; ``lifted_by`` is a settings key that takes the limit away."""

    only: tuple[str, ...] = key(ListOf("platforms", _PLATFORM), required=True)
    because: str = key(Text("why it has no others, for the message"), required=True)
    lifted_by: str = key(Text("a key of .env that lifts the limit"))

    def reason(self, platform: str) -> str:
        """Why it lacks ``platform``: ``because``, unless that names other platforms than this one."""
        named = re.findall(r"\blinux/[a-z0-9_-]+(?:/v?[0-9]+)?", self.because)
        normal = [_normal_platform("", name, "") for name in named]
        return self.because if not named or platform in normal else f"it is built only for {' '.join(self.only)}"


_KIND = Text(
    "builder: built for others, never published; base: for components to be built on; component: a part of "
    "FATE; third-party: published by others, carried in bundles",
    choices=KINDS,
    wrong="is not a kind",
)
_PARAMETER = Free("text, a list of texts, or a mapping of texts", make=Parameter)


@dataclass(frozen=True)
class Image:
    """One image of a line. ``from_`` is an image or a base; ``needs`` are those that it copies from besides.

    ``contract`` has those that it names, and that of the image in FROM. A third-party image has only ``image`` and
    ``contract``.
    """

    name: str
    kind: ImageKind = key(_KIND, required=True)
    description: str = key(Text("a one-line description", check=_check_description))
    image: str = key(_IMAGE_REFERENCE)
    from_: str = key(Text("the image or base in FROM"))
    needs: tuple[str, ...] = key(ListOf("other images and bases that it copies from", Text("an image or a base")))
    sources: tuple[str, ...] = key(ListOf("sources that it copies from", Text("a source")))
    main_source: str = key(Text("the source whose URL and commit its labels have"), "home")
    template: str = key(Text("a file below templates/dockerfiles/; default: NAME.Dockerfile.j2"))
    limit: PlatformLimit | None = key(
        Object("the only platforms that the image has, and why", PlatformLimit), "platforms"
    )
    contract: Contract = key(CONTRACT, default=Contract())
    params: tuple[Parameter, ...] = key(MapOf("values for its template", _PARAMETER), "with")
    where: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        return (self.from_, *self.needs) if self.from_ else self.needs


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


_OURS = (("from",), ("image",))
_THIRD_PARTY = (("image",), ("from", "needs", "sources", "home", "template", "with"))
_IMAGE = Object(
    "an image", Image, by="kind", rules={kind: _THIRD_PARTY if kind == "third-party" else _OURS for kind in KINDS}
)
_SOURCE = Object("a git repository that images copy from", Source)
_BASE = Object("an image of another publisher that our images are built from", Base)
_RELEASE = MapOf("of each source", Object("the version of a source in a release", Ref), make=Release)
_NAMED_CONTRACT = replace(CONTRACT, make=lambda name, contract, where: (name, contract))
_EXTENDED = Text(
    "another line, whose contracts this one inherits; a contract of the same name here replaces it",
    r"[0-9]+\.[0-9]+",
    "is not a line, such as 1.3",
    make=as_item,
)


@dataclass(frozen=True)
class Line:
    """One FATE line, checked: every reference resolves, there is no cycle, ``images`` are in build order.

    ``contracts`` are those that images may name, also those of the line that this one extends.
    """

    name: str = key(Text("its name, the same as the file's"), "line", required=True)
    extends: Item | None = key(_EXTENDED)
    releases: tuple[Release, ...] = key(MapOf("the version of each source in each release", _RELEASE), required=True)
    sources: tuple[Source, ...] = key(MapOf("git repositories that images copy from", _SOURCE, _NAME), required=True)
    bases: tuple[Base, ...] = key(
        MapOf("images of other publishers that our images are built from", _BASE, _NAME), required=True
    )
    images: tuple[Image, ...] = key(MapOf("the images", _IMAGE, _NAME), required=True)
    contracts: tuple[tuple[str, Contract], ...] = key(
        MapOf("contracts that images share, each after those it includes", _NAMED_CONTRACT, _NAME)
    )
    party: Party | None = key(PARTY)
    where: str = ""

    @property
    def upstream_images(self) -> list[str]:
        """Names of the images that others publish: bases and third-party images."""
        return [*(base.name for base in self.bases), *(i.name for i in self.images if i.kind == "third-party")]


LINE = Object("a FATE line: its releases and images", Line)


def parse_line(
    text: str, *, name: str, other: Callable[[str], str | None] = lambda line: None, extending: tuple[str, ...] = ()
) -> Line:
    """Reads one catalogue file, which messages call ``name``. Raises InputError with every problem, in line order.

    ``other`` gives the text of another line's, for ``extends``, and None if there is none; ``extending`` are the
    lines that extend this one.
    """
    root = parse_yaml(text, name)
    problems = root.problems
    line: Line = LINE.read(root)
    if line.name and "/" in name and Path(name).stem != line.name:
        wrong = f"line: {line.name} does not match the name of the file, {Path(name).stem}"
        problems.append(Problem(line.where, wrong))
    contracts = {}
    if line.extends is not None:
        # without the other line's contracts each name of one would be a problem too
        _raise(problems, name)
        contracts = dict(_extended(line.extends, other, (*extending, line.name)).contracts)
    for contract_name, contract in line.contracts:
        contracts[contract_name] = resolved(contract, contracts, problems)
    _check_links(line, problems)
    if line.party is not None:
        _check_party(line.party, [image.name for image in line.images], problems)
    images: dict[str, Image] = {}
    for image in _build_order(line.images, problems):
        contract = derived(resolved(image.contract, contracts, problems), image.params)
        # an image has the contract of the one that it is built from, unless it says nothing of its own
        if image.from_ in images and contract.where:
            contract = merged(images[image.from_].contract, contract)
        template = image.template or f"{image.name}.Dockerfile.j2"
        images[image.name] = replace(image, template=template, contract=contract)
    _raise(problems, name)
    return replace(line, images=tuple(images.values()), contracts=tuple(contracts.items()))


def _raise(problems: Sequence[Problem], subject: str) -> None:
    if problems:
        # all are of one file
        raise InputError(sorted(problems, key=lambda problem: int(problem.where.rpartition(":")[2])), subject=subject)


def _extended(line: Item, other: Callable[[str], str | None], extending: tuple[str, ...]) -> Line:
    if line.name in extending:
        path = " -> ".join((*extending, line.name))
        raise InputError(Problem(line.where, f"{line.name} extends itself: {path}"))
    file = f"catalogue/{line.name}.yaml"
    if len(extending) > LONGEST_EXTENDS:
        raise InputError(Problem(line.where, f"extends: more than {LONGEST_EXTENDS} lines, one behind the other"))
    text = other(line.name)
    if text is None:
        raise InputError(Problem(line.where, f"extends: no {file}"))
    return parse_line(text, name=file, other=other, extending=extending)


def _check_links(line: Line, problems: list[Problem]) -> None:
    """Each base, image and source that is named has to be there, and in no other role; a release has every source."""
    bases = dict.fromkeys(base.name for base in line.bases)
    sources = dict.fromkeys(source.name for source in line.sources)
    kinds = {image.name: image.kind for image in line.images}
    parents = {**bases, **kinds}
    for release in line.releases:
        taken = {ref.name for ref in release.refs}
        problems += [Problem(release.where, f"{name}: missing") for name in sources if name not in taken]
        for ref in release.refs:
            if ref.name not in sources:
                known = did_you_mean(ref.name, sources) or f"; known are {', '.join(sources)}"
                problems.append(Problem(ref.where, f"{ref.name}: unknown source{known}"))

    def check(by: Source | Image, what: str, name: str, known: Collection[str]) -> None:
        if name not in known:
            problems.append(Problem(by.where, f"{by.name}: unknown {what} {name}{did_you_mean(name, known)}"))

    for source in line.sources:
        if source.fetch_in:
            check(source, "base", source.fetch_in, bases)
    for image in line.images:
        if image.name in bases:
            problems.append(Problem(image.where, f"{image.name} is also the name of a base; names must be unique"))
        for name in image.parents:
            check(image, "parent", name, parents)
            if kinds.get(name) == "third-party":
                wrong = f"{image.name}: parent {name} is third-party; add it to bases instead"
                problems.append(Problem(image.where, wrong))
        for name in (*image.sources, *filter(None, [image.main_source])):
            check(image, "source", name, sources)
        for name in sorted({n for names in (image.parents, image.sources) for n in names if names.count(n) > 1}):
            problems.append(Problem(image.where, f"{image.name}: {name} is listed twice"))
        for name in sorted({*image.sources} & {*image.parents}):
            wrong = f"{image.name}: {name} is both a source and a parent; names must be unique"
            problems.append(Problem(image.where, wrong))


def _check_party(party: Party, images: Sequence[str], problems: list[Problem]) -> None:
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


def _build_order(images: Sequence[Image], problems: list[Problem]) -> tuple[Image, ...]:
    """Parents before children, else in file order. A cycle is a problem that shows its path."""
    by_name = {image.name: image for image in images}
    ordered: dict[str, Image] = {}
    for image in images:
        # a loop, as chains may be longer than Python recurses
        path = {} if image.name in ordered else {image.name: iter(image.parents)}
        while path:
            name, parents = next(reversed(path.items()))
            for parent in parents:
                if parent in path:
                    names = [*path, parent]
                    cycle = " -> ".join(names[names.index(parent) :])
                    wrong = f"cycle: {cycle}; an image cannot be built from itself"
                    problems.append(Problem(by_name[parent].where, wrong))
                elif parent in by_name and parent not in ordered:
                    path[parent] = iter(by_name[parent].parents)
                    break
            else:
                ordered[name] = by_name[name]
                del path[name]
    return tuple(ordered.values())
