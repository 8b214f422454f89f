"""Loads a bundle in one pass: every byte is checked while it goes to the engine, and what the engine looks for
(``manifest.json``, ``index.json``, ``oci-layout``) is sent only when everything before it was right.

Without those files no engine names an image (seen on Docker 20.10 to 28 with both image stores). Its exit code proves
nothing (Docker 28 says 0 for a broken image), so the engine is asked afterwards what it has; when that is not what the
bundle says, the tags go back to what they were. Engines get members written here, never headers of the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from generator.bundle.bases import open_bundles
from generator.bundle.engines import Engine, Present
from generator.bundle.format import TRAILER, blob_name, header, loader_files, padding
from generator.bundle.index import BundleIndex
from generator.bundle.reader import Approve, iter_verified
from generator.config import reference
from generator.config.reference import familiar
from generator.errors import EngineError, FategenError, InputError, Problem, did_you_mean
from generator.images.image import Image, Readable, sha256
from generator.images.oci import ZSTD_TYPES, platform_name
from generator.images.strictjson import Malformed
from generator.progress import Progress, quiet, say
from generator.text import printable

_TAG_THEM = "tag them again with docker tag, podman tag or ctr images tag"


@dataclass(frozen=True)
class Loaded:
    """One name that was loaded. ``before`` is the ID that it had, "" if the engine did not have it."""

    reference: str
    platforms: tuple[str, ...]
    id: str
    before: str

    @property
    def state(self) -> Literal["new", "same", "replaced"]:
        return "new" if not self.before else "same" if self.before == self.id else "replaced"


@dataclass(frozen=True)
class LoadResult:
    """A bundle that was loaded: the platform of its images, their names, and who signed it, if that was asked."""

    index: BundleIndex
    platform: str
    images: tuple[Loaded, ...]
    signer: str = ""


def load(
    source: Path | Readable,
    engine: Engine,
    *,
    bases: Sequence[Path | Readable] = (),
    only: Sequence[str] = (),
    platform: str = "",
    retag: str = "",
    approve: Approve | None = None,
    progress: Progress = quiet,
) -> LoadResult:
    """Load a bundle, or the images of it that ``only`` names, for ``platform`` (default: the engine's own).

    A containerd store gets an image of several platforms as it is, unless ``platform`` is given, or a delta and its
    bases lack layers of the others. The whole bundle is checked, also what is not loaded or is in the engine already. A
    delta takes the layers that the engine lacks from ``bases`` (which of all the files is the bundle follows from their
    indexes). ``retag`` is another registry and namespace. ``approve`` is called before anything is sent.

    Raises InputError (an image, a platform or a base bundle that is missing), BundleError (damaged or unsafe: no name
    was touched), EngineError (the engine failed: names are as they were).
    """
    with open_bundles((source, *bases), "nothing was loaded") as blobs:
        bundle = blobs.bundle
        signer = approve(bundle.index, bundle.name) if approve else ""
        try:
            wanted_platform = platform_name(platform or engine.platform())
        except Malformed as error:
            raise InputError(Problem("--platform", str(error))) from None
        own = platform_name(engine.platform()) if platform and engine.containerd_store else wanted_platform
        # what a base is missing for may be other platforms alone
        for as_indexes in (True, False) if engine.containerd_store and not platform else (False,):
            chosen = renamed(_for_platform(bundle.index, only, wanted_platform, as_indexes), retag, "--retag")
            # a delta's missing layers may be in any image; a whole bundle was loaded under its names, or never
            images = () if bundle.index.missing else (*bundle.index.images, *chosen.images)
            known = engine.present(tuple(dict.fromkeys(name for image in images for name in image.references)))
            present = _present_layers(bundle.index, chosen, known, own)
            missing = {layer.digest for layer in bundle.index.missing} - present
            needed = [digest for digest in chosen.blobs() if digest in missing]
            lost = [digest for digest in needed if digest not in blobs.blobs]
            if not lost:
                break
        else:
            users = [i.label for i in chosen.images if any(blob.digest in lost for blob in i.blobs())]
            message = f"is a delta bundle, and its base is missing: {blobs.missing_bases}"
            problem = Problem(bundle.name, f"{message}; it has {len(lost)} layers of {', '.join(users)}")
            other = ", or load the base first"
            if engine.needs_every_layer:
                other = "; this engine needs the base each time, even after it was loaded"
            hint = f"pass the base bundle after {bundle.name} in the same command{other}"
            raise InputError(problem, hint=hint)
        _check_readable(engine, chosen, present)
        wanted = {blob_name(digest) for digest in chosen.blobs() if digest not in present} | {"blobs/", "blobs/sha256/"}
        names_before = Names(engine, chosen)
        with names_before.restored_on_error():

            def archive() -> Iterator[bytes]:
                for member, pieces in iter_verified(bundle, progress):
                    if member.name in wanted:
                        yield from pieces
                for digest in needed:
                    base, layer = blobs.blobs[digest]
                    yield header(layer.name, layer.size)
                    yield from base.chunks(layer)
                    yield bytes(padding(layer.size))
                names_before.may_change = True
                for name, content in loader_files(chosen):
                    yield header(name, len(content)) + content + bytes(padding(len(content)))
                yield TRAILER

            loaded = names_before.confirm(engine.load("" if as_indexes else wanted_platform, archive()))
    return LoadResult(bundle.index, wanted_platform, loaded, signer)


def choose(index: BundleIndex, only: Sequence[str]) -> tuple[Image, ...]:
    """The images that ``only`` names: by reference (full or short), repository, or last part of it; all for none.

    Raises InputError for a name of none, and for a last part that several repositories have.
    """
    if not only:
        return index.images
    own_names = {image: index.own_name(image.references[0]) for image in index.images}
    problems: list[Problem] = []
    wanted: set[Image] = set()
    for name in only:
        images = [image for image in index.images if name in _names(index, image)]
        images = images or [image for image in index.images if name in map(reference.short, image.references)]
        repositories = {familiar(reference.repository(image.references[0])) for image in images}
        wanted.update(images)
        if not images:
            problems.append(Problem(name, f"is not in the bundle{did_you_mean(name, own_names.values())}"))
        elif len(repositories) > 1:
            problems.append(Problem(name, f"is ambiguous: {' or '.join(sorted(repositories))}"))
    if problems:
        raise InputError(problems, hint=f"it contains {', '.join(dict.fromkeys(own_names.values()))}")
    return tuple(image for image in index.images if image in wanted)


def _names(index: BundleIndex, image: Image) -> Iterator[str]:
    """What an image may be called, besides the last part of its repository."""
    for full in image.references:
        known = familiar(full)
        yield from (full, known, reference.repository(full), known.rpartition(":")[0], index.own_name(full))


def _for_platform(index: BundleIndex, only: Sequence[str], platform: str, every: bool) -> BundleIndex:
    """The index of what is sent: of each image this platform, its manifest as the image; or ``every`` one, it first."""
    images, lacking = [], []
    for image in choose(index, only):
        taken = tuple(v for v in image.platform_images if v.platform == platform)
        if taken and every:
            images.append(replace(image, platform_images=tuple(dict.fromkeys((*taken, *image.platform_images)))))
        elif taken:
            images.append(replace(image, target=taken[0].manifest, platform_images=taken))
        else:
            lacking.append(Problem(image.label, f"is in the bundle for {', '.join(image.platforms)}, not {platform}"))
    if lacking and not images:
        platforms = ", ".join(sorted({name for image in choose(index, only) for name in image.platforms}))
        raise InputError(
            Problem("", f"the bundle has no image for {platform}; it has {platforms}"),
            hint=f"--platform loads another platform; or ask the sender for a bundle for {platform}",
        )
    if lacking:
        raise InputError(lacking, hint="--image loads the images that have it; --platform loads another platform")
    return BundleIndex(index.name, tuple(images), prefix=index.prefix)


def renamed(index: BundleIndex, prefix: str, where: str) -> BundleIndex:
    """The same images under ``REGISTRY/PREFIX``, with the last part of their names, or all below the index's prefix.

    Raises InputError, at ``where``, if different images would have one name.
    """
    if not prefix:
        return index
    images, problems = [], []
    named: dict[str, Image] = {}
    for image in index.images:
        names = {f"{prefix.rstrip('/')}/{index.own_name(name)}:{name.rpartition(':')[2]}" for name in image.references}
        try:
            references = tuple(sorted(map(reference.normalize, sorted(names))))
        except ValueError as error:
            raise InputError(Problem(where, str(error))) from None
        for name in references:
            other = named.setdefault(name, image)
            if other.target != image.target:
                both = f"{familiar(other.references[0])} and {familiar(image.references[0])}"
                problems.append(Problem(where, f"two images would be named {familiar(name)}: {both}"))
        # an equal image may have its name already
        if own := tuple(name for name in references if named[name] is image):
            images.append(replace(image, references=own))
    if problems:
        raise InputError(problems, hint="choose one of them with --image")
    return replace(index, images=tuple(sorted(images, key=lambda image: image.references[0])), prefix="")


def _present_layers(index: BundleIndex, chosen: BundleIndex, present: Present, own: str) -> frozenset[str]:
    """Digests of the layers of ``chosen`` that the engine, whose platform is ``own``, has already."""
    prefixes = {chain[:length] for chain in present.chains for length in range(1, len(chain) + 1)}
    whole: set[str] = set()
    for image in index.images:
        for platform_image in image.platform_images:
            # of an index that it was given by others, an engine may have its own platform alone
            tops = {platform_image.manifest.digest, image.target.digest if platform_image.platform == own else ""}
            if tops & present.manifests:
                whole.update(layer.blob.digest for layer in platform_image.layers)
    images = [platform_image for image in chosen.images for platform_image in image.platform_images]
    # a delta says in which images of its bases a missing layer is, but not for which platforms
    own_layers = {layer.blob.digest for image in images if image.platform == own for layer in image.layers}
    in_bases = {layer.digest for layer in index.missing if present.manifests.intersection(layer.manifests)}
    whole |= in_bases & own_layers
    known_layers: set[str] = set()
    send: set[str] = set()
    for platform_image in images:
        layers = platform_image.layers
        diff_ids = tuple(layer.diff_id for layer in layers)
        for number, layer in enumerate(layers):
            known_here = layer.blob.digest in whole or diff_ids[: number + 1] in prefixes
            (known_layers if known_here else send).add(layer.blob.digest)
    # a layer that sits on other layers in one image is sent for that image
    return frozenset(known_layers - send)


def _check_readable(engine: Engine, chosen: BundleIndex, present: frozenset[str]) -> None:
    """Raises EngineError if the engine cannot unpack what it would be sent: otherwise it fails after gigabytes."""
    images = [
        image.label
        for image in chosen.images
        if any(blob.media_type in ZSTD_TYPES and blob.digest not in present for blob in image.blobs())
    ]
    if images and not engine.reads_zstd():
        which = f"the layers of {', '.join(images)} are compressed with zstd"
        raise EngineError(
            f"{which}, which this Docker cannot read (23 and later can)",
            hint="build the images with compression=gzip,force-compression=true and save them again; nothing was sent",
        )


class Names:
    """The names of ``chosen`` before a load. Set ``may_change`` when the engine may begin to change them."""

    def __init__(self, engine: Engine, chosen: BundleIndex) -> None:
        self._engine = engine
        self._images = {name: image for image in chosen.images for name in image.references}
        names = self._images if engine.containerd_store else ()
        self._keeps = {name: f"fategen.invalid/keep:{sha256(name.encode())[7:23]}" for name in names}
        known = engine.inspect([*self._images, *self._keeps.values()])
        self._before = {name: known[name] for name in self._images if name in known}
        self._kept: dict[str, str] = {}
        self._left = [keep for keep in self._keeps.values() if keep in known]
        """what a load that was killed left behind"""
        self.may_change = False

    @contextlib.contextmanager
    def restored_on_error(self) -> Iterator[None]:
        """Keeps the old images while the block runs, and gives them their names again when it fails."""
        lost: list[str] = []
        try:
            for name, keep in self._keeps.items():
                # what will lose its name, where the engine would delete it
                image = self._before.get(name)
                if image is not None and image.id not in _ids(self._images[name]):
                    self._engine.tag(name, keep)
                    self._kept[name] = keep
            yield
            for keep in self._left:
                self._engine.untag(keep)
        except BaseException as error:
            if not self.may_change:
                raise
            # so it stays if an engine ends here, or somebody presses Ctrl-C again: the old images keep a name
            lost = [*self._before]
            try:
                with contextlib.suppress(EngineError):
                    lost = self._restore()
            except KeyboardInterrupt:
                say(f"names were not restored: {self._ways(lost)}; {_TAG_THEM}")
                raise
            if lost:
                message = f"{error}\n  and these names could not be restored: {self._ways(lost)}"
                raise EngineError(message, hint=_TAG_THEM) from error
            if isinstance(error, FategenError):
                raise EngineError(f"{error.message}\n  no name was changed", hint=error.hint) from error
            raise
        finally:
            for name, keep in self._kept.items():
                if name not in lost:
                    self._engine.untag(keep)

    def confirm(self, output: str) -> tuple[Loaded, ...]:
        """Ask the engine what it has now; EngineError, with its ``output``, if that is not what was sent.

        Each of the three questions catches what the others miss: containerd stores hide a broken image from the list
        (26), show it with no layers (28), and graphdrivers accept another config under the right name.
        """
        names = list(self._images)
        images, listed = self._engine.inspect(names), self._engine.listed(names)
        loaded, problems = [], []
        for name, sent in self._images.items():
            image, before = images.get(name), self._before.get(name)
            if image is None or name not in listed:
                problems.append(f"{familiar(name)} is missing")
            elif image.layers != tuple(layer.diff_id for layer in sent.platform_images[0].layers):
                problems.append(f"{familiar(name)} has other layers than the bundle")
            elif image.id not in _ids(sent):
                problems.append(f"{familiar(name)} is {image.id}, neither its digest in the bundle nor its config")
            else:
                loaded.append(Loaded(name, sent.platforms, image.id, before.id if before else ""))
        if problems:
            lines = "".join(f"\n    {problem}" for problem in problems)
            last = "".join(f"\n  its last output: {printable(line)}" for line in output.strip().splitlines()[-1:])
            raise EngineError(
                f"the engine did not load the bundle correctly:{lines}{last}", hint="check whether its disk is full"
            )
        return tuple(loaded)

    def _ways(self, lost: Sequence[str]) -> str:
        """Each name, and what to give it to again."""
        return ", ".join(f"{familiar(name)} → {self._kept.get(name) or self._before[name].id}" for name in lost)

    def _restore(self) -> list[str]:
        """Put every name back; the names for which that failed."""
        lost = []
        now = self._engine.inspect(list(self._images))
        for name in self._images:
            before, image = self._before.get(name), now.get(name)
            if before is not None and image is not None and image.id == before.id:
                continue
            if image is not None or before is None:
                # what was half loaded is removed, even if the engine hides it
                self._engine.untag(name)
            if before is not None:
                try:
                    self._engine.tag(self._kept.get(name, before.id), name)
                except EngineError:
                    lost.append(name)
        return lost


def _ids(image: Image) -> tuple[str, str]:
    """What an engine may call it: a containerd store by its index or manifest, a graphdriver by its config."""
    return image.target.digest, image.platform_images[0].config.digest
