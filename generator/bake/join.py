"""One release from several machines: each uploads its platforms and writes a digests file; ``join`` makes the indexes.

A machine's images have no tag yet. ``join`` checks that the files together are the whole plan, of the same settings
and sources, makes one index of each image's platforms, and writes all tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.bake.build import Built
from generator.bake.publish import joined, path_and_tags
from generator.bake.run import BakeContext
from generator.errors import InputError, Problem
from generator.files import disk_errors, write_atomically
from generator.images.image import contents, sha256
from generator.images.oci import platform_name
from generator.images.strictjson import Malformed, digest, fields, items, parse, text
from generator.plan.plan import Plan, Target
from generator.progress import Progress, say
from generator.registry.client import Registry, Repository
from generator.registry.http import RegistryError
from generator.registry.publish import Publication, Published, Publisher, movable_tags
from generator.text import printable
from generator.workspace import Workspace

VERSION = 2
_PUBLISHED, _BUILT = "published", "built"
_RELEASE = ("release", "prefix", "tag", "settings", "base")


@dataclass(frozen=True)
class Uploaded:
    """An image that one machine uploaded: the digest of its manifest, or of its index, and the platforms in it."""

    file: str
    image: str
    digest: str
    platforms: tuple[str, ...]


@dataclass(frozen=True)
class DigestsFile:
    """What one machine uploaded, and of what: files of one release differ in ``images`` alone.

    ``release`` is what ``_release`` says of the project; ``sources`` are the commits by name.
    """

    file: str
    release: Mapping[str, str]
    sources: Mapping[str, str]
    images: tuple[Uploaded, ...]


def source_commits(context: BakeContext) -> dict[str, str]:
    """The commit of each source by name. Raises InputError for a source whose content no commit names."""
    commits, problems = {}, []
    for source in {s.name: s for target in context.job.involved for s in target.sources}.values():
        state = context.states.get(source.name)
        commits[source.name] = state.commit if state else source.revision
        if state and (state.dirty or not state.commit):
            why = "has uncommitted changes" if state.dirty else "is not a git checkout of its own"
            problems.append(Problem(source.location, f"{why}: another machine might build something else"))
        if not state and not source.pinned:
            which = f"{source.url}#{source.revision}" if source.revision else source.url
            why = "may be another commit on another machine: write #COMMIT (git ls-remote prints it)"
            problems.append(Problem(source.where, f"{which} {why}"))
    if problems:
        raise InputError(problems, hint="commit the changes, pin sources to commits, then run the same command again")
    return commits


def write_digests(
    path: Path, workspace: Workspace, commits: Mapping[str, str], built: Sequence[Built], published_base: bool = False
) -> list[str]:
    """Writes what this machine uploaded, and of which sources; returns what ``join`` needs from other files.

    ``published_base``: the components stand on the published base images, which ``join`` leaves as they are.
    """
    images = [
        {"image": image.image, "digest": image.digest, "platforms": list(image.platforms)}
        for image in built
        if image.references
    ]
    release = {**_release(workspace), "base": _PUBLISHED if published_base else _BUILT}
    content = {"version": VERSION, **release, "sources": dict(commits), "images": images}
    with disk_errors(path.parent):
        write_atomically(path, json.dumps({**content, "checksum": _checksum(content)}, indent=2) + "\n")
    uploaded = {(image.image, platform) for image in built for platform in image.platforms}
    expected = _everything(workspace.plan, release["base"])
    lacking: dict[str, list[str]] = {}
    for image, platform in sorted(expected - uploaded):
        lacking.setdefault(platform, []).append(image)
    everything = {platform: sum(platform == other for _, other in expected) for platform in lacking}
    return [
        f"{'all images' if len(images) == everything[platform] else ', '.join(images)} for {platform}"
        for platform, images in lacking.items()
    ]


def join(
    workspace: Workspace, files: Sequence[Path], registry: Registry, *, overwrite: bool, progress: Progress
) -> tuple[Published, ...]:
    """Publishes the release that these files make together, every tag or none.

    Raises InputError with everything that is missing, doubled, stale, edited or of another project; RegistryError;
    EngineError.
    """
    base, uploads = _checked(workspace, files)
    publications: list[Publication] = []
    problems: list[Problem] = []
    images = {image for image, _ in _everything(workspace.plan, base)}
    for target in (target for target in workspace.plan.targets if target.name in images):
        try:
            publications.append(_publication(registry, target, [u for u in uploads if u.image == target.name]))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems, hint="no tag was written; upload the missing images again, on their machine")
    movable = movable_tags(workspace.plan.settings.movable_tags.split(), overwrite)
    if_taken = "a new TAG (BASE_TAG for base images) needs a new bake --push --digests on each machine"
    return Publisher(registry, publications, workspace.project.make_state(), progress).publish(movable, if_taken)


def _release(workspace: Workspace) -> dict[str, str]:
    """What is built; ``settings`` is the digest of everything that the project renders, and of files that it names."""
    settings, texts = workspace.plan.settings, dict(workspace.tree)
    for path in workspace.plan.files.values():
        file = workspace.project.root / path
        try:
            texts[path] = sha256(file.read_bytes())
        except OSError as error:
            hint = "each machine and join need the same file that .env names"
            raise InputError(Problem(str(file), f"cannot be read: {error.strerror}"), hint=hint) from error
    everything = "".join(f"{path}\0{content}\0" for path, content in sorted(texts.items()))
    return {
        "release": workspace.plan.release,
        "prefix": settings.prefix,
        "tag": settings.tag,
        "settings": sha256(everything.encode()),
    }


def _checksum(content: Mapping[str, object]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode())


# the files


def _checked(workspace: Workspace, paths: Sequence[Path]) -> tuple[str, list[Uploaded]]:
    """What the files have: they fit this project and each other, and have every image and platform of the plan once.

    The first value says whether base images were built or are those that are published.
    """
    problems: list[Problem] = []
    files = []
    for number, path in enumerate(paths):
        try:
            if path.resolve() in [other.resolve() for other in paths[:number]]:
                raise InputError(Problem(str(path), "is given twice"))
            files.append(_read(path))
        except InputError as error:
            problems += error.problems
    expected = _release(workspace)
    for file in files:
        problems += _of_another_project(file, expected)
    problems += _other_sources(files)
    bases = [file.release["base"] for file in files]
    if len({*bases}) > 1:
        other = files[bases.index(_PUBLISHED)].file
        problems.append(Problem(other, "was built with --published-base, and others were not"))
    uploads = [image for file in files for image in file.images]
    if not problems:
        problems += _not_once(_everything(workspace.plan, bases[0]), uploads)
    if problems:
        what = "bake --published-base" if _PUBLISHED in bases else "bake all"
        step = f"on each machine: fategen {what} --push --platform P --digests FILE"
        raise InputError(problems, hint=f"no tag was written; {step}")
    for name, commit in sorted({item for file in files for item in file.sources.items()}):
        say(f"{name}: commit {commit[:12]}")
    return bases[0], uploads


def _read(path: Path) -> DigestsFile:
    where = "the file"
    try:
        document = parse(path.read_bytes())
        version = fields(document, where, ("version",))["version"]
        if version != VERSION:
            raise InputError(
                Problem(str(path), f"was written by another version of fategen (this one reads version {VERSION})")
            )
        content = fields(document, where, ("checksum", "images", "sources", *_RELEASE))
        checksum = text(content.pop("checksum"), "checksum")
        if content["base"] not in (_PUBLISHED, _BUILT):
            raise Malformed("its base is neither built nor published")
        if checksum != _checksum(content):
            raise InputError(Problem(str(path), "was edited or damaged: its checksum does not match"))
        sources = {printable(name): commit for name, commit in fields(content["sources"], "sources", ()).items()}
        return DigestsFile(
            file=str(path),
            release={name: printable(text(content[name], name)) for name in _RELEASE},
            sources={name: printable(text(commit, name)) for name, commit in sources.items()},
            images=tuple(_uploaded(value, str(path)) for value in items(content["images"], "images")),
        )
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except Malformed as error:
        raise InputError(Problem(str(path), f"is not a file of fategen bake --push --digests: {error}")) from error


def _uploaded(value: object, file: str) -> Uploaded:
    image = fields(value, "images", ("image", "digest", "platforms"))
    platforms = tuple(platform_name(text(name, "platforms")) for name in items(image["platforms"], "platforms"))
    return Uploaded(file, printable(text(image["image"], "image")), digest(image["digest"], "digest"), platforms)


def _of_another_project(file: DigestsFile, expected: Mapping[str, str]) -> Iterator[Problem]:
    """How a file is not of this project, as it is now."""
    for key, to in {"release": "for release", "prefix": "to", "tag": "for tag"}.items():
        if (value := file.release[key]) != expected[key]:
            yield Problem(file.file, f"was uploaded {to} {value}; the {key} of this project is {expected[key]}")
            return
    if file.release["settings"] != expected["settings"]:
        stale = "is stale: it was built with other settings, templates, catalogue or source paths than this project has"
        yield Problem(file.file, stale)


def _other_sources(files: Sequence[DigestsFile]) -> Iterator[Problem]:
    known: dict[str, tuple[str, str]] = {}
    for file in files:
        for name, commit in file.sources.items():
            first, by = known.setdefault(name, (commit, file.file))
            if first != commit:
                yield Problem(file.file, f"was built from {name} at {commit[:12]}, {by} from {first[:12]}")


def _everything(plan: Plan, base: str) -> set[tuple[str, str]]:
    """Every image of a release, with each of its platforms; base images too, unless they are published already."""
    pushed = [t for t in plan.targets if t.is_pushed and not (base == _PUBLISHED and t.kind == "base")]
    return {(target.name, platform) for target in pushed for platform in target.platforms}


def _not_once(expected: set[tuple[str, str]], uploads: Sequence[Uploaded]) -> Iterator[Problem]:
    """Every image and platform that is expected and in no file or in two, and what is not expected."""
    where: dict[tuple[str, str], str] = {}
    for upload in uploads:
        for platform in upload.platforms:
            key = upload.image, platform
            if key not in expected:
                yield Problem(upload.file, f"has {upload.image} for {platform}, which this project does not have")
            elif key in where:
                yield Problem(upload.file, f"has {upload.image} for {platform}, and {where[key]} has it too")
            where.setdefault(key, upload.file)
    for name, platform in sorted(expected - where.keys()):
        yield Problem(name, f"{platform} is in none of the files")


# the images


def _publication(registry: Registry, target: Target, uploads: Sequence[Uploaded]) -> Publication:
    """The image of all files. Raises InputError if the registry does not have what a file says."""
    path, _ = path_and_tags(target)
    parts = []
    for image in uploads:
        try:
            top = registry.manifest(path, image.digest)
        except RegistryError as error:
            if error.kind != "missing":
                raise
            missing = f"{target.name}: {registry.access.host}/{path} does not have {image.digest}"
            raise InputError(Problem(image.file, missing)) from None
        below = contents(Repository(registry, path), top.descriptor, target.name)
        if set(below.platforms) != set(image.platforms):
            has = f"{target.name}: {image.digest} is for {', '.join(below.platforms)}, not {', '.join(image.platforms)}"
            raise InputError(Problem(image.file, has))
        parts.append((top, below))
    return joined(target, parts)
