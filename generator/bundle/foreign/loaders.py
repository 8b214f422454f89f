"""Which loaders take an archive. Every rule was seen on real engines (docs/offline.md has the versions), but where a
comment names a source. It is about the archive's form: what is damaged loads nowhere that looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from generator.bundle.foreign.images import Images
from generator.images.compression import UNPACK, Compression


@dataclass(frozen=True)
class Verdict:
    """Whether ``loader`` takes the archive; ``why`` not, or what is to be known though it does."""

    loader: str
    takes: bool
    why: str


@dataclass(frozen=True)
class Form:
    """What a loader sees of an archive."""

    oci: bool
    docker: bool
    images: int
    compression: Compression
    zstd_layers: bool
    incomplete: bool
    short_names: bool
    directory: bool


def form(images: Images, outer: Compression, *, directory: bool, short_names: bool) -> Form:
    variants = [variant for image in images.images for variant in image.variants]
    kinds = {layer.file.compression for variant in variants for layer in variant.layers if layer.file}
    incomplete = any(image.absent for image in images.images)
    entries = sum(max(1, len(image.names)) for image in images.images)
    return Form(images.oci, images.docker, entries, outer, "zstd" in kinds, incomplete, short_names, directory)


def verdicts(seen: Form) -> tuple[Verdict, ...]:
    """One for each loader."""
    return tuple(_verdict(name, judge(seen) if seen.images else _NO_IMAGE) for name, judge in _LOADERS)


def _verdict(name: str, found: str) -> Verdict:
    takes = not found.startswith("!")
    return Verdict(name, takes, found.removeprefix("!"))


# each says "" for yes, a remark for yes-but, and "!" with the reason for no
_NO_IMAGE = "!it has no image to load"
_NO_DOCKER = "!it has no manifest.json"
_DIRECTORY = "!it is a directory: tar -C DIR -cf FILE ."


def _graphdriver(seen: Form) -> str:
    if seen.directory:
        return _DIRECTORY
    return "" if seen.docker else _NO_DOCKER


def _docker20(seen: Form) -> str:
    if seen.compression == "zstd" or seen.zstd_layers:
        return "!it cannot read zstd"
    return _graphdriver(seen)


def _containerd_store(seen: Form) -> str:
    return _DIRECTORY if seen.directory else ""


def _ctr1(seen: Form) -> str:
    if seen.directory:
        return _DIRECTORY
    if seen.compression:
        return f"!the file is {seen.compression}-compressed: {UNPACK[seen.compression]} first"
    return _incomplete(seen)


def _ctr2(seen: Form) -> str:
    if seen.directory:
        return _DIRECTORY
    if seen.compression in ("bzip2", "xz"):  # containerd, core/transfer/archive: gzip and zstd (read, not run)
        return f"!the file is {seen.compression}-compressed: {UNPACK[seen.compression]} first"
    return _incomplete(seen)


def _incomplete(seen: Form) -> str:
    return "not with --all-platforms (kind and k3s set it): a platform is missing" if seen.incomplete else ""


def _podman4(seen: Form) -> str:
    if seen.compression == "gzip" and not seen.directory:
        return "!podman 4.3 does not find its way through gzip"
    return _podman5(seen)


def _podman5(seen: Form) -> str:
    if not seen.docker and seen.images > 1:
        return "!it has no manifest.json, and without it more than one image or name"
    return (
        "names become localhost/…" if seen.short_names and seen.docker and not (seen.oci and seen.images == 1) else ""
    )


def _skopeo(seen: Form) -> str:
    if seen.directory:
        return "as oci:DIR" if seen.images == 1 else "as oci:DIR:NAME, the name as index.json has it"
    if seen.docker:
        old = "; 1.9 not through gzip" if seen.compression == "gzip" else ""
        return f"as docker-archive:FILE:NAME{old}"
    return "as oci-archive:FILE" if seen.images == 1 else "as oci-archive:FILE:NAME, the name as index.json has it"


_LOADERS: tuple[tuple[str, Callable[[Form], str]], ...] = (
    ("Docker 20, graphdriver", _docker20),
    ("Docker 23 and later, graphdriver", _graphdriver),
    ("Docker 26 and later, containerd store", _containerd_store),
    ("ctr 1.x", _ctr1),
    ("ctr 2.x", _ctr2),
    ("podman 4", _podman4),
    ("podman 5", _podman5),
    ("skopeo", _skopeo),
)
