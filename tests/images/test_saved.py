"""What ``docker save`` of a graphdriver writes, before Docker 25 and since: read in one pass, never a cut stream."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from generator.errors import EngineError
from generator.images import gzipped, layers
from generator.images.gzipped import GzipWriter
from generator.images.layers import LayerStore
from generator.images.saved import BadStream, SavedImage, read_saved
from tests.bundle.layouts import sha256, tar_of

BASE = tar_of({"etc/base": b"shared by both\n" * 300})
OWN = {name: tar_of({f"own/{name}": name.encode() * 999}) for name in "ab"}
DIFF_IDS = {name: (sha256(BASE), sha256(tar)) for name, tar in OWN.items()}
LAYERS = {diff_id for ids in DIFF_IDS.values() for diff_id in ids}


def config(name: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": DIFF_IDS[name]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """A tar; text is the target of a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def since_25(tars: Mapping[str, bytes] | None = None) -> dict[str, bytes | str]:
    entries = [
        {"Config": blob(sha256(config(n))), "RepoTags": None, "Layers": [blob(d) for d in DIFF_IDS[n]]} for n in "ab"
    ]
    blobs = {sha256(BASE): BASE, **{sha256(tar): tar for tar in OWN.values()}} | dict(tars or {})
    blobs |= {sha256(config(name)): config(name) for name in "ab"}
    return {
        **{blob(digest): data for digest, data in sorted(blobs.items())},
        "index.json": b"{}",
        "manifest.json": json.dumps(entries).encode(),
        "oci-layout": b"{}",
    }


def before_25() -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    entries = []
    for name in "ab":
        files[f"{sha256(config(name))[7:]}.json"] = config(name)
        files |= {f"{name}1/VERSION": b"1.0", f"{name}1/json": b"{}"}
        files[f"{name}1/layer.tar"] = BASE if name == "a" else "../a1/layer.tar"
        files[f"{name}2/layer.tar"] = OWN[name]
        paths = [f"{name}1/layer.tar", f"{name}2/layer.tar"]
        entries.append({"Config": f"{sha256(config(name))[7:]}.json", "RepoTags": [f"x/{name}:1"], "Layers": paths})
    return {**files, "manifest.json": json.dumps(entries).encode(), "repositories": b"{}"}


IMAGES = {sha256(config(name)): SavedImage(config(name), DIFF_IDS[name]) for name in "ab"}


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    (tmp_path / "blobs").mkdir()
    return LayerStore(tmp_path / "blobs", tmp_path / "record.json")


@pytest.mark.parametrize("files", [since_25(), before_25()], ids=["since 25", "before 25"])
def test_images_and_layers(files: dict[str, bytes | str], store: LayerStore, tmp_path: Path) -> None:
    assert read_saved(io.BytesIO(archive(files)), LAYERS, store) == IMAGES
    for tar in (BASE, *OWN.values()):
        found = store.find(sha256(tar))
        assert found is not None
        data = (tmp_path / "blobs" / found.digest[7:]).read_bytes()
        assert (sha256(data), len(data), gzip.decompress(data)) == (found.digest, found.size, tar)
    assert len(list((tmp_path / "blobs").iterdir())) == 3, "the shared layer once, and nothing else"


@pytest.mark.parametrize("files", [since_25(), before_25()], ids=["since 25", "before 25"])
def test_a_cut_stream_is_never_taken_for_a_whole_one(
    files: dict[str, bytes | str], store: LayerStore, tmp_path: Path
) -> None:
    data = archive(files)
    needed = data.rindex(json.dumps("Layers").encode())
    for length in range(0, needed, 211):
        with pytest.raises(BadStream):
            read_saved(io.BytesIO(data[:length]), LAYERS, store)
        assert not list((tmp_path / "blobs").glob(".*")), "no half layer"


def test_a_layer_with_other_content_than_its_name_says_is_refused(store: LayerStore) -> None:
    false = since_25({sha256(BASE): tar_of({"etc/base": b"other\n"})})
    with pytest.raises(BadStream, match="are not those that its config names"):
        read_saved(io.BytesIO(archive(false)), LAYERS, store)


def test_a_layer_that_is_missing_is_refused(store: LayerStore) -> None:
    files = since_25()
    del files[blob(sha256(BASE))]
    with pytest.raises(BadStream, match="are not those that its config names"):
        read_saved(io.BytesIO(archive(files)), LAYERS, store)


