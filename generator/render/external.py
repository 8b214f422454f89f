"""Everything that a build downloads: images, git repositories, packages. For mirroring it.

It is read from the plan and from the rendered Dockerfiles: a step that takes a key of ``.env`` says so in its text, and
the catalogue knows what a step with that key downloads. A URL in a template of the user's is listed too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from generator.catalogue.line import DOWNLOADS
from generator.config.reference import parse_reference
from generator.config.settings import key_of
from generator.plan.plan import Base, Plan, Target
from generator.render.dockerfile import names_in

KINDS = ("image", "git", *DOWNLOADS, "url")
_Row = tuple[str, str, str, str]
"""The kind, upstream, asked and key of an External."""
# an address of the build machine itself is not listed (Maven's blocker of http is at 0.0.0.0)
_URL = re.compile(r"https?://(?!0\.0\.0\.0|127\.|localhost\b)[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?(?:/[^\s'\"$;|&)\\]*)?")


@dataclass(frozen=True)
class External:
    """One thing that a build downloads: ``upstream`` is where it comes from, ``asked`` where this project gets it.

    They differ for an image behind BASE_REGISTRY. ``key`` is the key of ``.env`` that leads it elsewhere ("" for a
    template's own address), ``images`` are those that need it.
    """

    kind: str
    upstream: str
    asked: str
    key: str
    images: tuple[str, ...]


def externals(
    plan: Plan, tree: Mapping[str, str], targets: Sequence[Target], *, maven_settings: str = ""
) -> tuple[External, ...]:
    """What these targets download, each thing once, sorted by kind in a fixed order.

    ``tree`` has the rendered Dockerfiles; ``maven_settings`` is the text of that file, "" if there is none.
    """
    bases = {base.reference: base for target in (*plan.targets, *targets) for base in target.bases}
    images: dict[_Row, dict[str, None]] = {}
    for target in targets:
        dockerfile = tree.get(target.dockerfile, "")
        for row in (*_images(plan, target, dockerfile, bases), *_files(plan, target, dockerfile, maven_settings)):
            images.setdefault(row, {})[target.inherits or target.name] = None
    rows = sorted(images.items(), key=lambda item: (KINDS.index(item[0][0]), item[0]))
    return tuple(External(*row, tuple(names)) for row, names in rows)


def _images(plan: Plan, target: Target, dockerfile: str, bases: Mapping[str, Base]) -> Iterator[_Row]:
    named = [name for name, _ in names_in(dockerfile) if "$" not in name]
    for name in named or [base.reference for base in target.bases]:
        if name in bases:
            yield "image", bases[name].upstream, name, key_of(bases[name].name, "_IMAGE")
        elif re.search("[/:@]", name):
            yield "image", name, name, ""
    if plan.sbom_scanner is not None and target.tags:
        yield "image", plan.sbom_scanner.upstream, plan.sbom_scanner.reference, "BASE_REGISTRY"


def _files(plan: Plan, target: Target, dockerfile: str, maven_settings: str) -> Iterator[_Row]:
    for source in target.sources:
        if not source.local:
            yield "git", source.location, source.location, key_of(source.name, "_SOURCE")
    steps = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    taken = set(re.findall(r"^ARG (\w+)|\bid=([\w-]+)", steps, re.MULTILINE))
    given = {own: plan.settings.other(own.name) for own in plan.family.keys if own.downloads}
    for own, value in given.items():
        if taken & {(own.name, ""), ("", own.secret)}:
            urls = maven_mirrors(maven_settings) if own.type == "maven-settings" else [value] * bool(value)
            for url in urls or [own.from_] * bool(own.from_):
                yield own.downloads, own.from_ or url, url, own.name
    for pair in target.downloads:
        kind = next(own.downloads for own in given if own.name == pair.name)
        if not any(value for own, value in given.items() if own.downloads == kind):
            yield kind, pair.value, pair.value, pair.name
    for url in _URL.findall(steps):
        if url not in {source.url for source in target.sources}:
            yield "url", url, url, ""


def maven_mirrors(settings: str) -> list[str]:
    """The URLs of all ``<mirror>`` entries of a settings.xml, without a login; none if it cannot be read."""
    try:
        root = ElementTree.fromstring(settings)
    except ElementTree.ParseError:
        return []
    urls = [(url.text or "").strip() for mirror in root.iterfind(".//{*}mirror") for url in mirror.iterfind("{*}url")]
    return [re.sub("://[^/]*@", "://", url) for url in urls if url]


def skopeo_sync(rows: Sequence[External]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """The images as ``skopeo sync --src yaml`` reads them: registry -> ``images`` -> repository -> tags or digests.

    (skopeo-sync(1), "YAML file content".) They are named as upstream has them: ``--scoped`` copies
    ``docker.io/library/debian`` to ``MIRROR/docker.io/library/debian``, which BASE_REGISTRY=MIRROR/docker.io then uses.
    """
    registries: dict[str, dict[str, dict[str, list[str]]]] = {}
    for row in rows:
        if row.kind == "image":
            reference = parse_reference(row.upstream).full
            version = reference.digest or reference.tag or "latest"
            images = registries.setdefault(reference.domain, {"images": {}})["images"]
            versions = images.setdefault(reference.path, [])
            if version not in versions:
                versions.append(version)
    return registries
