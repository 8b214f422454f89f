from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from generator.bundle.format import TRAILER, Member, members_of
from generator.bundle.index import BundleIndex
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.images.layout import SourceImage
from generator.images.strictjson import encode
from tests.bundle import tars
from tests.bundle.layouts import image, multi


@dataclass(frozen=True)
class Made:
    """A bundle in memory, and where its members are."""

    data: bytes
    index: BundleIndex
    members: tuple[Member, ...]

    def member(self, name: str) -> Member:
        """The member of this name, or the first of this role that belongs to this image (``layer:b``)."""
        role, _, image = name.partition(":")
        for member in self.members:
            if member.name == name or (image and member.role == role and member.images == (image,)):
                return member
        raise KeyError(name)

    def content(self, name: str) -> bytes:
        member = self.member(name)
        return self.data[member.start : member.start + member.size]

    def flipped(self, *positions: int, mask: int = 1) -> bytes:
        changed = bytearray(self.data)
        for position in positions:
            changed[position] ^= mask
        return bytes(changed)


def bundle(directory: Path, images: list[SourceImage], name: str = "fate-1.0") -> Made:
    return made_of(save(images, directory / f"{name}.fate.tar", name=name).path)


def made_of(path: Path) -> Made:
    index = inspect(path).index
    return Made(path.read_bytes(), index, members_of(index))


Change = Callable[[Any], object]
"""Changes a bundle's index; it gets the JSON document."""


class Chain:
    """A; B, a delta on A in which x is new; C, a delta on B in which y is new; ``whole`` is C as one file.

    ``make`` makes the image of a name, as the first, second or third of them has it.
    """

    def __init__(self, path: Path, make: Callable[[str, str], SourceImage]) -> None:
        first = [make("1", name) for name in "xy"]
        second = [make("2", "x"), first[1]]
        third = [second[0], make("3", "y")]
        self.a = save(first, path / "a.fate.tar", name="a").path
        self.b = save(second, path / "b.fate.tar", name="b", bases=[inspect(self.a).index]).path
        self.c = save(third, path / "c.fate.tar", name="c", bases=[inspect(self.b).index]).path
        self.whole = save(third, path / "whole.fate.tar", name="c").path


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SourceImage]:
    """Two one-platform images with a shared layer, and one for two platforms with attestations in its index."""
    path = tmp_path_factory.mktemp("layouts")
    return [
        image(path, "b"),
        replace(image(path, "a", tags=("1.0", "latest")), references=("fgtest/a:latest", "docker.io/fgtest/a:1.0")),
        SourceImage(("fgtest/m:1.0",), multi(path / "m", "m", attestations=2), ("linux/amd64", "linux/arm64")),
    ]


def rewritten(made: Made, change: Change) -> bytes:
    """A bundle with a changed index whose root digest is right again, and the members that it had."""
    document = json.loads(made.content("fategen/bundle.json"))
    change(document)
    document.pop("root", None)
    document["root"] = "sha256:" + hashlib.sha256(encode(document)).hexdigest()
    return tars.member("fategen/bundle.json", encode(document)) + made.data[made.members[0].end :]


def forged(made: Made, change: Change, more: Mapping[str, bytes] = {}) -> bytes:
    """The archive that follows from a changed index, right in every byte. ``more`` are blobs by what is their digest.

    Raises BundleError if no archive can, since the index contradicts itself.
    """
    blobs = {**blobs_of(made), **more}
    members = members_of(inspect(io.BytesIO(rewritten(made, change))).index)
    return b"".join(tars.member(m.name, blobs[m.digest] if m.content is None else m.content) for m in members) + TRAILER


def descriptors(document: Any) -> Iterator[dict[str, Any]]:
    """Every descriptor in a part of a bundle's index, some perhaps twice."""
    if isinstance(document, dict) and "media_type" in document:
        yield document
    elif isinstance(document, (dict, list)):
        for part in document.values() if isinstance(document, dict) else document:
            yield from descriptors(part)


def add_up(document: Any) -> None:
    """Make the totals of an index right again."""
    sizes = {blob["digest"]: blob["size"] for blob in descriptors(document["images"])}
    document["totals"] = {"blobs": len(sizes), "bytes": sum(sizes.values())}


def blobs_of(made: Made) -> dict[str, bytes]:
    return {m.digest: made.data[m.start : m.start + m.size] for m in made.members if m.content is None}


def broken(made: Made) -> dict[str, bytes]:
    """Bundles with something wrong, of which nothing may be taken; what is in b is wanted, what is in m is not."""
    config, end = made.member("config:b"), len(made.data)
    index, manifest = made.member("index.json"), made.member("manifest.json")
    starts = (member.start for member in made.members[4:])
    several = made.flipped(*starts, made.members[5].offset + 7, end - 3)
    other = made.content("config:b").replace(b"/bin/true", b"/bin/evil")
    renamed = made.data[manifest.offset : manifest.start]
    found = {
        "several": several,
        "cut and flipped": several[: end // 2],
        "bundle index": made.flipped(700),
        "bundle index that says another name": rewritten(
            made, lambda r: r["images"][0].update(references=["docker.io/library/alpine:3"])
        ),
        "another config": made.data[: config.start] + other + made.data[config.start + config.size :],
        "another name": made.data[: index.offset] + renamed + made.data[index.start :],
        "end": made.flipped(end - 1),
        "start of the end": made.flipped(made.members[-1].end + 5),
        "more": made.data + b"more",
        "cut at the end mark": made.data[:-600],
        "cut before the end mark": made.data[:-1024],
    }
    blobs = [f"{role}:{image}" for role in ("manifest", "config", "layer") for image in "bm"]
    files = ["blobs/", "index:m", *blobs, "fategen/SHA256SUMS", "manifest.json", "index.json", "oci-layout"]
    for name, part in ((name, made.member(name)) for name in files):
        found[f"header of {name}"] = made.flipped(part.offset)
        found[f"cut before {name}"], found[f"cut in {name}"] = made.data[: part.offset], made.data[: part.start + 1]
        if part.size:
            found[name] = made.flipped(part.start + part.size // 2)
            found[f"last byte of {name}"] = made.flipped(part.start + part.size - 1)
            found[f"padding of {name}"] = made.flipped(part.end - 1)
    return found


@pytest.fixture
def file(made: Made, tmp_path: Path) -> Path:
    """The bundle on the disk."""
    path = tmp_path / "fate-1.0.fate.tar"
    path.write_bytes(made.data)
    return path


@pytest.fixture(scope="session")
def made(sources: list[SourceImage], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return bundle(tmp_path_factory.mktemp("bundle"), sources)
