"""YAML text -> ``Family`` and ``Line``, and every check that needs only the catalogue.

``family.yaml`` has what all lines of a family share: its name, its keys of ``.env``. Each other file describes one
line: which images it has, from what sources, how they depend on each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath as Path
from typing import Literal, get_args

from yaml.nodes import MappingNode

from generator.catalogue.contract import (
    CONTRACT,
    NAMES,
    PRINTS,
    WITHIN,
    WORD,
    Contract,
    Named,
    derived,
    merged,
    resolved,
)
from generator.catalogue.schema import (
    Free,
    ListOf,
    MapOf,
    Node,
    Object,
    Param,
    Text,
    expand_matrix,
    key,
    merged_yaml,
    parse_yaml,
    place_of,
    unknown,
)
from generator.config import values
from generator.config.settings import Key, Keys, key_of
from generator.errors import InputError, Problem, did_you_mean, raise_all

ImageKind = Literal["builder", "base", "component", "third-party"]
KINDS: tuple[ImageKind, ...] = get_args(ImageKind)

DROPS_PARTY = "must drop the party too: party: with no value"
LONGEST_EXTENDS = 20
"""Files, each of which extends the next."""


def _description(text: str) -> str:
    """It goes into a comment of the Dockerfile and into a label: one line of text that HCL keeps as it is."""
    if not text.isprintable() or not unicodedata.is_normalized("NFC", text):
        raise ValueError("the description is not one line of printable text in Unicode NFC form")
    return text


def _tag_of_family(text: str) -> str:
    values.tag(text.replace("${release}", "1"))
    return text


def _wrong(read: Callable[[str], object], text: str) -> str:
    """What a reader of a text says is wrong with it, "" if nothing is."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return ""


_NAME = Text(
    "a name of an image, base or source",
    "[a-z0-9]+(?:[_-][a-z0-9]+)*",
    'is not a name: lower-case letters and digits, joined by "-" or "_"',
)
_KEY_NAME = Text("a key of .env", "[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*", "is not a key: capital letters, digits and _")
_LINE_OF_TEXT = Text("its value", parse=_description, make=Named)
_OWN_VERSION = Text("a part of a tag", r"[\w.\-]+", "is not part of a tag: letters, digits, _, . and -", make=Named)
_TAG_PATTERN = Text("a tag", r"(?:[\w.\-]|\$\{tag\})+", "is not a tag, with ${tag} in it or not")
_IMAGE_REFERENCE = Text("an image with a tag or a digest, such as debian:12", parse=values.image)
_TAGGED_IMAGE = Text("an image with a tag, such as debian:12; a digest may follow it", parse=values.tagged_image)
_GIT_URL = Text(
    "its URL; releases say which commit",
    r"(?:https?|ssh|git)://[^\s#]+|[\w.\-]+@[\w.\-]+:[^\s#]+",
    'is not a git URL (https://…, ssh://…, git@host:path), without "#ref"',
)
_OWN_PATH = Text(
    "a directory in the project's own repository, relative to the project",
    r"(?!(?:.*/)?\.\.(?:/|$))[\w.][\w./ \-]*",
    "is not a path inside the project",
)
_LICENSES = Text(
    "its licenses, for the label of images that have it as home; default: no label",
    r"[A-Za-z0-9.+() \-]+",
    "is not an SPDX license expression, such as Apache-2.0",
)
_COMMIT = Text("its commit", "[0-9a-f]{40}", "is not a commit: 40 lower-case hexadecimal digits")
_PLATFORM = Text(
    "os/arch or os/arch/variant",
    "[a-z0-9]+/[a-z0-9_-]+(?:/v?[0-9]+)?",
    "is not a platform: os/arch or os/arch/variant, such as linux/arm64",
    parse=values.one_platform,
)