def test_what_was_compressed_before_is_only_checked(
    store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_saved(io.BytesIO(archive(since_25())), LAYERS, store)
    monkeypatch.delattr(layers, "writer")
    again = LayerStore(tmp_path / "blobs", tmp_path / "record.json")
    assert read_saved(io.BytesIO(archive(since_25())), LAYERS, again) == IMAGES
    false = since_25({sha256(BASE): tar_of({"etc/base": b"other\n"})})
    with pytest.raises(BadStream):
        read_saved(io.BytesIO(archive(false)), LAYERS, again)


@pytest.mark.parametrize("harm", ["record gone", "record broken", "blob gone", "blob cut"])
def test_a_cache_that_suffered_costs_time_and_nothing_else(harm: str, store: LayerStore, tmp_path: Path) -> None:
    read_saved(io.BytesIO(archive(since_25())), LAYERS, store)
    found = store.find(sha256(BASE))
    assert found is not None
    path = tmp_path / "blobs" / found.digest[7:]
    before = path.read_bytes()
    match harm:
        case "record gone":
            (tmp_path / "record.json").unlink()
        case "record broken":
            (tmp_path / "record.json").write_bytes(b'{"sha256:x": 1')
        case "blob gone":
            path.unlink()
        case _:
            path.write_bytes(before[:-1])
    again = LayerStore(tmp_path / "blobs", tmp_path / "record.json")
    assert again.find(sha256(BASE)) is None
    assert read_saved(io.BytesIO(archive(since_25())), LAYERS, again) == IMAGES
    assert (again.find(sha256(BASE)), path.read_bytes()) == (found, before)


def test_a_disk_that_fails_is_an_engine_error_and_leaves_no_half_blob(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    store = LayerStore(tmp_path / "blobs", tmp_path / "no such directory/record.json")
    with pytest.raises(EngineError, match="cannot be written"):
        read_saved(io.BytesIO(archive(since_25())), LAYERS, store)
    assert not list((tmp_path / "blobs").glob(".*"))


MIB = 1 << 20


@pytest.mark.parametrize("fast", [False, True], ids=["zlib", "isal"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_gzip_depends_on_the_content_alone(size: int, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (random.Random(size).randbytes(9_973) * (size // 9_973 + 1))[:size]
    written = set()
    for cores, piece in itertools.product((1, 2, 7), (size + 1, 100_003)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        out = io.BytesIO()
        with GzipWriter(out, fast=fast) as writer:
            for start in range(0, size, piece):
                writer.write(data[start : start + piece])
        assert (writer.digest, writer.size) == ("sha256:" + hashlib.sha256(out.getvalue()).hexdigest(), out.tell())
        written.add(out.getvalue())
    [one] = written
    assert gzip.decompress(one) == data
    assert one[4:8] == bytes(4), "no time"
    assert len(one) < 10_100 + size // 50, "each block begins with what the one before ended with"


def test_without_isal_zlib_compresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzipped, "isal_zlib", None)
    fast, small = io.BytesIO(), io.BytesIO()
    for out, wanted in ((fast, True), (small, False)):
        with GzipWriter(out, fast=wanted) as writer:
            writer.write(b"layer" * 1000)
    assert fast.getvalue() == small.getvalue()


def test_a_layer_that_comes_in_two_streams_is_compressed_in_one(tmp_path: Path) -> None:
    (tmp_path / "sha256").mkdir()
    store = LayerStore(tmp_path / "sha256", tmp_path / "record.json")

    class First(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if not self.tell():
                # while the first is read, the second has it as well
                assert store.take(io.BytesIO(BASE), sha256(BASE)) == sha256(BASE)
                assert store.find(sha256(BASE)) is None
            return super().read(size)

    assert store.take(First(BASE), sha256(BASE)) == sha256(BASE)
    assert store.find(sha256(BASE)) is not None


def test_a_layer_whose_stream_failed_is_taken_from_the_next(tmp_path: Path) -> None:
    (tmp_path / "sha256").mkdir()
    store = LayerStore(tmp_path / "sha256", tmp_path / "record.json")

    class Cut(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise BadStream("cut")

    with pytest.raises(BadStream):
        store.take(Cut(), sha256(BASE))
    store.take(io.BytesIO(BASE), sha256(BASE))
    assert store.find(sha256(BASE)) is not None
