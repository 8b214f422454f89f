"""What ``docker save`` of a containerd store writes: the blobs as they are, each held against its own name."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest

from generator.images.layers import LayerStore
from generator.images.layout import SourceImage, absent, read
from generator.images.oci import Descriptor
from generator.images.saved import BadStream
from generator.images.saved_blobs import read_saved_blobs
from tests.bundle.layouts import INDEX, MANIFEST, Layout, sha256
from tests.images.test_saved import archive, blob


def saved(layout: Path, change: Mapping[str, bytes] | None = None, without: str = "") -> BytesIO:
    """A layout's files as the stream that an engine makes of them: sorted, its index after the blobs."""
    paths = sorted(path for path in layout.rglob("*") if path.is_file())
    files = {str(path.relative_to(layout)): path.read_bytes() for path in paths}
    files = {name: data for name, data in files.items() if name != without}
    return BytesIO(archive({**files, **(change or {})}))


@pytest.fixture
def roll(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "engine")
    manifest = layout.manifest([layout.layer({"a": b"a" * 2000})])
    notes = {"io.containerd.image.name": "docker.io/fate/roll:1", "org.opencontainers.image.ref.name": "1"}
    layout.entries = [{**manifest, "annotations": notes}]
    layout.finish()
    return layout


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    (tmp_path / "kept/sha256").mkdir(parents=True)
    return LayerStore(tmp_path / "kept/sha256", tmp_path / "record.json")


def kept(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "kept/sha256").iterdir()}


def test_every_blob_is_kept_under_its_digest(roll: Layout, store: LayerStore, tmp_path: Path) -> None:
    found = read_saved_blobs(saved(roll.path), store)
    assert list(found) == ["docker.io/fate/roll:1"]
    assert kept(tmp_path) == {path.name for path in (roll.path / "blobs/sha256").iterdir()}


def test_a_blob_that_is_there_is_not_written_again(roll: Layout, store: LayerStore, tmp_path: Path) -> None:
    read_saved_blobs(saved(roll.path), store)
    before = {path: path.stat().st_ino for path in (tmp_path / "kept/sha256").iterdir()}
    read_saved_blobs(saved(roll.path), store)
    assert {path: path.stat().st_ino for path in (tmp_path / "kept/sha256").iterdir()} == before


def test_a_blob_that_is_another_is_refused_and_not_kept(roll: Layout, store: LayerStore, tmp_path: Path) -> None:
    other = sha256(b"something else")
    with pytest.raises(BadStream, match=other):
        read_saved_blobs(saved(roll.path, {blob(other): b"not that"}), store)
    assert other.removeprefix("sha256:") not in kept(tmp_path)


def test_a_stream_without_an_index_is_refused(roll: Layout, store: LayerStore) -> None:
    with pytest.raises(BadStream, match=r"no index\.json"):
        read_saved_blobs(saved(roll.path, without="index.json"), store)


@pytest.mark.parametrize("inside", [b"rootfs", b'"manifests"'], ids=["a blob", "the index"])
def test_a_cut_stream_is_refused(roll: Layout, store: LayerStore, inside: bytes) -> None:
    whole = saved(roll.path).getvalue()
    with pytest.raises(BadStream):
        read_saved_blobs(BytesIO(whole[: whole.index(inside)]), store)


def test_a_platform_that_the_engine_has_only_by_name_is_a_problem(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "engine")
    platforms = {p: layout.manifest([layout.layer({"a": p.encode()})], p) for p in ("linux/amd64", "linux/arm64")}
    top = layout.index(platforms)
    layout.finish((top, "fate/roll:1"))
    index = Descriptor(str(top["digest"]), (layout.path / blob(str(top["digest"]))).stat().st_size, INDEX)
    gone = str(platforms["linux/arm64"]["digest"]).removeprefix("sha256:")
    (layout.path / "blobs/sha256" / gone).unlink()
    image = SourceImage(("fate/roll:1",), layout.path, ("linux/amd64", "linux/arm64"))
    problems = absent(image, index)
    assert [str(p) for p in problems] == ["roll: the engine has linux/amd64 of it, not linux/arm64"]
    alone = SourceImage(("fate/roll:1",), layout.path, ("linux/amd64",))
    assert absent(alone, index) == []
    assert read(alone).image.variants[0].manifest.media_type == MANIFEST