_REPOSITORY = Text(
    "the path after PREFIX/, such as web/api; default: the image's name",
    "[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*",
    'is not a repository: lower-case letters and digits, joined by ".", "_", "-" or "/"',
)
_MATRIX = MapOf(
    "suffixes: one image for each; ${suffix} and the names below it are replaced in every text of the entry",
    MapOf("names and their values", Text("its value", make=Named)),
)


@dataclass(frozen=True)
class Source:
    """A git repository, or a directory of the project, that images copy from.

    ``fetch_in`` names the base (it has git, or apt-get to get it) in which a build stage fetches the commit without its
    submodules; "" leaves it to BuildKit's git contexts, which always fetch them (before BuildKit 0.24).
    """

    name: str
    git: str = key(_GIT_URL)
    path: str = key(_OWN_PATH)
    fetch_in: str = key(
        Text("a base: a stage on it fetches the commit, without submodules; default: BuildKit fetches it")
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
class Group:
    """Images that have a name together."""

    name: str
    images: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True)
class Base:
    """An image of another publisher that our images are built from."""

    name: str
    image: str = key(_IMAGE_REFERENCE, required=True)
    matrix: tuple[tuple[Named[str], ...], ...] = key(_MATRIX)
    where: str = ""


@dataclass(frozen=True)
class PlatformLimit:
    """The only platforms that an image has, and why; ``lifted_by`` is a settings key that takes the limit away."""

    only: tuple[str, ...] = key(ListOf("platforms", _PLATFORM), required=True)
    because: str = key(Text("the reason, for the message"), required=True)
    lifted_by: str = key(Text("a key of .env that lifts the limit"))

    def reason(self, platform: str) -> str:
        """Why it lacks ``platform``: ``because``, unless that names other platforms than this one."""
        named = re.findall(r"\blinux/[a-z0-9_-]+(?:/v?[0-9]+)?", self.because)
        normal = [values.one_platform(name) for name in named if not _wrong(values.one_platform, name)]
        return self.because if not named or platform in normal else f"it is built only for {' '.join(self.only)}"


IMAGE_LABELS = ("title", "description", "version", "source", "revision")
KEY_TYPES: dict[str, Callable[[str], object]] = {
    "text": str,
    "url": values.url,
    "urls": values.urls,
    "hosts": values.hosts,
    "apt-mirror": values.apt_mirror,
    "file": values.copied_path,
    "secret-file": values.secret_path,
    "maven-settings": values.secret_path,
}
"""What a key's value may be. A secret-file is a build secret, maven-settings one with mirrors in it; a file becomes a
named context of the images that list it; all others are build arguments."""
DOWNLOADS = ("apt", "pip", "npm", "maven")


@dataclass(frozen=True)
class EnvKey:
    """A key of ``.env`` that the templates of a family need. Steps that take it download ``downloads``: ``from_`` there
    if it is not set, "" if nothing is downloaded then."""

    name: str
    type: str = key(Text("the type of its value", choices=tuple(KEY_TYPES), wrong="is not a type"), required=True)
    doc: str = key(Text("a one-line description", parse=_description), required=True)
    example: str = key(Text("an example value"))
    default: str = key(Text("the default value"))
    group: str = key(Text("its heading in .env; default: the heading of the key before it", parse=_description))
    id: str = key(
        Text("the id of the build secret; default: the key in lower case, with - for _", "[a-z0-9-]+", "is not an id")
    )
    downloads: str = key(
        Text("the packages that steps with this key download", choices=DOWNLOADS, wrong="is not a kind of package")
    )
    from_: str = key(Text("the download source if the key is not set; default: no download"))
    where: str = ""

    @property
    def row(self) -> Key:
        read, local = KEY_TYPES[self.type], bool(self.secret)
        return Key(read, self.doc, self.example, self.default, self.group, self.name, local=local, attribute="others")

    @property
    def secret(self) -> str:
        """The id of the build secret, "" if it is none."""
        return (self.id or self.context) if self.type in ("secret-file", "maven-settings") else ""

    @property
    def context(self) -> str:
        """The key in lower case: the name of a file's context."""
        return self.name.lower().replace("_", "-")

    @property
    def is_argument(self) -> bool:
        return not self.secret and self.type != "file"


