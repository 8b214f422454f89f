"""YAML text -> ``Line``, and every check that needs only the catalogue.

A catalogue file describes one FATE line: which images it has, from what sources, how they depend on each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from pathlib import PurePosixPath as Path

from generator.catalogue.contract import Contract, derived, merged, read_contract
from generator.catalogue.nodes import Mapping, Node, Param, parse_yaml
from generator.catalogue.party import Party, read_party
from generator.catalogue.shape import BASE, IMAGE, KINDS, LIMIT, LINE, NAME, REF, SOURCE, Kind
from generator.catalogue.shapes import Record
from generator.errors import InputError, Problem, did_you_mean


@dataclass(frozen=True)
class Source:
    """A git repository that images copy from.

    ``fetch_in`` names the base (it has git, or apt-get to get it) in which a build stage fetches the commit without its
    submodules; "" leaves it to BuildKit's git contexts, which always fetch them (before BuildKit 0.24).
    """

    name: str
    git: str
    fetch_in: str
    where: str


@dataclass(frozen=True)
class Ref:
    """What a release takes of a source: the tag that upstream names, and the commit that it was."""

    source: str
    ref: str
    commit: str


@dataclass(frozen=True)
class Release:
    version: str
    refs: tuple[Ref, ...]


@dataclass(frozen=True)
class Base:
    """An image that somebody else publishes and that ours are built from."""

    name: str
    image: str


@dataclass(frozen=True)
class PlatformLimit:
    """The only platforms that an image has, and why; ``lifted_by`` is a settings key that takes the limit away."""

    only: tuple[str, ...]
    because: str
    lifted_by: str

    def reason(self, platform: str) -> str:
        """Why it has not ``platform``: ``because``, unless that names other platforms than this one."""
        named = re.findall(r"\blinux/[a-z0-9]+(?:/v[0-9]+)?", self.because)
        return self.because if not named or platform in named else f"it is built for {' '.join(self.only)} alone"


@dataclass(frozen=True)
class Image:
    """One image of a line. ``from_`` is an image or a base; ``needs`` are those that it copies from besides.

    ``home`` is the source whose repository and commit its labels name. ``params`` are the entries below ``with:``, for
    its template. ``contract`` has those that it names, and that of the image in FROM. A third-party image has only
    ``image`` and ``contract``.
    """

    name: str
    kind: Kind
    description: str
    image: str
    from_: str
    needs: tuple[str, ...]
    sources: tuple[str, ...]
    home: str
    template: str
    limit: PlatformLimit | None
    params: tuple[tuple[str, Param], ...]
    contract: Contract
    where: str

    @property
    def parents(self) -> tuple[str, ...]:
        return (self.from_, *self.needs) if self.from_ else self.needs


@dataclass(frozen=True)
class Line:
    """One FATE line, checked: every reference resolves, there is no cycle, ``images`` are in build order."""

    name: str
    releases: tuple[Release, ...]
    sources: tuple[Source, ...]
    bases: tuple[Base, ...]
    images: tuple[Image, ...]
    party: Party | None

    @property
    def foreign(self) -> list[str]:
        """The images of others that it names: bases, and what is of third parties."""
        return [*(base.name for base in self.bases), *(i.name for i in self.images if i.kind == "third-party")]


def parse_line(text: str, *, name: str, other: Callable[[str], str | None] = lambda line: None) -> Line:
    """Reads one catalogue file, which messages call ``name``. Raises InputError with every problem at once.

    ``other`` gives the text of another line's, for ``extends``, and None where there is none.
    """
    problems: list[Problem] = []
    root = parse_yaml(text, name, problems)
    if root is None:
        raise InputError(problems, subject=name)
    top = root.mapping(LINE)
    line = top.text("line")
    if (child := top.child("line")) is not None and name not in (f"catalogue/{line}.yaml", Path(name).name):
        child.problem(f"line: {line} is not what the file is called, {Path(name).stem}")
    sources = tuple(_source(key, node) for key, node in _named(top, "sources"))
    bases = tuple(_base(key, node) for key, node in _named(top, "bases"))
    contracts = _contracts(top, other, problems, (line,))
    images = [_image(key, node, contracts) for key, node in _named(top, "images")]
    releases = tuple(_release(key, node, sources) for key, node in top.entries("releases"))
    _check_links(sources, bases, images, problems)
    ordered = _build_order(images, problems)
    party = read_party(child, [i.name for i in images]) if (child := top.child("party")) is not None else None
    if problems:
        raise InputError(problems, subject=name)
    return Line(line, releases, sources, bases, _inheriting(ordered), party)


def _named(top: Mapping, key: str) -> list[tuple[str, Node]]:
    """The entries below ``key``, whose names become bake targets, image names and file names."""
    entries = top.entries(key)
    for name, node in entries:
        if wrong := NAME.problem(name):
            node.problem(wrong)
    return entries


def _contracts(
    top: Mapping, other: Callable[[str], str | None], problems: list[Problem], lines: tuple[str, ...]
) -> dict[str, Contract]:
    """The contracts below ``contracts``, and before them those of the line that this one extends.

    ``lines`` are those that have been read on the way here.
    """
    contracts: dict[str, Contract] = {}
    if (node := top.child("extends")) is not None and (line := top.text("extends")) and not problems:
        if line in lines:
            node.problem(f"{line} extends itself: {' -> '.join((*lines, line))}")
        elif (text := other(line)) is None:
            node.problem(f"extends: no catalogue/{line}.yaml")
        elif (root := parse_yaml(text, f"catalogue/{line}.yaml", problems)) is not None:
            contracts = _contracts(root.mapping(LINE), other, problems, (*lines, line))
    if node is not None and problems:
        # without those contracts each name of one would be a problem too
        raise InputError(problems)
    for key, node in _named(top, "contracts"):
        contracts[key] = read_contract(node, contracts)
    return contracts


def _source(name: str, node: Node) -> Source:
    m = node.mapping(SOURCE)
    return Source(name, m.text("git"), m.text("fetch-in"), node.where)


def _base(name: str, node: Node) -> Base:
    return Base(name, node.mapping(BASE).text("image"))


def _release(version: str, node: Node, sources: Sequence[Source]) -> Release:
    names = tuple(s.name for s in sources)
    m = node.mapping(Record("what a release takes of each source", dict.fromkeys(names, REF), names))
    refs = []
    for source in sources:
        if (child := m.child(source.name)) is not None:
            r = child.mapping(REF)
            refs.append(Ref(source.name, r.text("ref"), r.text("commit")))
    return Release(version, tuple(refs))


def _image(name: str, node: Node, contracts: MappingOf[str, Contract]) -> Image:
    m = node.mapping(IMAGE)
    limit = None
    if (child := m.child("platforms")) is not None:
        p = child.mapping(LIMIT)
        limit = PlatformLimit(p.texts("only"), p.text("because"), p.text("lifted-by"))
    asked = m.child("contract")
    contract = read_contract(asked, contracts) if asked is not None else Contract()
    return Image(
        name=name,
        kind=KINDS.get(m.text("kind"), "component"),
        description=m.text("description"),
        image=m.text("image"),
        from_=m.text("from"),
        needs=m.texts("needs"),
        sources=m.texts("sources"),
        home=m.text("home"),
        template=m.text("template", default=f"{name}.Dockerfile.j2"),
        limit=limit,
        params=tuple((key, child.param()) for key, child in m.entries("with")),
        contract=derived(contract, m.entries("with")),
        where=node.where,
    )


def _inheriting(images: Sequence[Image]) -> tuple[Image, ...]:
    """Images in build order; one with a contract has to show, too, what the image has to show that it is built from."""
    done: dict[str, Image] = {}
    for image in images:
        parent = done.get(image.from_)
        contract = merged(parent.contract, image.contract) if parent and image.contract.where else image.contract
        done[image.name] = replace(image, contract=contract)
    return tuple(done.values())


def _check_links(
    sources: Sequence[Source], bases: Sequence[Base], images: Sequence[Image], problems: list[Problem]
) -> None:
    base_names = {b.name for b in bases}
    for s in sources:
        if s.fetch_in and s.fetch_in not in base_names:
            problems.append(
                Problem(s.where, f"{s.name}: unknown base {s.fetch_in}{did_you_mean(s.fetch_in, base_names)}")
            )
    image_kinds = {i.name: i.kind for i in images}
    source_names = [s.name for s in sources]
    for image in images:
        if image.name in base_names:
            problems.append(Problem(image.where, f"{image.name} is the name of a base too; they share one namespace"))
        for parent in image.parents:
            if parent == image.name:
                continue  # a cycle of one, which the build order reports
            if parent not in base_names and parent not in image_kinds:
                known = [*base_names, *image_kinds]
                problems.append(
                    Problem(image.where, f"{image.name}: unknown parent {parent}{did_you_mean(parent, known)}")
                )
            elif image_kinds.get(parent) == "third-party":
                problems.append(
                    Problem(image.where, f"{image.name}: parent {parent} is third-party; name it below bases instead")
                )
        for source in (*image.sources, *([image.home] if image.home else [])):
            if source not in source_names:
                problems.append(
                    Problem(image.where, f"{image.name}: unknown source {source}{did_you_mean(source, source_names)}")
                )
        clash = sorted({*image.sources} & {*image.parents})
        for name in clash:
            problems.append(
                Problem(image.where, f"{image.name}: {name} is a source and a parent; a Dockerfile knows both by name")
            )


def _build_order(images: Sequence[Image], problems: list[Problem]) -> tuple[Image, ...]:
    """Parents before children, else in file order. A cycle is a problem that shows its whole path."""
    by_name = {i.name: i for i in images}
    ordered: list[Image] = []
    path: list[str] = []
    done: set[str] = set()

    def visit(image: Image) -> None:
        if image.name in done:
            return
        if image.name in path:
            cycle = [*path[path.index(image.name) :], image.name]
            problems.append(Problem(image.where, f"cycle: {' -> '.join(cycle)}; an image cannot be built from itself"))
            return
        path.append(image.name)
        for parent in image.parents:
            if parent in by_name:
                visit(by_name[parent])
        path.pop()
        if image.name not in done:
            done.add(image.name)
            ordered.append(image)

    for image in images:
        visit(image)
    return tuple(ordered)
