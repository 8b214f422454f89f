"""Where the images to verify are: in the engine, in OCI layouts of bake or a registry, in a bundle.

Each origin gives subjects, reads their content without extracting it, and says by which names the engine starts them.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from platform import node

from generator.bundle.bases import open_blobs
from generator.bundle.engines import NOT_IN_ENGINE, DockerEngine
from generator.bundle.load import load
from generator.bundle.reader import inspect
from generator.bundle.reader import verify as verify_bundle
from generator.bundle.save import save
from generator.catalogue.contract import Contract
from generator.config import reference
from generator.docker.process import Docker
from generator.errors import BundleError, EngineError, InputError, Problem
from generator.images.docker_save import DockerSave, read_saves, read_stream
from generator.images.image import CHUNK, Image, Readable, read_pieces
from generator.images.layout import SourceImage, read_all
from generator.images.oci import Descriptor, platform_name
from generator.images.strictjson import Malformed
from generator.plan.plan import Plan, Target
from generator.progress import Progress, say
from generator.verify.layers import MOST_MEMORY, Content, Listing, Room, content_of, read_layer

NAMES = "fategen.invalid/verify"
"""A registry that nobody can push to or pull from (RFC 2606); ``place`` follows."""


def place(directory: Path) -> str:
    """Eight hex digits for a directory of this machine: the same in every run, so the next one finds what is left."""
    return hashlib.sha256(f"{node()}:{directory}".encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Subject:
    """One platform of one image. ``id`` is the digest that its origin knows it by."""

    image: str
    reference: str
    platform: str
    id: str
    contract: Contract


@dataclass(frozen=True)
class Wanted:
    """The targets that were asked for, those of them that were named one by one, and the platforms (none: as found)."""

    targets: tuple[Target, ...]
    named: tuple[str, ...]
    platforms: tuple[str, ...]


def asked_for(plan: Plan, names: Sequence[str], platforms: Sequence[str]) -> Wanted:
    """The images of these names. The builders in a group have no tag and are left out, as bake leaves them out."""
    targets = tuple(target for target in plan.select(names) if target.tags)
    return Wanted(targets, tuple(target.name for target in targets if target.name in names), tuple(platforms))


@dataclass(frozen=True)
class Origin:
    """``read``: the content of some subjects, without a platform that its image lacks; EngineError or BundleError.

    ``started``: subject -> the same under a name that the engine has while the block lasts; one that is not there is
    not started. None if nothing can be started.
    """

    subjects: tuple[Subject, ...]
    read: Callable[[Collection[Subject], Progress], Mapping[Subject, Content]]
    started: Callable[[Docker], AbstractContextManager[Mapping[Subject, Subject]]] | None


def from_engine(docker: Docker, wanted: Wanted) -> Origin:
    """What the engine has under the plan's names. InputError names those that it does not have."""
    references = [target.tags[0] for target in wanted.targets]
    known = DockerEngine(docker).inspect(references)
    if missing := [target for target in wanted.targets if target.tags[0] not in known]:
        names = " ".join(target.name for target in missing)
        problems = [Problem(target.tags[0], NOT_IN_ENGINE) for target in missing]
        flags = "".join(f" --platform {platform}" for platform in wanted.platforms)
        build = f"build and load: fategen bake {names} --load{flags}"
        raise InputError(problems, hint=f"{build}; or fetch what is published: docker pull")
    subjects = tuple(
        Subject(target.name, target.tags[0], platform, known[target.tags[0]].id, target.contract)
        for target in wanted.targets
        for platform in _platforms(target, wanted, (platform_name(known[target.tags[0]].platform),))
    )
    if not subjects:
        names = " ".join(target.name for target in wanted.targets)
        platforms = wanted.platforms or sorted({image.platform for image in known.values()})
        problem = Problem("--platform", f"no image of {names} has {' '.join(platforms)}")
        raise InputError(problem, hint="fategen images lists every image's platforms, and why it lacks one")
    return Origin(
        subjects,
        partial(_read_engine, docker),
        lambda _: contextlib.nullcontext({subject: subject for subject in subjects}),
    )