_KEYS = MapOf("keys of .env that templates need", Object("a key of .env", EnvKey), _KEY_NAME)
_CONTRACTS = MapOf(
    "contracts that images share, each after those it includes",
    replace(CONTRACT, make=lambda name, contract, where: (name, contract)),
    _NAME,
)


@dataclass(frozen=True)
class Family:
    """What all lines have in common. ``prefix`` and ``tag`` are values for a new ``.env``."""

    name: str = key(Text("its name, for messages", parse=_description), "family", required=True)
    release: str = key(Text("the release if .env does not set the version key", parse=values.version), required=True)
    version_key: str = key(replace(_KEY_NAME, about="the key of .env that chooses a release; default: NAME_VERSION"))
    prefix: str = key(Text("PREFIX in a new .env", parse=values.prefix), default="registry.example.com/team")
    tag: str = key(
        Text("TAG and BASE_TAG in a new .env; ${release} is the release", parse=_tag_of_family), default="${release}"
    )
    labels: tuple[Named[str], ...] = key(MapOf("labels of every image", _LINE_OF_TEXT))
    keys: tuple[EnvKey, ...] = key(_KEYS)
    contracts: tuple[tuple[str, Contract], ...] = key(_CONTRACTS)
    where: str = ""

    @property
    def slug(self) -> str:
        """Its name in file names: ``my-tools`` for My Tools."""
        return re.sub("[^a-z0-9]+", "-", self.name.lower()).strip("-") or "images"

    def tag_of(self, release: str) -> str:
        return self.tag.replace("${release}", release)

    def env_keys(self, upstream: Iterable[str] = ()) -> Keys:
        """The keys that a project's ``.env`` may have; ``upstream`` are those of a line's sources and images."""
        doc, tag = f"{self.name} release; a catalogue must have it", {"example": self.tag_of(self.release)}
        version = {"name": self.version_key, "default": self.release, "doc": doc}
        rows = (own.row for own in self.keys)
        return Keys(rows, upstream, prefix={"example": self.prefix}, base_tag=tag, tag=tag, version=version)


NO_FAMILY = Family("images", "1.0.0", "VERSION")
FAMILY = Object("a family: everything that its lines share", Family)

_KIND = Text(
    "builder: compiles for other images, never published; base: a parent of components; component: an image that you "
    "ship; third-party: another publisher's image, for bundles",
    choices=KINDS,
    wrong="is not a kind",
)
_PARAMETER = Free("text, a list of texts, or a mapping of texts", make=Named)


@dataclass(frozen=True)
class Image:
    """One image of a line. ``from_`` is an image or a base; ``needs`` are those that it copies from besides.

    ``contract`` has those that it names, and that of the image in FROM. A third-party image has only ``image`` and
    ``contract``.
    """

    name: str
    kind: ImageKind = key(_KIND, required=True)
    description: str = key(Text("a one-line description", parse=_description))
    image: str = key(_TAGGED_IMAGE)
    from_: str = key(Text("the image or base in FROM"))
    needs: tuple[str, ...] = key(ListOf("other images and bases that it copies from", Text("an image or a base")))
    sources: tuple[str, ...] = key(ListOf("sources that it copies from", Text("a source")))
    files: tuple[str, ...] = key(
        ListOf("keys of .env whose files it copies, if they are set", Text("a key of type file"))
    )
    main_source: str = key(Text("the source that its labels name, with URL and commit"), "home")
    template: str = key(Text("a file below templates/dockerfiles/; default: NAME.Dockerfile.j2"))
    limit: PlatformLimit | None = key(
        Object("the only platforms that the image supports, and the reason", PlatformLimit), "platforms"
    )
    downloads: tuple[Named[str], ...] = key(
        MapOf(
            "other downloads, by their key of .env; none if a key for this kind of package is set",
            Text("from where", make=Named),
        )
    )
    contract: Contract = key(CONTRACT, default=Contract())
    params: tuple[Named[Param], ...] = key(MapOf("values for its template", _PARAMETER), "with")
    versions: tuple[Named[str], ...] = key(
        MapOf("by release: the image's own version, which replaces the release in its tags", _OWN_VERSION)
    )
    tags: tuple[str, ...] = key(
        ListOf("its tags; ${tag} is TAG, or BASE_TAG for a base; default: ${tag}", _TAG_PATTERN), default=("${tag}",)
    )
    args: tuple[Named[str], ...] = key(MapOf("build arguments", _LINE_OF_TEXT, _KEY_NAME))
    matrix: tuple[tuple[Named[str], ...], ...] = key(_MATRIX)
    repository: str = key(_REPOSITORY)
    stage: str = key(replace(_NAME, about="the stage of its Dockerfile to build; default: the last"))
    where: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        return (self.from_, *self.needs) if self.from_ else self.needs


