"""What the commands print of a bundle, for people and for programs; ``fategen-load.pyz`` prints the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from generator.bundle.index import BundleIndex, short_root
from generator.config.reference import familiar
from generator.images.image import Image
from generator.text import human, short_digest, table

_ZSTD_NOTE = "layers are compressed with zstd: Docker 23 and later, podman and containerd load them"


def sizes(index: BundleIndex) -> list[tuple[Image, int, int]]:
    """The images of a bundle, each with its bytes and with those of them that no other image has."""
    blobs = [{blob.digest: blob.size for blob in image.blobs()} for image in index.images]
    users = Counter(digest for sizes_of in blobs for digest in sizes_of)
    return [
        (image, sum(sizes_of.values()), sum(size for digest, size in sizes_of.items() if users[digest] == 1))
        for image, sizes_of in zip(index.images, blobs)  # noqa: B905 (Python 3.8)
    ]


def bundle_json(index: BundleIndex, size: int) -> dict[str, object]:
    """A bundle for programs; ``size`` is that of the whole file in bytes."""
    return {
        "name": index.name,
        "root": index.root,
        "short_root": short_root(index.root),
        "size": size,
        "images": [
            {
                "name": image.label,
                "references": image.references,
                "platforms": image.platforms,
                "digest": image.target.digest,
                "size": total,
                "unique": unique,
                "shared": total - unique,
                "manifests": image.manifests,
            }
            for image, total, unique in sizes(index)
        ],
        "bases": [asdict(base) for base in index.bases],
        "absent": [layer.digest for layer in index.missing],
        "files": [asdict(file) for file in index.files],
    }


def delta_note(index: BundleIndex, bases: Sequence[BundleIndex] = ()) -> str:
    """What a delta leaves out and which bundles have it; or that it leaves out nothing: no base has any of it."""
    if not index.bases:
        other = sorted({name or "plain tars" for base in bases for name in base.compressions - index.compressions})
        why = f" (their layers are {' and '.join(other)})" if other else ""
        return f"the bases share no layer with these images{why}: this is a complete bundle"
    blobs = index.blobs()
    size = sum(blobs[layer.digest].size for layer in index.missing)
    many = "1 layer is" if len(index.missing) == 1 else f"{len(index.missing)} layers are"
    bases_word = "base" if len(index.bases) == 1 else "bases"
    return f"delta bundle: {many} in its {bases_word} {index.base_names} ({human(size)})"


def images_table(index: BundleIndex) -> str:
    """The images of a bundle as a table, with the digests of each; below, its small files and a note."""
    rows: list[tuple[str, ...]] = []
    for image, total, unique in sizes(index):
        first, *others = (familiar(name) for name in image.references)
        rows.append((first, human(total), human(unique), human(total - unique)))
        digests = {**({"index": image.target.digest} if image.nested else {}), **image.manifests}
        below = [f"  {what:{max(map(len, digests))}}  {short_digest(digest)}" for what, digest in digests.items()]
        rows.extend((line, "", "", "") for line in (*others, *below))
    text = table(("IMAGE", ">SIZE", ">ITS OWN", ">SHARED"), rows)
    files = ", ".join(f"{file.name} ({human(file.size)})" for file in index.files)
    notes = [f"files: {files}"] * bool(files) + [_ZSTD_NOTE] * ("zstd" in index.compressions)
    return "\n\n".join([text, *(["\n".join(notes)] if notes else [])])


def summary(name: str, index: BundleIndex, size: int) -> str:
    """A line for the file of ``size`` bytes: what to compare with the other side."""
    return f"{name}  {human(size)}  root digest {short_root(index.root)}"