def _read_engine(docker: Docker, subjects: Collection[Subject], progress: Progress) -> dict[Subject, Content]:
    """By one ``docker save`` of all of them.

    Unlike a container, its stream shows nothing that a start adds (/etc/hosts, /dev, mounts), has images of other
    platforms, and has shared layers once.
    """
    if not subjects:
        return {}
    room = Room(MOST_MEMORY)

    def take(_name: str, stream: Readable, _size: int) -> Listing:
        return read_layer(iter(lambda: stream.read(CHUNK), b""), room)[1]

    def read(_: object, stream: Readable) -> dict[Subject, Content]:
        saved: DockerSave[Listing] = read_stream(stream, take)
        contents, absent = {}, []
        for subject in subjects:
            image = saved.image(subject.id, subject.platform)
            if image is None:
                absent.append(subject)
                continue
            if missing := [name for name in image.layers if name not in saved.layers]:
                # "docker save" of an incomplete image in a containerd store says nothing of it
                message = f"docker save wrote no layer {missing[0]} of image {subject.id}"
                raise EngineError(message, hint="pull or load it again")
            contents[subject] = content_of(image.config, [saved.layers[name] for name in image.layers])
        if absent:
            problems = [Problem(s.reference, f"the engine does not have it for {s.platform}") for s in absent]
            names = " ".join(dict.fromkeys(s.image for s in absent))
            platforms = " ".join(dict.fromkeys(f"--platform {s.platform}" for s in absent))
            raise InputError(problems, hint=f"build and load: fategen bake {names} --load {platforms}")
        return contents

    return read_saves(docker, [[subject.id for subject in subjects]], read, progress)[0]


@dataclass(frozen=True)
class _Stored:
    """An image, how its blobs are read (checked, in pieces), and the next step if one is wrong."""

    image: Image
    pieces: Callable[[Descriptor], Iterable[bytes]]
    hint: str


def _read_stored(
    images: Iterable[_Stored], subjects: Collection[Subject], progress: Progress
) -> dict[Subject, Content]:
    """Raises BundleError if a blob is not what its descriptor, or a layer not what the image's config says."""
    stored = {(p.manifest.digest, p.platform): (p, source) for source in images for p in source.image.platform_images}
    layers: dict[str, Listing] = {}
    room = Room(MOST_MEMORY)

    def pieces(source: _Stored, blob: Descriptor) -> Iterator[bytes]:
        done = 0
        for piece in source.pieces(blob):
            done += len(piece)
            progress(f"layer {blob.digest}", done, blob.size)
            yield piece

    contents = {}
    for subject in subjects:
        if (subject.id, subject.platform) not in stored:
            continue
        image, source = stored[subject.id, subject.platform]
        try:
            for layer in image.layers:
                blob = layer.blob
                if layer.diff_id not in layers:
                    diff_id, layers[layer.diff_id] = read_layer(pieces(source, blob), room)
                    if diff_id != layer.diff_id:
                        raise Malformed(f"unpacked it is {diff_id}, its config says {layer.diff_id}")
            blob = image.config
            config = b"".join(source.pieces(blob))
            contents[subject] = content_of(config, [layers[layer.diff_id] for layer in image.layers])
        except Malformed as error:
            raise BundleError(f"{source.image.label}: blob {blob.digest}: {error}", hint=source.hint) from error
    return contents


def from_layouts(targets: Sequence[Target], sources: Sequence[SourceImage], directory: Path) -> Origin:
    """What is in OCI layouts, one for each target. The engine's own platform is started, loaded from ``directory``."""
    images = read_all(sources)
    layouts = {
        Subject(target.name, target.tags[0], image.platform, image.manifest.digest, target.contract): source.layout
        for target, resolved, source in zip(targets, images, sources, strict=True)
        for image in resolved.image.platform_images
    }
    stored = [
        _Stored(r.image, partial(read_pieces, r.source, what=f"{r.image.label}: blob"), r.source.hint) for r in images
    ]
    return Origin(tuple(layouts), partial(_read_stored, stored), partial(_loaded, layouts, directory))


@contextlib.contextmanager
def _loaded(layouts: Mapping[Subject, Path], directory: Path, docker: Docker) -> Iterator[dict[Subject, Subject]]:
    """Those of the engine's own platform, loaded as a bundle: so every byte is checked, and what the engine has then.

    Neither the file nor a name is left. They are the same in every run, and runs take turns: what a killed one has
    left goes too.
    """
    engine = DockerEngine(docker)
    platform = engine.platform()
    prefix = f"{NAMES}-{place(directory)}"
    renamed = {
        subject: replace(subject, reference=f"{prefix}/{subject.image}:1")
        for subject in layouts
        if subject.platform == platform
    }
    if not renamed:
        yield {}
        return
    images = [SourceImage((new.reference,), layouts[subject], (platform,)) for subject, new in renamed.items()]
    file = directory / "images.tar"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save(images, file, name="verify")
        load(file, engine, platform=platform)
        file.unlink()
        yield renamed
    finally:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.sha256").unlink(missing_ok=True)
        form = ("--format={{.Repository}}:{{.Tag}}", f"--filter=reference={prefix}/*")
        for name in docker.run(["image", "ls", *form]).stdout.split():
            engine.untag(name)