@dataclass(frozen=True)
class Smoke:
    """A command in a container of ``service`` that must exit with 0 and print ``prints``, ``within`` seconds."""

    name: str
    service: str = key(
        Text("the service: an image, or a name in services", ".+", "is not the name of a service"), "in", required=True
    )
    command: tuple[str, ...] = key(
        ListOf("the command; $PARTY and $OTHER are the ids of its own party and the other", WORD), required=True
    )
    prints: str = key(PRINTS)
    within: float = key(WITHIN, default=120.0)
    where: str = ""


_SMOKE = Object("a command that docker compose exec runs in a service of each party; it must exit with 0", Smoke)
_IMAGE_OF_SERVICE = Text("the image", ".+", "is not the name of an image", make=Named)


@dataclass(frozen=True)
class Party:
    ids: tuple[str, ...] = key(
        ListOf("their ids", Text("a party's id", "[0-9]+", "is not the id of a party: digits")), required=True
    )
    template: str = key(Text("a file below templates/; default: compose.yaml.j2"), default="compose.yaml.j2")
    services: tuple[Named[str], ...] = key(MapOf("services whose names differ from their images", _IMAGE_OF_SERVICE))
    smoke: tuple[Smoke, ...] = key(MapOf("commands that test a party, in order", _SMOKE), required=True)
    where: str = ""

    @property
    def images(self) -> set[str]:
        """The images that the smoke commands need, by their services."""
        return {self.image_of(smoke.service) for smoke in self.smoke}

    def image_of(self, service: str) -> str:
        """The image of a service, which has its image's name unless ``services`` says otherwise."""
        return next((named.value for named in self.services if named.name == service), service)


PARTY = Object("two parties that test the images together (out/compose.yaml)", Party)


_OURS = (("from",), ("image",))
_BUILT = ("versions", "tags", "args", "stage", "repository")
_THIRD_PARTY = (("image",), ("from", "needs", "sources", "files", "home", "template", "downloads", "with", *_BUILT))
_IMAGE = Object(
    "an image", Image, by="kind", rules={kind: _THIRD_PARTY if kind == "third-party" else _OURS for kind in KINDS}
)
_SOURCE = Object(
    "a git repository or a directory of the project, for images to copy from", Source, one_of=("git", "path")
)
_BASE = Object("an image of another publisher that our images are built from", Base)
_RELEASE = MapOf("of each source", Object("the version of a source in a release", Ref), make=Release)
PACKAGED = "packaged"
_EXTENDED = Text(
    "the file that this one changes. packaged: the same line as shipped with fategen; a line, such as 1.0: that line "
    "without its releases",
    r"packaged|[0-9]+\.[0-9]+",
    "is neither packaged nor a line, such as 1.0",
)


