"""Loads a bundle in one pass: every byte is checked while it goes to the engine, and what the engine looks for
(``manifest.json``, ``index.json``, ``oci-layout``) is sent only when everything before it was right.

Without those files no engine names an image (seen on Docker 20.10 to 28 with both image stores). Its exit code proves
nothing (Docker 28 says 0 for a broken image), so the engine is asked afterwards what it has; when that is not what the
bundle says, the tags go back to what they were. Engines get members written here, never bytes of the file's headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from generator.bundle.check import Approve
from generator.bundle.engines.loader import Loaded, Loader
from generator.bundle.engines.tags import Tags
from generator.bundle.files import opened_together
from generator.bundle.format.archive import Progress, Reads
from generator.bundle.format.model import BundleIndex, Image
from generator.bundle.format.walk import check_rest
from generator.bundle.send import Sender
from generator.bundle.supply import Supply, supply
from generator.errors import EngineError, InputError, Problem, did_you_mean
from generator.images import reference
from generator.images.oci import ZSTD_TYPES, platform_name
from generator.images.strictjson import Malformed

NOTHING = "nothing was loaded"


@dataclass(frozen=True)
class LoadResult:
    index: BundleIndex
    platform: str
    images: tuple[Loaded, ...]
    signer: str = ""


def load(
    source: Path | Reads,
    engine: Loader,
    *,
    bases: Sequence[Path | Reads] = (),
    only: Sequence[str] = (),
    platform: str = "",
    retag: str = "",
    approve: Approve | None = None,
    progress: Progress | None = None,
) -> LoadResult:
    """Load a bundle, or the images of it that ``only`` names, for ``platform`` (default: the engine's own).

    The whole bundle is checked, also what is not loaded or is there already. A delta takes the layers that the engine
    lacks from ``bases`` (which of all the files is the bundle and which its bases is told by their records). ``retag``
    puts the images into another registry or namespace. ``approve`` is asked before anything is sent: see
    ``signature.required``.

    Raises InputError (an image, a platform or a base that is not there), BundleError (damaged or unsafe: no name was
    touched), EngineError (the engine failed: names are as they were).
    """
    with opened_together((source, *bases)) as (top, others):
        signer = approve(top.index, top.name) if approve else ""
        chosen = renamed(_choose(top.index, only, _platform(platform or engine.platform())), retag)
        sent_for = chosen.images[0].variants[0].platform
        # a delta leans on whatever image has its layers; a whole bundle was loaded under its names, or never
        images = () if top.index.absent else (*top.index.images, *chosen.images)
        names = tuple(dict.fromkeys(name for image in images for name in image.references))
        supplied = supply(top, others, chosen, engine.holdings(names))
        _check_readable(engine, chosen, supplied)
        with Tags(engine, chosen) as tags:
            with engine.open_load(sent_for) as pipe:
                tap = Sender(pipe, top.plan, chosen, supplied, NOTHING)
                check_rest(top.source, top.name, top.plan, tap=tap, progress=progress, outcome=NOTHING)
                tap.rest()
                tags.at_stake()
                tap.release(chosen)
                said = pipe.finish()
            loaded = tags.confirm(said)
    return LoadResult(top.index, sent_for, loaded, signer)


def _check_readable(engine: Loader, chosen: BundleIndex, supplied: Supply) -> None:
    """EngineError where the engine cannot unpack what it would be sent: it would find out after gigabytes."""
    layers = [(i.label, layer.blob) for i in chosen.images for v in i.variants for layer in v.layers]
    sent = [label for label, blob in layers if blob.media_type in ZSTD_TYPES and blob.digest not in supplied.there]
    if sent and not engine.reads_zstd():
        images = ", ".join(dict.fromkeys(sent))
        raise EngineError(
            f"the layers of {images} are in zstd, which this Docker cannot read (23 and later can)",
            hint="build the images with compression=gzip,force-compression=true and save them again; nothing was sent",
        )


def renamed(index: BundleIndex, prefix: str) -> BundleIndex:
    """The same images under ``REGISTRY/PREFIX``, with the last part of their names. InputError: two would be one."""
    if not prefix:
        return index
    images = []
    for image in index.images:
        names = {f"{prefix.rstrip('/')}/{reference.short(name)}:{name.rpartition(':')[2]}" for name in image.references}
        try:
            images.append(replace(image, references=tuple(sorted(map(reference.normalise, names)))))
        except ValueError as error:
            raise InputError(Problem("--retag", str(error))) from None
    given = [name for image in images for name in image.references]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise InputError([Problem("--retag", f"two images would be {reference.familiar(name)}") for name in twice])
    return replace(index, images=tuple(sorted(images, key=lambda image: image.references[0])))


def choose(index: BundleIndex, only: Sequence[str]) -> tuple[Image, ...]:
    """The images that ``only`` names: by reference (full or short), repository, or last part of it; all for none."""
    if not only:
        return index.images
    by_name: dict[str, set[Image]] = {}
    for image in index.images:
        for full in image.references:
            known = reference.familiar(full)
            for name in (full, known, reference.repository(full), known.rpartition(":")[0], reference.short(full)):
                by_name.setdefault(name, set()).add(image)
    unknown = [name for name in only if name not in by_name]
    if unknown:
        labels = [image.label for image in index.images]
        raise InputError(
            [Problem(n, f"is not in the bundle{did_you_mean(n, labels)}") for n in unknown],
            hint=f"it holds {', '.join(labels)}",
        )
    wanted = {image for name in only for image in by_name[name]}
    return tuple(image for image in index.images if image in wanted)


def _choose(index: BundleIndex, only: Sequence[str], platform: str) -> BundleIndex:
    """The record of what is sent: one platform of each image, with its manifest as the image itself."""
    images, lacking = [], []
    for image in choose(index, only):
        variant = next((v for v in image.variants if v.platform == platform), None)
        if variant is None:
            lacking.append(Problem(image.label, f"is in the bundle for {', '.join(image.platforms)}, not {platform}"))
        else:
            images.append(replace(image, target=variant.manifest, variants=(variant,)))
    if lacking and not images:
        there = ", ".join(sorted({name for image in choose(index, only) for name in image.platforms}))
        raise InputError(
            Problem("", f"nothing in the bundle is for {platform}; it has {there}"),
            hint="--platform loads another platform, and fategen bundle save --platform makes a bundle for this one",
        )
    if lacking:
        hint = "--only loads the images that are there; --platform loads another platform"
        raise InputError(lacking, hint=hint)
    return BundleIndex(index.name, tuple(images))


def _platform(value: str) -> str:
    try:
        return platform_name(value)
    except Malformed as error:
        raise InputError(Problem("--platform", str(error))) from None