def from_bundle(file: Path, wanted: Wanted) -> Origin:
    """The plan's images in a bundle. Raises InputError if it lacks one that was named, or is a delta."""
    index = inspect(file).index
    if index.bases:
        # what is not in it could neither be seen nor missed
        message = f"it is a delta bundle: most of its content is in {index.base_names}"
        raise InputError(
            Problem(str(file), message), hint="load both with fategen bundle load, then run fategen verify"
        )
    found = _of_targets(wanted.targets, index.images)
    if missing := [name for name in wanted.named if name not in found]:
        problems = [Problem(name, f"is not in {file.name}") for name in missing]
        raise InputError(problems, hint=f"it has {', '.join(dict.fromkeys(image.label for image in index.images))}")
    subjects = []
    for target in wanted.targets:
        if target.name not in found:
            continue
        image = found[target.name]
        for platform in _platforms(target, wanted, image.platforms):
            if platform in image.manifests:
                name, identity = reference.familiar(image.references[0]), image.manifests[platform]
                subjects.append(Subject(target.name, name, platform, identity, target.contract))
            else:
                say(f"{target.name} is not in {file.name} for {platform}")
    if not subjects:
        problem = Problem(str(file), "it has none of the requested images and platforms")
        raise InputError(problem, hint=f"fategen bundle inspect {file} lists what it has")
    return Origin(tuple(subjects), partial(_read_bundle, file), None)


def _read_bundle(file: Path, subjects: Collection[Subject], progress: Progress) -> dict[Subject, Content]:
    """Every byte of it is checked, even if nothing of it is wanted. Raises BundleError."""
    verify_bundle(file, progress=progress)
    with open_blobs(file) as blobs:
        images = blobs.bundle.index.images
        stored = [_Stored(image, blobs.chunks, "the bundle was made incorrectly") for image in images]
        return _read_stored(stored, subjects, progress)


def _of_targets(targets: Iterable[Target], images: Iterable[Image]) -> dict[str, Image]:
    """The images of a bundle by the names of their targets: below any prefix, and of several of a name that of its tag.

    ``docker.io/team/web/api:1`` may be ``web/api`` or ``api``, in a bundle without a nearer one.
    """
    ends: dict[str, list[Image]] = {}
    for image in images:
        for name in dict.fromkeys(map(reference.repository, image.references)):
            for start in range(len(parts := name.split("/"))):
                ends.setdefault("/".join(parts[start:]), []).append(image)
    found = {}
    for target in targets:
        tags = {tag.rpartition(":")[2] for tag in target.tags}

        def misfit(image: Image, tags: set[str] = tags) -> tuple[bool, int]:
            return tags.isdisjoint(name.rpartition(":")[2] for name in image.references), len(image.references[0])

        if target.tags and target.repository in ends:
            found[target.name] = min(ends[target.repository], key=misfit)
    return found


def tags_in(file: Path, plan: Plan) -> tuple[str, ...]:
    """``TAG=…``, ``BASE_TAG=…`` with which the images of that kind have the tags in a bundle, if these are others."""
    images, changes = _of_targets(plan.targets, inspect(file).index.images), []
    for key, kind, planned in (("TAG", "component", plan.settings.tag), ("BASE_TAG", "base", plan.settings.base_tag)):
        named = [
            (t, name) for t in plan.targets if t.kind == kind and t.name in images for name in images[t.name].references
        ]
        fitting = [values for target, name in named if (values := target.settings_of(name.rpartition(":")[2]))]
        common = set.intersection(*fitting) if fitting else set()
        if len(common) == 1 and planned not in common:
            changes.append(f"{key}={common.pop()}")
    return tuple(changes)


def _platforms(target: Target, wanted: Wanted, present: Sequence[str]) -> list[str]:
    """The platforms of a target to verify; a missing one is noted, or an error if the image was named."""
    platforms = []
    for platform in wanted.platforms or present:
        skipped = next((skipped for skipped in target.skipped if skipped.platform == platform), None)
        if skipped is None:
            platforms.append(platform)
        elif target.name in wanted.named:
            raise InputError(Problem(target.name, f"has no {platform}: {skipped.reason}"))
        else:
            say(f"{target.name} is not verified for {platform}: {skipped.reason}")
    return platforms