@dataclass(frozen=True)
class Line:
    """One line, checked: every reference resolves, there is no cycle, ``images`` are in build order."""

    name: str = key(Text("its name, as in the file's name"), "line", required=True)
    extends: str = key(_EXTENDED)
    releases: tuple[Release, ...] = key(MapOf("the version of each source in each release", _RELEASE), required=True)
    sources: tuple[Source, ...] = key(MapOf("git repositories that images copy from", _SOURCE, _NAME), required=True)
    bases: tuple[Base, ...] = key(
        MapOf("images of other publishers that our images are built from", _BASE, _NAME), required=True
    )
    images: tuple[Image, ...] = key(MapOf("the images", _IMAGE, _NAME), required=True)
    contracts: tuple[tuple[str, Contract], ...] = key(_CONTRACTS)
    own_keys: tuple[EnvKey, ...] = key(_KEYS, "keys")
    groups: tuple[Group, ...] = key(
        MapOf("more groups of images", ListOf("its images", Text("an image"), make=Group), _NAME)
    )
    party: Party | None = key(PARTY)
    family: Family = NO_FAMILY
    where: str = ""

    @property
    def keys(self) -> Keys:
        """The keys that the ``.env`` of a project of this line may have."""
        sources = (key_of(source.name, "_SOURCE") for source in self.sources)
        return self.family.env_keys((*sources, *(key_of(name, "_IMAGE") for name in self.upstream_images)))

    @property
    def upstream_images(self) -> list[str]:
        """Names of the images that others publish: bases and third-party images."""
        return [*(base.name for base in self.bases), *(i.name for i in self.images if i.kind == "third-party")]


LINE = Object("a line: its releases and images", Line)


def parse_family(text: str, name: str) -> Family:
    """Reads ``family.yaml``, which messages call ``name``. Raises InputError with every problem, in line order."""
    root = parse_yaml(text, name)
    family: Family = FAMILY.read(root)
    root.problems += _own_key_problems(family.keys)
    _contracts(family.contracts, root.problems)
    for label in family.labels:
        if label.name.startswith("org.opencontainers.image.") and label.name.rpartition(".")[2] in IMAGE_LABELS:
            root.problems.append(Problem(label.where, f"{label.name}: every image has its own"))
    raise_all(root.problems)
    # no key begins with a digit
    return replace(family, version_key=family.version_key or key_of(family.slug, "_VERSION").lstrip("0123456789_"))


def parse_line(
    text: str,
    *,
    name: str,
    family: Family = NO_FAMILY,
    other: Callable[[str], str | None] = lambda line: None,
) -> Line:
    """Reads one line's file, which messages call ``name``. Raises InputError with every problem, in line order.

    ``other`` gives the text of another one (``1.0.yaml``) or of the packaged one (``packaged 1.0.yaml``), for
    ``extends``, and None if there is none.
    """
    root, _ = read_root(text, name, other)
    problems = root.problems
    line: Line = LINE.read(root)
    keys = {own.name: own for own in (*family.keys, *line.own_keys)}
    line = replace(line, family=replace(family, keys=tuple(keys.values())))
    contracts = _contracts((*family.contracts, *line.contracts), problems)
    problems += (*_own_key_problems(line.own_keys), *_link_problems(line), *_key_problems(line), *_party_problems(line))
    if line.name and "/" in name and Path(name).stem != line.name:
        wrong = f"line: {line.name} does not match the name of the file, {Path(name).stem}"
        problems.append(Problem(line.where, wrong))
    images: dict[str, Image] = {}
    for image in _build_order(line.images, problems):
        contract = derived(resolved(image.contract, contracts, problems), image.params, problems)
        # an image has the contract of the one that it is built from, unless it says nothing of its own
        if image.from_ in images and contract.where:
            contract = merged(images[image.from_].contract, contract)
        template = image.template or f"{image.name}.Dockerfile.j2"
        images[image.name] = replace(image, template=template, contract=contract)
    whole = bool(problems) and name.startswith("catalogue/") and not re.search("^extends *:", text, re.MULTILINE)
    hint = f"this file replaces the whole packaged line; to change only parts of it, add extends: {PACKAGED}"
    raise_all(problems, hint=hint if whole and other(f"{PACKAGED} {Path(name).name}") is not None else "")
    return replace(line, images=tuple(images.values()))


