"""The images that ``manifest.json`` names (moby, image/tarexport), and whether it agrees with ``index.json``."""

from __future__ import annotations

from dataclasses import replace

from generator.bundle.foreign.images import ForeignImage, ForeignLayer, ForeignVariant
from generator.bundle.foreign.reader import SWAPPED, Reader, digest_of, names_of
from generator.images import reference
from generator.images.oci import parse_config
from generator.images.strictjson import Malformed, fields, items, parse, text


def with_docker(reader: Reader, images: list[ForeignImage], oci: bool) -> list[ForeignImage]:
    """The images that index.json names, and those that only manifest.json names (Docker 25 forgets some: moby 51389).

    Loaders read one or the other: where the two give a name to different images, that is a problem.
    """
    try:
        entries = items(parse(reader.scan.documents.get("manifest.json", b"")), "manifest.json")
        docker = [_docker_image(reader, entry, f"manifest.json[{number}]") for number, entry in enumerate(entries)]
    except Malformed as error:
        reader.problems.append(f"manifest.json: {error}")
        return images
    found = list(images)
    for one in docker:
        if one is None:
            continue
        config = one.variants[0].config
        same = [n for n, image in enumerate(found) if config in {variant.config for variant in image.variants}]
        by_name = {name: image for image in found for name in image.names}
        lies = [name for name in one.names if name in by_name and found.index(by_name[name]) not in same]
        if lies and oci:
            reader.problems.append(f"{reference.familiar(lies[0])} is one image in index.json and another in "
                                   "manifest.json: loaders do not agree which")  # fmt: skip
        elif not same:
            found.append(one)
        else:
            names = sorted({*found[same[0]].names, *(n for n in one.names if n not in by_name)})
            found[same[0]] = replace(found[same[0]], names=tuple(names))
    return found


def _docker_image(reader: Reader, value: object, where: str) -> ForeignImage | None:
    entry = fields(value, where, ("Config", "Layers"))
    listed = items(entry["Layers"] or [], f"{where}.Layers")
    paths = [_clean(text(path, f"{where}.Layers")) for path in listed]
    tags = [text(tag, f"{where}.RepoTags") for tag in items(entry.get("RepoTags") or [], f"{where}.RepoTags")]
    names, tag = names_of(reader, tags)
    label = ForeignImage(names, tag, None, (), ()).label
    path = _clean(text(entry["Config"], f"{where}.Config"))
    data, file = reader.scan.documents.get(path), reader.scan.files.get(path)
    if data is None or file is None:
        reader.problems.append(
            f"{label}: its config {path[:100]!r} is missing, or not a JSON document of a readable size"
        )
        return None
    if file.stated and digest_of(data) != file.stated:
        reader.problems.append(f"{label}: config {path} {SWAPPED}")
    try:
        config = parse_config(data)
    except Malformed as error:
        reader.problems.append(f"{label}: config {path}: {error}")
        return None
    if len(config.diff_ids) != len(paths):
        reader.problems.append(f"{label}: manifest.json names {len(paths)} layers, its config {len(config.diff_ids)}")
        return None
    files = [reader.scan.files.get(path) for path in paths]
    layers = tuple(
        ForeignLayer(found, config.diff_ids[n], found.taken.digest if found else "", found.size if found else 0, "")
        for n, found in enumerate(files)
    )
    whole = all(layer.file for layer in layers)
    variant = ForeignVariant(config.platform, None, digest_of(data), len(data), layers, whole)
    return ForeignImage(names, tag, None, (variant,), ())


def _clean(path: str) -> str:
    return path.removeprefix("./")
