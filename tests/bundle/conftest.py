from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from generator.bundle.format import Contents, Member, contents
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import multi, simple


@dataclass(frozen=True)
class Made:
    """A bundle in memory, and where its members are."""

    data: bytes
    plan: Contents

    def member(self, name: str) -> Member:
        """The member of this name, or the first of this role that belongs to this image (``layer:b``)."""
        role, _, image = name.partition(":")
        for member in self.plan.members:
            if member.name == name or (image and member.role == role and member.images == (image,)):
                return member
        raise KeyError(name)

    def content(self, name: str) -> bytes:
        member = self.member(name)
        return self.data[member.start : member.start + member.size]

    def flipped(self, position: int, mask: int = 1) -> bytes:
        changed = bytearray(self.data)
        changed[position] ^= mask
        return bytes(changed)


def bundle(directory: Path, images: list[SourceImage], name: str = "fate-1.0") -> Made:
    result = save(images, directory / f"{name}.fate.tar", name=name)
    return Made(result.path.read_bytes(), contents(result.index))


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SourceImage]:
    """Two one-platform images with a shared layer, and one for two platforms with attestations in its index."""
    path = tmp_path_factory.mktemp("layouts")
    return [
        SourceImage(("fgtest/b:1.0",), simple(path / "b", "b"), ("linux/amd64",)),
        SourceImage(
            ("fgtest/a:latest", "docker.io/fgtest/a:1.0"), simple(path / "a", "a", ("1.0", "latest")), ("linux/amd64",)
        ),
        SourceImage(("fgtest/m:1.0",), multi(path / "m", "m", attestations=2), ("linux/amd64", "linux/arm64")),
    ]


@pytest.fixture
def file(made: Made, tmp_path: Path) -> Path:
    """The bundle on the disk."""
    path = tmp_path / "fate-1.0.fate.tar"
    path.write_bytes(made.data)
    return path


@pytest.fixture(scope="session")
def made(sources: list[SourceImage], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return bundle(tmp_path_factory.mktemp("bundle"), sources)
