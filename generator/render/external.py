"""Everything that a build downloads: images, git repositories, packages. For mirroring it.

It is read from the plan and from the rendered Dockerfiles: a step that takes ``APT_MIRROR``, a package index or Maven's
settings says so in its text, and a URL in a template of the user's is listed too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from generator.config.reference import parse_reference
from generator.config.settings import key_of
from generator.plan.plan import Plan, Target
from generator.render.dockerfile import names_in

DownloadKind = Literal["image", "git", "apt", "pip", "npm", "maven", "url"]
KINDS: tuple[DownloadKind, ...] = ("image", "git", "apt", "pip", "npm", "maven", "url")

APT_DEFAULT = "the distribution's own archive, as set in the base image"
PIP_DEFAULT = "pip's default index"
LISTED_INDEXES = "the indexes in FATE's own requirements"
NPM_DEFAULT = "npm's default registry"
MAVEN_DEFAULT = "Maven Central, and the repositories in the sources' pom.xml"

# an address of the build machine itself is not listed (Maven's blocker of http is at 0.0.0.0)
_URL = re.compile(r"https?://(?!0\.0\.0\.0|127\.|localhost\b)[A-Za-z0-9][A-Za-z0-9.-]*(?::\d+)?(?:/[^\s'\"$;|&)\\]*)?")


@dataclass(frozen=True)
class External:
    """One thing that a build downloads: ``upstream`` is where it comes from, ``asked`` where this project gets it.

    They differ for an image behind BASE_REGISTRY. ``key`` is the key of ``.env`` that leads it elsewhere ("" for a
    template's own address), ``images`` are those that need it.
    """

    kind: DownloadKind
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
    images: dict[tuple[DownloadKind, str, str, str], dict[str, None]] = {}
    for target in targets:
        dockerfile = tree.get(target.dockerfile, "")
        for row in (*_images(plan, target, dockerfile), *_files(plan, target, dockerfile, maven_settings)):
            images.setdefault(row, {})[target.inherits or target.name] = None
    rows = sorted(images.items(), key=lambda item: (KINDS.index(item[0][0]), item[0]))
    return tuple(External(*row, tuple(names)) for row, names in rows)


def _images(plan: Plan, target: Target, dockerfile: str) -> Iterator[tuple[DownloadKind, str, str, str]]:
    bases = {base.reference: base for other in (*plan.targets, target) for base in other.bases}
    named = [name for name, _ in names_in(dockerfile) if "$" not in name]
    for name in named or [base.reference for base in target.bases]:
        if name in bases:
            yield "image", bases[name].upstream, name, key_of(bases[name].name, "_IMAGE")
        elif re.search("[/:@]", name):
            yield "image", name, name, ""
    if plan.sbom_scanner is not None and target.tags:
        yield "image", plan.sbom_scanner.upstream, plan.sbom_scanner.reference, "BASE_REGISTRY"


def _files(
    plan: Plan, target: Target, dockerfile: str, maven_settings: str
) -> Iterator[tuple[DownloadKind, str, str, str]]:
    settings = plan.settings
    for source in target.sources:
        if not source.local:
            yield "git", source.location, source.location, key_of(source.name, "_SOURCE")
    steps = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    arguments = set(re.findall(r"^ARG (\w+)", steps, re.MULTILINE))
    if "APT_MIRROR" in arguments:
        yield "apt", APT_DEFAULT, settings.apt_mirror or APT_DEFAULT, "APT_MIRROR"
    if "PIP_INDEX_URL" in arguments:
        yield "pip", PIP_DEFAULT, settings.pip_index_url or PIP_DEFAULT, "PIP_INDEX_URL"
        listed = LISTED_INDEXES if "--extra-index-url" in steps and not settings.pip_index_url else ""
        if more := settings.pip_extra_index_url or listed:
            yield "pip", more, more, "PIP_EXTRA_INDEX_URL"
    if "NPM_REGISTRY" in arguments:
        yield "npm", NPM_DEFAULT, settings.npm_registry or NPM_DEFAULT, "NPM_REGISTRY"
    if "id=maven-settings" in steps:
        for url in maven_mirrors(maven_settings) or [MAVEN_DEFAULT]:
            yield "maven", MAVEN_DEFAULT, url, "MAVEN_SETTINGS"
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
    ``docker.io/library/maven`` to ``MIRROR/docker.io/library/maven``, which BASE_REGISTRY=MIRROR/docker.io then uses.
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
