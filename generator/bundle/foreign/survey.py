"""``inspect`` and ``verify`` of another tool's archive."""

from __future__ import annotations

import re
from dataclasses import dataclass

from generator.bundle.foreign.images import ForeignImage, Images
from generator.bundle.foreign.loaders import Verdict, form, verdicts
from generator.bundle.foreign.recognise import Recognised
from generator.bundle.foreign.scan import Scan, Take, digests, scan_directory, scan_tar
from generator.bundle.foreign.understand import understand
from generator.bundle.format.archive import Progress
from generator.errors import BundleError
from generator.images.compression import Compression


@dataclass(frozen=True)
class Survey:
    """An archive as it was found. ``size`` of the file in bytes (of what came through, for a pipe).

    ``problems``: it is damaged or contradicts itself. ``notes``: true, and good to know.
    """

    name: str
    format: str
    compression: Compression
    size: int
    images: tuple[ForeignImage, ...]
    loaders: tuple[Verdict, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    files: int


def inspect_foreign(found: Recognised, progress: Progress | None = None) -> Survey:
    """What the archive holds; what a header or a small document tells is checked, layers are not."""
    return survey(found, scan(found, None, progress))


def verify_foreign(found: Recognised, progress: Progress | None = None) -> Survey:
    """Check each file: by the digest that its name or manifest states, else by the diff id in the image's config.

    BundleError lists everything that is wrong.
    """
    contents = scan(found, digests, progress)
    seen = survey(found, contents)
    problems = [*seen.problems, *wrong(contents, seen.images)]
    if problems:
        raise damaged(seen.name, problems)
    return seen


def damaged(name: str, problems: list[str]) -> BundleError:
    """The error that lists what is wrong with an archive."""
    listed = problems[0] if len(problems) == 1 else "".join(f"\n    {problem}" for problem in problems[:20])
    more = f"\n    and {len(problems) - 20:,} more" if len(problems) > 20 else ""
    count = "" if len(problems) == 1 else f" {len(problems)} problems"
    hint = "copy it again, or have it made again: docker save ends with 0 also when it leaves layers out"
    return BundleError(f"{name} is damaged:{count} {listed}{more}".replace(": \n", ":\n"), hint=hint)


def scan(found: Recognised, take: Take | None, progress: Progress | None) -> Scan:
    """One pass over the archive or the directory."""
    if found.layout:
        return scan_directory(found.layout, take, progress)
    if found.archive is None:
        raise ValueError("a bundle is for the strict reader")
    return scan_tar(found.archive, take, progress)


def survey(found: Recognised, contents: Scan) -> Survey:
    """What an archive holds, of one that was read."""
    images = understand(contents)
    short = _short_names(contents)
    seen = form(images, found.compression, directory=contents.directory, short_names=short)
    notes = ([found.misnamed] if found.misnamed else []) + list(images.notes)
    return Survey(
        found.name,
        _format(contents, images),
        found.compression,
        contents.size if found.size is None else found.size,
        images.images,
        verdicts(seen),
        images.problems,
        tuple(notes),
        len(contents.files),
    )


def wrong(contents: Scan, images: tuple[ForeignImage, ...]) -> list[str]:
    """What the digests say: of files against their names, of layers against the configs of their images."""
    torn = {
        file.name
        for file in contents.files.values()
        # <diff id>.tar may be compressed: then the digest is that of its content
        if file.stated and file.stated not in (file.taken.digest, file.taken.diff_id)
    }
    found = [f"{name} does not match the digest in its name" for name in sorted(torn)]
    for image in images:
        for variant in image.variants:
            for layer in variant.layers:
                file, where = layer.file, f"{image.label} ({variant.platform})"
                if file is None or file.name in torn:
                    continue
                if file.taken.trouble:
                    found.append(f"{where}: layer {file.taken.trouble}")
                elif file.taken.diff_id and layer.diff_id and file.taken.diff_id != layer.diff_id:
                    found.append(f"{where}: {file.name} is not the layer {layer.diff_id} that the config names")
    return list(dict.fromkeys(found))


def _format(contents: Scan, images: Images) -> str:
    names = contents.files.keys()
    if contents.directory:
        return "OCI layout directory"
    if images.oci and images.docker:
        return "docker save since 25 (graphdriver)" if "repositories" in names else "OCI layout with manifest.json"
    if images.oci:
        return "OCI layout (oci-archive)"
    if not images.docker:
        return "tar"
    if any(re.fullmatch(r"sha256:[0-9a-f]{64}", name) for name in names):
        return "docker-archive of crane"
    if any(re.fullmatch(r"[0-9a-f]{64}\.tar", name) for name in names):
        return "docker-archive of podman or skopeo"
    return "docker save before 25" if "repositories" in names else "docker-archive"


def _short_names(contents: Scan) -> bool:
    """Whether manifest.json has a name without its registry, which podman takes for one on localhost."""
    text = contents.documents.get("manifest.json", b"")
    tags = re.findall(rb'"RepoTags"\s*:\s*\[([^\]]*)\]', text)
    first = [part for listed in tags for part in re.findall(rb'"([^"/:]*)[/:]', listed)]
    return any(b"." not in part and part != b"localhost" for part in first)
