"""``Settings`` + ``Line`` -> ``Plan``: every ref, platform, context, tag and order is decided here.

Bake checks almost nothing (unknown attributes, missing files, duplicate tags and cycles pass silently), so what the
templates put into the bake file has been checked before: here, or in the catalogue.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from generator.catalogue.contract import Contract, Named, filled
from generator.catalogue.line import DROPS_PARTY, Family, Group, Image, ImageKind, Line, Party, Release, Source
from generator.catalogue.schema import Param
from generator.config.reference import check_tag, mirrored, normalize, parse_reference
from generator.config.settings import Keys, Settings, key_of
from generator.errors import InputError, Problem, did_you_mean
from generator.plan.names import GROUPS, clashes, image_variable, name_problems

SBOM_SCANNER = "docker/buildkit-syft-scanner:stable-1"
"""What BuildKit runs for an SBOM unless told otherwise (moby/buildkit, docs/attestations/sbom-protocol.md)."""


@dataclass(frozen=True)
class Variable:
    """One HCL variable and the value that bake gets for it; ``secret`` values are never printed."""

    name: str
    value: str
    doc: str
    secret: bool = False


@dataclass(frozen=True)
class Context:
    """One entry of a bake target's ``contexts``.

    ``target`` is the target that it is linked to ("" for a source); ``variable`` is the HCL variable whose value
    replaces that link, or that has the source's location ("" if nothing can replace it); ``value`` is a fixed
    directory.
    """

    name: str
    target: str = ""
    variable: str = ""
    value: str = ""


@dataclass(frozen=True)
class SkippedPlatform:
    """A platform that the settings ask for and the image does not have, and why."""

    platform: str
    reason: str
    origin: str
    """the image whose limit it is: this one or one that it is built from"""


@dataclass(frozen=True)
class Base:
    """A base image of the catalogue as this project pulls it: overridden or behind BASE_REGISTRY.

    ``upstream`` is what that is a copy of: the catalogue's own reference, or the override itself. ``where`` are the
    lines that say so.
    """

    name: str
    reference: str
    upstream: str
    where: str


@dataclass(frozen=True)
class PlannedSource:
    """Where a source comes from. ``location`` is a git URL with ``#ref``, or a local directory (``local``).

    ``url`` is its repository (the catalogue's, for a local one) and ``revision`` the ref in it ("" for a local one).
    ``release_commit`` is the commit that the release has of it ("" for a directory of the project), ``licenses`` is for
    a label ("": none). ``fetch_in`` is the image in which a build stage fetches the revision, "" if BuildKit's git
    context does.
    """

    name: str
    location: str
    local: bool
    url: str
    revision: str
    release_commit: str
    fetch_in: str
    licenses: str
    where: str

    @property
    def pinned(self) -> bool:
        """Whether ``revision`` is a commit: a branch or a tag may move."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None


@dataclass(frozen=True)
class Target:
    """One bake target. A builder has no tags and is never pushed; third-party images keep their own names.

    ``dockerfile`` is the rendered file's path in the project, "" for a third-party image (an inline ``FROM``).
    ``parents`` are the images that it is linked to, in build order; ``inherits`` names the target that this one repeats
    for fewer platforms (bake before buildx 0.20 links only targets with equal platform sets).
    """

    name: str
    kind: ImageKind
    description: str
    tags: tuple[str, ...]
    platforms: tuple[str, ...]
    skipped: tuple[SkippedPlatform, ...]
    contexts: tuple[Context, ...]
    sources: tuple[PlannedSource, ...]
    main_source: PlannedSource | None
    """the source whose repository and revision the labels name"""
    bases: tuple[Base, ...]
    parents: tuple[str, ...]
    dockerfile: str
    template: str
    inherits: str
    params: tuple[tuple[str, Param], ...]
    downloads: tuple[Named[str], ...]
    repository: str
    """what follows PREFIX/ in its tags; of a third-party image the last part of its name"""
    tag_patterns: tuple[str, ...]
    """its tags, with ``${tag}`` for its own version of TAG or BASE_TAG"""
    versions: tuple[str, str]
    """the release in TAG, and what its tags have in place of it; both "" if that is the same"""
    args: tuple[Named[str], ...]
    stage: str
    contract: Contract

    @property
    def is_pushed(self) -> bool:
        """Whether a release publishes it: it is no builder, and no third-party image."""
        return bool(self.tags) and self.kind != "third-party"

    @property
    def version(self) -> str:
        """``${tag}`` of its patterns, as an HCL expression."""
        key = "BASE_TAG" if self.kind == "base" else "TAG"
        return 'replace({}, "{}", "{}")'.format(key, *self.versions) if any(self.versions) else key

    def settings_of(self, tag: str) -> set[str]:
        """The values of TAG, or BASE_TAG, with which it has this tag; none for one that it has in any case."""
        values, (release, own) = set(), self.versions
        for pattern in () if tag in self.tag_patterns else self.tag_patterns:
            start, _, end = pattern.partition("${tag}")
            if match := re.fullmatch(f"{re.escape(start)}(.+){re.escape(end)}", tag):
                values.add(match[1].replace(own, release))
        return values

    @property
    def reference(self) -> str:
        """The name to start it by: its tag, or for a third-party image the reference that this project pulls."""
        return self.bases[0].reference if self.kind == "third-party" else self.tags[0]


def linked(
    targets: Iterable[Target], names: Iterable[str], follows: Callable[[Context], bool] = lambda _: True
) -> tuple[Target, ...]:
    """Of ``targets``: those of these names and, through links that are followed, all that they are built from."""
    by_name = {target.name: target for target in targets}
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in reached:
            reached.add(name)
            waiting += [context.target for context in by_name[name].contexts if context.target and follows(context)]
    return tuple(target for target in by_name.values() if target.name in reached)


def lacking(targets: Iterable[Target], platforms: Collection[str] = ()) -> list[str]:
    """Which of ``platforms`` (none: of all) these images lack: ``no linux/arm64 for api, web: REASON``."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for target in targets:
        for skipped in target.skipped:
            if not platforms or skipped.platform in platforms:
                reasons.setdefault((skipped.platform, skipped.reason), []).append(target.name)
    return [f"no {platform} for {', '.join(names)}: {reason}" for (platform, reason), names in reasons.items()]


@dataclass(frozen=True)
class Plan:
    """What will be rendered, built, pushed and carried. ``targets`` are in build order, parents first."""

    settings: Settings
    keys: Keys
    family: Family
    line: str
    release: str
    variables: tuple[Variable, ...]
    targets: tuple[Target, ...]
    unavailable: tuple[Target, ...]
    """images that have none of the settings' platforms; they are not rendered"""
    members: Mapping[str, Collection[str]]
    """the images of every group, unavailable ones too"""
    sbom_scanner: Base | None
    """the image that BuildKit makes an SBOM with, if one is asked for"""
    party: Party | None
    """None if the line has none, or if one of its images has none of the settings' platforms"""

    @property
    def title(self) -> str:
        """The family and the release, for messages."""
        return f"{self.family.name} {self.release}"

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Without unavailable images, and without groups that would be empty."""
        groups = (Group(name, tuple(t.name for t in self.targets if t.name in m)) for name, m in self.members.items())
        return tuple(group for group in groups if group.images)

    @property
    def files(self) -> dict[str, str]:
        """The files that ``.env`` names for images to copy, by their keys."""
        keys = (own.name for own in self.family.keys if own.type == "file")
        return {name: value for name in keys if (value := self.settings.other(name))}

    def target(self, name: str) -> Target:
        """For templates. Raises LookupError if there is none."""
        targets = {target.name: target for target in self.targets}
        if name not in targets:
            near = did_you_mean(name, targets) or f"; a catalogue that drops it {DROPS_PARTY}"
            raise LookupError(f"{self.title} has no image {name}{near}")
        return targets[name]

    def select(self, names: Iterable[str]) -> tuple[Target, ...]:
        """The targets of these images and groups, in build order. Raises InputError for names that are neither."""
        groups = {g.name: g.images for g in self.groups}
        known = {t.name for t in self.targets if not t.inherits}
        wanted: set[str] = set()
        problems = []
        for name in names:
            if name in groups:
                wanted.update(groups[name])
            elif name in known:
                wanted.add(name)
            elif lacking := [t for t in self.unavailable if t.name in self.members.get(name, (name,))]:
                reasons = "; ".join(f"{k.platform}: {k.reason}" for k in lacking[0].skipped)
                problems.append(Problem(name, f"not built for {' '.join(self.settings.platforms)} ({reasons})"))
            else:
                near = did_you_mean(name, [*known, *groups])
                problems.append(Problem(name, f"{self.title} has no image or group of this name{near}"))
        if problems:
            raise InputError(problems, hint="fategen images lists them")
        return tuple(t for t in self.targets if t.name in wanted)


def make_plan(settings: Settings, line: Line) -> Plan:
    """Decides everything. Raises InputError with every problem at once, each with its place in ``.env``."""
    if problems := [*name_problems(line)]:
        raise InputError(problems, subject=f"catalogue/{line.name}.yaml")
    releases, version, key = {r.version: r for r in line.releases}, settings.version, line.family.version_key
    if version not in releases:
        unknown = Problem(settings.where(key), f"{key}: {version} is unknown; available: {', '.join(releases)}")
        place = f"under releases: in the project's catalogue/{line.name}.yaml (docs/new-image.md)"
        raise InputError(unknown, hint=f"add {version} {place}")
    release = releases[version]
    _check_override_names(settings, line, problems)
    bases = {b.name: _plan_base(b.name, b.image, settings, b.where) for b in line.bases}
    commits = {ref.name: ref.commit for ref in release.refs}
    sources = {s.name: _plan_source(s, commits.get(s.name, ""), settings, bases, problems) for s in line.sources}
    targets: dict[str, Target] = {}
    for image in line.images:
        targets[image.name] = _plan_image(image, settings, line, release, sources, bases, targets)
    if not any(t.platforms for t in targets.values() if t.kind != "builder"):
        wrong = f"PLATFORMS: no image of this line is built for {' '.join(settings.platforms)}"
        problems.append(Problem(settings.where("PLATFORMS"), wrong))
    for target in targets.values():
        for tag in target.tags if target.is_pushed else ():
            own = "BASE_TAG" if target.kind == "base" else "TAG"
            try:
                check_tag(tag.rpartition(":")[2])
                own = "PREFIX"
                parse_reference(tag)
            except ValueError as error:
                problems.append(Problem(settings.where(own), f"{own}: {tag}, a tag of {target.name}: {error}"))
    if problems:
        raise InputError(problems, subject=".env")
    kept = [t for t in targets.values() if t.platforms]
    complete = _with_narrowed_parents(kept)
    if clashing := [*clashes(_names_and_tags(complete, line))]:
        raise InputError(clashing)
    members = {name: {t.name for t in targets.values() if t.kind in kinds} for name, kinds in GROUPS.items()}
    members.update((group.name, set(group.images)) for group in line.groups)
    return Plan(
        settings=settings,
        keys=line.keys,
        family=line.family,
        line=line.name,
        release=release.version,
        variables=_variables(settings, line.family, sources.values(), kept),
        targets=complete,
        unavailable=tuple(t for t in targets.values() if not t.platforms),
        members=members,
        sbom_scanner=_plan_base("sbom-scanner", SBOM_SCANNER, settings) if settings.sbom else None,
        party=line.party if line.party and line.party.images <= {target.name for target in kept} else None,
    )


def _check_override_names(settings: Settings, line: Line, problems: list[Problem]) -> None:
    for overrides, suffix, known in (
        (settings.sources, "_SOURCE", [s.name for s in line.sources]),
        (settings.images, "_IMAGE", line.upstream_images),
    ):
        keys, kind = {key_of(name, suffix) for name in known}, suffix.strip("_").lower()
        for key, _ in overrides:
            if key not in keys:
                name, where = key.removesuffix(suffix).lower().replace("_", "-"), settings.where(key)
                near = difflib.get_close_matches(name, known, n=1)
                # --source is given the name itself
                called = str if where == "--source" else partial(key_of, suffix=suffix)
                hint = f"did you mean {called(near[0])}?" if near else f"known are {', '.join(map(called, known))}"
                wrong = f"{called(name)}: {line.family.name} {line.name} has no {kind} with this name; {hint}"
                problems.append(Problem(where, wrong))


def _plan_source(
    source: Source, commit: str, settings: Settings, bases: dict[str, Base], problems: list[Problem]
) -> PlannedSource:
    key = key_of(source.name, "_SOURCE")
    location, where = f"{source.git}#{commit}" if source.git else source.path, "" if source.git else source.where
    if key in settings.overrides:
        location, where = settings.overrides[key], settings.where(key)
    if "://" not in location and not re.match("git@.*:", location):
        return PlannedSource(source.name, location, True, source.git, "", commit, "", source.licenses, where)
    url, _, revision = location.partition("#")
    fetch_in = bases[source.fetch_in].reference if source.fetch_in else ""
    planned = PlannedSource(source.name, location, False, url, revision, commit, fetch_in, source.licenses, where)
    if source.fetch_in and not planned.pinned:
        wrong = (
            f"{key}: #{revision} is not a commit; {source.name} is fetched without its "
            f"submodules, which needs 40 hexadecimal digits (git ls-remote {url} {revision} prints them)"
        )
        problems.append(Problem(where, wrong))
    return planned


def _plan_base(name: str, image: str, settings: Settings, where: str = "") -> Base:
    """An override is taken as written; anything else comes from BASE_REGISTRY if that is set."""
    key = key_of(name, "_IMAGE")
    if override := settings.overrides.get(key):
        return Base(name, override, override, settings.where(key))
    if not settings.base_registry:
        return Base(name, image, image, where)
    origin = settings.where("BASE_REGISTRY")
    return Base(name, mirrored(image, settings.base_registry), image, f"{where}, {origin}" if where else origin)


def _plan_image(
    image: Image,
    settings: Settings,
    line: Line,
    release: Release,
    sources: dict[str, PlannedSource],
    bases: dict[str, Base],
    planned: dict[str, Target],
) -> Target:
    parents = tuple(p for p in image.parents if p in planned)
    platforms, skipped = _platforms(image, settings, [planned[p] for p in parents])
    versions = next(((own.name, own.value) for own in image.versions if own.name == release.version), ("", ""))
    repository = image.repository or image.name
    if image.kind == "third-party":
        named = parse_reference(image.image)
        tags: tuple[str, ...] = (str(replace(named, digest="")),)
        repository = named.path.rpartition("/")[2]
        own_bases: tuple[Base, ...] = (_plan_base(image.name, image.image, settings, image.where),)
        dockerfile = ""
    else:
        tag = {"base": settings.base_tag, "component": settings.tag}.get(image.kind, "")
        tag = tag.replace(*versions)
        own_tags = dict.fromkeys(pattern.replace("${tag}", tag) for pattern in image.tags) if tag else ()
        tags = tuple(f"{settings.prefix}/{repository}:{own_tag}" for own_tag in own_tags)
        own_bases = tuple(bases[p] for p in image.parents if p in bases)
        dockerfile = f"dockerfiles/{image.name}/Dockerfile"
    own_sources = tuple(sources[s] for s in image.sources)
    main_source = sources[image.main_source] if image.main_source else None
    names = {
        "image": image.name,
        "release": release.version,
        "tag": tags[0].rpartition(":")[2] if tags else "",
        "source": main_source.url if main_source else "",
    }
    contexts = [Context(p, p, image_variable(p) if planned[p].kind == "base" else "") for p in parents]
    for own in line.family.keys:
        if own.name in image.files and (path := settings.other(own.name)):
            contexts.append(Context(own.context, value=posixpath.dirname(path) or "."))
    contexts += [Context(s.name, variable=key_of(s.name, "_SOURCE")) for s in own_sources if not s.fetch_in]
    return Target(
        name=image.name,
        kind=image.kind,
        description=image.description,
        tags=tags,
        platforms=platforms,
        skipped=skipped,
        contexts=tuple(contexts),
        sources=own_sources,
        main_source=main_source,
        bases=own_bases,
        parents=parents,
        dockerfile=dockerfile,
        template=image.template,
        inherits="",
        params=tuple((param.name, param.value) for param in image.params),
        downloads=image.downloads,
        repository=repository,
        tag_patterns=image.tags,
        versions=versions,
        args=image.args,
        stage=image.stage,
        contract=filled(image.contract, names),
    )


def _platforms(
    image: Image, settings: Settings, parents: Sequence[Target]
) -> tuple[tuple[str, ...], tuple[SkippedPlatform, ...]]:
    """The settings' platforms less those that the image or a parent lacks, each with its reason."""
    kept, skipped = [], []
    limit = image.limit
    if limit is not None and limit.lifted_by and settings.is_set(limit.lifted_by):
        limit = None
    for platform in settings.platforms:
        lacking = [s for parent in parents for s in parent.skipped if s.platform == platform]
        if limit is not None and platform not in limit.only:
            lacking.insert(0, SkippedPlatform(platform, limit.reason(platform), image.name))
        if lacking:
            skipped.append(lacking[0])
        else:
            kept.append(platform)
    return tuple(kept), tuple(skipped)


def _with_narrowed_parents(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Adds, for a link between targets of unequal platform sets, a copy of the parent with the child's set behind it.

    BuildKit runs their common steps once; only bake before buildx 0.20 needs the two names.
    """
    by_name = {t.name: t for t in targets}
    copies: dict[str, dict[tuple[str, ...], str]] = {}
    """of each target: the platforms of its copies, and their names"""

    def links(target: Target, platforms: tuple[str, ...]) -> Iterator[Context]:
        for context in target.contexts:
            name = context.target
            if name and by_name[name].platforms != platforms:
                narrowed = f"{name}-{'-'.join(platform.replace('/', '-') for platform in platforms)}"
                context = replace(context, target=copies.setdefault(name, {}).setdefault(platforms, narrowed))
            yield context

    ordered: list[Target] = []
    # children first: then all that want a copy of a parent are known
    for target in reversed(targets):
        for platforms, name in sorted(copies.get(target.name, {}).items(), reverse=True):
            copy = replace(target, name=name, tags=(), platforms=platforms, inherits=target.name, skipped=())
            ordered.append(replace(copy, contexts=tuple(links(target, platforms))))
        ordered.append(replace(target, contexts=tuple(links(target, target.platforms))))
    return tuple(reversed(ordered))


def _names_and_tags(targets: Iterable[Target], line: Line) -> Iterator[tuple[str, str, str, str]]:
    """What no two targets may have, for ``clashes``: bake builds one of two with one name, and one tag is another's."""
    places = {image.name: image.where for image in line.images}
    for target in targets:
        image = target.inherits or target.name
        yield target.name, f"the target {target.name}", f"image {image}", places[image]
        for tag in target.tags:
            yield normalize(tag), f"the tag {tag}", f"image {image}", places[image]


def _variables(
    settings: Settings, family: Family, sources: Iterable[PlannedSource], targets: Iterable[Target]
) -> tuple[Variable, ...]:
    """The HCL variables, in the order of the bake file; bake is given exactly these values for them."""
    s = settings
    bases = [target.name for target in targets if target.kind == "base"]
    linking = "or docker-image://… to build on a published one"
    links = [Variable(image_variable(name), f"target:{name}", f"{name}, {linking}") for name in bases]
    location = "a git URL with #commit, or a directory"
    fetched = [Variable(key_of(p.name, "_SOURCE"), p.location, location) for p in sources if not p.fetch_in]
    arguments = [Variable(own.name, s.other(own.name), own.doc) for own in family.keys if own.is_argument]
    secrets = [(own.name, f"file: {own.doc} (a build secret)") for own in family.keys if own.secret]
    return (
        Variable("PREFIX", s.prefix, "registry and namespace of every image"),
        Variable("BASE_TAG", s.base_tag, "tag of the base images"),
        Variable("TAG", s.tag, "tag of the components"),
        *links,
        *fetched,
        *arguments,
        Variable("CA_BUNDLE", s.ca_bundle, "file: certificates that the build trusts (a build secret)"),
        *(Variable(name, s.other(name), doc) for name, doc in secrets),
        Variable("HTTP_PROXY", s.http_proxy, "proxy for the build", secret=True),
        Variable("HTTPS_PROXY", s.https_proxy, "proxy for the build", secret=True),
        Variable("NO_PROXY", s.no_proxy, "hosts to reach without the proxy"),
        Variable("CACHE_FROM", s.cache_from, "repository to read build caches from"),
        Variable("CACHE_TO", s.cache_to, "repository to write build caches to"),
    )