def read_root(
    text: str, name: str, other: Callable[[str], str | None], extending: tuple[str, ...] = ()
) -> tuple[Node, dict[str, list[str]]]:
    """The root of a line's file (of one that changes another: of both together), and the names that each entry with a
    matrix in it became. Raises InputError. ``extending`` are the files that extend this one.
    """
    root = parse_yaml(text, name)
    pairs = root.raw.value if isinstance(root.raw, MappingNode) else []
    sections = [value for key_node, value in pairs if key_node.value in ("images", "bases")]
    matrices: dict[str, list[str]] = {}
    for section in sections:
        matrices |= expand_matrix(section, root.problems, NAMES)
    for pair in pairs:
        extended = pair[1].value if pair[0].value == "extends" else None
        if not isinstance(extended, str) or not re.fullmatch(_EXTENDED.pattern, extended):
            continue  # nothing, or a problem that the reader of the whole line finds
        where = Node(pair[0], []).where
        file = Path(name).name if extended == PACKAGED else f"{extended}.yaml"
        packaged = other(f"{PACKAGED} {file}")
        below = packaged if extended == PACKAGED else other(file)
        file = f"{f'{PACKAGED} ' if below == packaged else ''}catalogue/{file}"
        if below is None:
            raise InputError(Problem(where, f"extends: there is no {file}"))
        if file in (chain := (*extending, name)) or len(chain) > LONGEST_EXTENDS:
            wrong = f"a line cannot extend itself, or more than {LONGEST_EXTENDS} others"
            raise InputError(Problem(where, f"extends: {wrong}: {' -> '.join((*chain, file))}"))
        node, matrices_below = read_root(below, file, other, chain)
        for section in sections:
            for entry in [*section.value] if isinstance(section, MappingNode) else ():
                own_name = str(entry[0].value)
                names = matrices_below.get(own_name, [own_name])
                if own_name not in names:
                    wrong = f"{own_name} is a matrix in {file}: change {', '.join(names)}"
                    Node(entry[0], root.problems).problem(wrong)
                    section.value.remove(entry)
        if extended != PACKAGED and isinstance(node.raw, MappingNode):
            node.raw.value = [kept for kept in node.raw.value if kept[0].value != "releases"]
        root.problems.extend(node.problems)
        pairs.remove(pair)
        return merged_yaml(node, root), matrices_below | matrices
    return root, matrices


def _contracts(named: Iterable[tuple[str, Contract]], problems: list[Problem]) -> dict[str, Contract]:
    """Contracts by their names, those that they include filled in; what a name has twice is merged."""
    contracts: dict[str, Contract] = {}
    for name, contract in named:
        contracts[name] = merged(contracts.get(name, Contract()), contract)
    known: dict[str, Contract] = {}
    for name, contract in contracts.items():
        known[name] = resolved(contract, known, problems)
    return known


def _own_key_problems(keys: Iterable[EnvKey]) -> Iterator[Problem]:
    ours = Keys()
    for own in keys:
        for value in filter(None, (own.example, own.default)) if own.type in KEY_TYPES else ():
            if wrong := _wrong(own.row.read, value):
                yield Problem(own.where, f"{own.name}: {wrong}")
        if ours.find(own.name):
            yield Problem(own.where, f"{own.name}: every project has this key; choose another name")


def line_name(version: str) -> str:
    """The line that a release belongs to: ``1.0`` of ``1.0.0``."""
    return ".".join(version.split(".")[:2])


