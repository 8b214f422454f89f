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

from generator.bundle import reference
from generator.bundle.archive import TRAILER, Progress, Reads, header, padding
from generator.bundle.check import check_rest, opened, read_record
from generator.bundle.loader import Loaded, Loader, Pipe
from generator.bundle.members import Contents, Expected, blob_name, loader_files
from generator.bundle.model import BundleIndex, Image
from generator.bundle.oci import platform_name
from generator.bundle.strictjson import Malformed
from generator.bundle.tags import Tags
from generator.errors import InputError, Problem, did_you_mean

NOTHING = "nothing was loaded"


@dataclass(frozen=True)
class LoadResult:
    index: BundleIndex
    platform: str
    images: tuple[Loaded, ...]


def load(
    source: Path | Reads,
    engine: Loader,
    *,
    only: Sequence[str] = (),
    platform: str = "",
    progress: Progress | None = None,
) -> LoadResult:
    """Load a bundle, or the images of it that ``only`` names, for ``platform`` (default: the engine's own).

    The whole bundle is checked, also what is not loaded. Raises InputError (an image or a platform that is not in it),
    BundleError (damaged or unsafe: no name was touched), EngineError (the engine failed: names are as they were).
    """
    with opened(source) as (stream, name, file_size):
        plan = read_record(stream, name)
        chosen = _choose(plan.index, only, _platform(platform or engine.platform()))
        with Tags(engine, chosen) as tags:
            with engine.open_load() as pipe:
                tap = _Sender(pipe, plan, chosen)
                check_rest(stream, name, plan, tap=tap, file_size=file_size, progress=progress, outcome=NOTHING)
                tags.at_stake()
                tap.release(chosen)
                said = pipe.finish()
            loaded = tags.confirm(said)
    return LoadResult(plan.index, chosen.images[0].variants[0].platform, loaded)


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
            images.append(replace(image, target=variant.manifest, source="", variants=(variant,)))
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


class _Sender:
    """Passes on the blobs that the engine needs, and holds the rest back until ``release``.

    A blob is padded only when it was right; after the first wrong one the engine is cut off, while the rest of the file
    is still checked, so that one run tells all of the damage.
    """

    def __init__(self, pipe: Pipe, plan: Contents, chosen: BundleIndex) -> None:
        self._pipe = pipe
        self._wanted = {blob_name(digest) for digest in chosen.blobs()}
        self._wanted |= {member.name for member in plan.members if member.role == "directory"}
        self._sending = False
        self._cut = False

    def begin(self, member: Expected) -> None:
        self._sending = member.name in self._wanted and not self._cut
        if self._sending:
            self._pipe.write(header(member.name, member.size))

    def data(self, chunk: bytes) -> None:
        if self._sending:
            self._pipe.write(chunk)

    def end(self, member: Expected, good: bool) -> None:
        if not good and not self._cut:
            self._cut = True
            self._pipe.abort()
        if self._sending and not self._cut:
            self._pipe.write(bytes(padding(member.size)))
        self._sending = False

    def release(self, chosen: BundleIndex) -> None:
        """Send what makes an archive of it."""
        for name, content in loader_files(chosen):
            self._pipe.write(header(name, len(content)) + content + bytes(padding(len(content))))
        self._pipe.write(TRAILER)