def _link_problems(line: Line) -> Iterator[Problem]:
    """Each base, image and source that is named has to be there, and in no other role; a release has every source."""
    bases = [base.name for base in line.bases]
    sources = [source.name for source in line.sources]
    own = {source.name for source in line.sources if source.path}
    kinds = {image.name: image.kind for image in line.images}
    parents = dict.fromkeys((*bases, *kinds))
    for release in line.releases:
        if not release.version.startswith(f"{line.name}."):
            file = f"catalogue/{line_name(release.version)}.yaml"
            needed = f"it needs a {file}" if re.match(r"\d+\.\d+\.\d", release.version) else f"write {line.name}.0"
            yield Problem(release.where, f"{release.version} is not a release of line {line.name}; {needed}")
        taken = {ref.name for ref in release.refs}
        for source in line.sources:
            if source.git and source.name not in taken:
                yield Problem(release.where, f"{source.name}: missing")
        for ref in release.refs:
            if ref.name in own:
                yield Problem(ref.where, f"{ref.name}: is a directory of the project, and has no version")
            yield from unknown(ref.name, sources, ref.where, f"{ref.name}: unknown source")
    for source in line.sources:
        if name := source.fetch_in:
            yield from unknown(name, bases, source.where, f"{source.name}: unknown base {name}")
        # git itself needs no .git at the end
        url = f"{source.git.removesuffix('.git')}.git" if source.fetch_in else source.git
        if url and (wrong := _wrong(values.source, f"{url}#commit")):
            yield Problem(source.where, f"{source.name}: git: {wrong}")
    for image in line.images:
        if not image.kind and (near := did_you_mean(image.name, [name for name in kinds if name != image.name])):
            yield Problem(image.where, f"{image.name}: a new image without a kind{near}")
        if image.name in bases:
            yield Problem(image.where, f"{image.name} is also the name of a base; names must be unique")
        for name in image.parents:
            yield from unknown(name, parents, image.where, f"{image.name}: unknown parent {name}")
            if kinds.get(name) == "third-party":
                wrong = f"{image.name}: parent {name} is third-party; add it to bases instead"
                yield Problem(place_of(name, image.where), wrong)
        for name in (*image.sources, *filter(None, [image.main_source])):
            yield from unknown(name, sources, image.where, f"{image.name}: unknown source {name}")
        counts = (Counter(image.parents), Counter(image.sources), Counter(image.tags))
        for name in sorted({name for count in counts for name, times in count.items() if times > 1}):
            yield Problem(image.where, f"{image.name}: {name} is listed twice")
        for name in sorted({*image.sources} & {*image.parents}):
            yield Problem(image.where, f"{image.name}: {name} is both a source and a parent; names must be unique")


def _key_problems(line: Line) -> Iterator[Problem]:
    """Each key of ``.env`` that an image names has to be there, and be of the right type."""
    files = [own.name for own in line.family.keys if own.type == "file"]
    sources = [own.name for own in line.family.keys if own.downloads]
    keys = line.keys.names
    for image in line.images:
        lifted_by = [image.limit.lifted_by] if image.limit and image.limit.lifted_by else []
        for what, names, kind, known in (
            ("lifted-by", lifted_by, "", keys),
            ("files", image.files, " of type file", files),
            ("downloads", [pair.name for pair in image.downloads], " with downloads", sources),
        ):
            for name in names:
                wrong = f"{image.name}: {what}: {name} is not a key of .env{kind}"
                yield from unknown(name, known, image.where, wrong, "")


def _party_problems(line: Line) -> Iterator[Problem]:
    """What is wrong with the names in a party."""
    if (party := line.party) is None:
        return
    images, drops = [image.name for image in line.images], f"; a catalogue that drops it {DROPS_PARTY}"
    for service in party.services:
        if service.name in images:
            yield Problem(service.where, f"{service.name}: is already the name of an image")
    services = [*images, *(service.name for service in party.services)]
    named = [(service.value, images, service.where) for service in party.services]
    named += [(smoke.service, services, smoke.where) for smoke in party.smoke]
    for name, known, where in named:
        if name:
            yield from unknown(name, known, where, f"unknown image {name}", drops)
    if len(set(party.ids)) != 2:
        yield Problem(party.where, f"ids: expected two, found {len(set(party.ids))}")


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
