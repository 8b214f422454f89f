"""The stream of ``docker save``: of a graphdriver before Docker 25 and since, and of a containerd store."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generator.docker.process import Completed, Docker
from generator.errors import EngineError
from generator.images.docker_save import AGAIN, compress_layers, copy_blobs, grouped, read_saves
from generator.images.layout import BlobStore
from generator.images.oci import Descriptor
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed
from tests.bundle.layouts import Layout, sha256
from tests.bundle.tars import blob, tar

BASE = tar({"etc/base": b"shared by both\n" * 300})
OWN = {name: tar({f"own/{name}": name.encode() * 999}) for name in "ab"}
DIFF_IDS = {name: (sha256(BASE), sha256(layer)) for name, layer in OWN.items()}


def config(name: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": DIFF_IDS[name]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


IDS = [sha256(config(name)) for name in "ab"]


Files = dict[str, bytes | str]


def stream(since_25: bool) -> Files:
    """What ``docker save`` of a graphdriver writes of the images a and b, which share their lowest layer."""
    files: Files = {"index.json": b"{}", "oci-layout": b"{}"} if since_25 else {"repositories": b"{}"}
    entries = []
    for name in "ab":
        digest, layers = sha256(config(name)), [BASE, OWN[name]]
        own = blob(digest) if since_25 else f"{digest[7:]}.json"
        paths = [*map(blob, DIFF_IDS[name])] if since_25 else [f"{name}{number}/layer.tar" for number in (1, 2)]
        files |= {own: config(name), **dict(zip(paths, layers, strict=True))}
        entries.append({"Config": own, "RepoTags": None, "Layers": paths})
    if not since_25:
        files |= {"a1/VERSION": b"1.0", "a1/json": b"{}", "b1/layer.tar": "../a1/layer.tar"}
    return dict(sorted({**files, "manifest.json": json.dumps(entries).encode()}.items()))


SINCE_25 = stream(True)
STREAMS = {"since 25": SINCE_25, "before 25": stream(False)}
each_stream = pytest.mark.parametrize("files", STREAMS.values(), ids=list(STREAMS))


class Store(BlobStore):
    def __init__(self, path: Path) -> None:
        self.blobs, self.cache = path / "store/blobs", path / "store/compressed"
        self.blobs.mkdir(parents=True, exist_ok=True)
        super().__init__(self.blobs, self.cache)

    def names(self) -> set[str]:
        return {path.name for path in self.blobs.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def compress(files: Files, store: BlobStore) -> dict[str, Descriptor]:
    return compress_layers(io.BytesIO(tar(files)), IDS, store)


@each_stream
def test_images_are_found_and_their_layers_compressed_once(files: Files, store: Store) -> None:
    images = compress(files, store)
    for name, identity in zip("ab", IDS, strict=True):
        manifest = json.loads((store.blobs / images[identity].digest[7:]).read_bytes())
        layers = [store.compressed(diff_id) for diff_id in DIFF_IDS[name]]
        assert manifest["config"]["digest"] == identity and (store.blobs / identity[7:]).read_bytes() == config(name)
        assert [layer["digest"] for layer in manifest["layers"]] == [layer.digest for layer in layers if layer]
    for content in (BASE, *OWN.values()):
        layer = store.compressed(sha256(content))
        assert layer is not None
        data = (store.blobs / layer.digest[7:]).read_bytes()
        assert (sha256(data), len(data), gzip.decompress(data)) == (layer.digest, layer.size, content)
    assert len(store.names()) == 2 * 2 + 3, "configs, manifests, and the shared layer once"


def test_an_attestation_of_any_size_is_no_layer(store: Store) -> None:
    statement = b'{"_type": "https://in-toto.io/Statement/v0.1", "x": "%s"}' % (b"x" * MAX_METADATA_SIZE)
    images = compress({**SINCE_25, blob(sha256(statement)): statement}, store)
    assert len(images) == 2 and len(store.names()) == 2 * 2 + 3


@each_stream
def test_a_cut_stream_is_never_taken_for_a_whole_one(files: Files, store: Store) -> None:
    data = tar(files)
    needed = data.rindex(json.dumps("Layers").encode())
    for length in range(0, needed, 211):
        with pytest.raises(Malformed):
            compress_layers(io.BytesIO(data[:length]), IDS, store)
        assert not list(store.blobs.glob(".*")), "no half layer"


@dataclass(frozen=True)
class Saving(Docker):
    """``docker save`` that writes this, and ends with these words unless they are empty."""

    binary: str = "docker"
    stream: bytes = b""
    problem: str = ""

    @contextlib.contextmanager
    def start(self, args: Sequence[str], **_: Any) -> Iterator[Any]:
        done = Completed(("docker", *args), int(bool(self.problem)), "", self.problem)
        yield SimpleNamespace(output=io.BytesIO(self.stream), finish=lambda: done, abort=lambda: None)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("unexpected EOF", "docker image save sha256:.* failed: unexpected EOF"),
        ("", "the output of docker save cannot be read: "),
    ],
)
def test_of_a_stream_that_ends_in_the_middle_docker_says_why(problem: str, words: str, store: Store) -> None:
    engine = Saving(stream=tar(SINCE_25)[:2000], problem=problem)
    with pytest.raises(EngineError, match=f"^{words}") as refused:
        read_saves(engine, [IDS], lambda ids, stream: compress_layers(stream, ids, store))
    assert refused.value.hint == AGAIN


def test_a_layer_that_is_missing_or_has_other_content_than_its_name_says_is_refused_known_or_not(store: Store) -> None:
    false, missing = {**SINCE_25, blob(sha256(BASE)): tar({"etc/base": b"other\n"})}, dict(SINCE_25)
    with pytest.raises(Malformed, match="do not match the diff IDs in its config"):
        compress(false, store)
    compress(SINCE_25, store)
    del missing[blob(sha256(BASE))]
    for files in (false, missing):
        with pytest.raises(Malformed, match="do not match the diff IDs in its config"):
            compress(files, store)


@each_stream
def test_a_config_that_is_another_than_its_name_says_is_refused(files: Files, store: Store) -> None:
    [name] = {blob(IDS[0]), f"{IDS[0][7:]}.json"} & files.keys()
    with pytest.raises(Malformed, match=f"{IDS[0]} does not match its digest"):
        compress({**files, name: config("a")[:-1] + b', "author": "another"}'}, store)


def test_a_layer_that_was_compressed_before_is_not_written_again(store: Store, tmp_path: Path) -> None:
    compress(SINCE_25, store)
    layers = [store.compressed(sha256(content)) for content in (BASE, *OWN.values())]
    before = {path: path.stat().st_ino for layer in layers if layer and (path := store.blobs / layer.digest[7:])}
    compress(SINCE_25, Store(tmp_path))
    assert len(before) == 3 and {path: path.stat().st_ino for path in before} == before


@pytest.mark.parametrize("harm", ["cache gone", "cache broken", "blob gone", "blob cut"])
def test_a_damaged_cache_costs_time_and_nothing_else(harm: str, store: Store, tmp_path: Path) -> None:
    compress(SINCE_25, store)
    layer = store.compressed(sha256(BASE))
    assert layer is not None
    path, cached = store.blobs / layer.digest[7:], store.cache / sha256(BASE)[7:]
    before = path.read_bytes()
    if harm == "cache broken":
        cached.write_text("sha256:../x 1")
    elif harm == "blob cut":
        path.write_bytes(before[:-1])
    else:
        (cached if harm == "cache gone" else path).unlink()
    again = Store(tmp_path)
    assert again.compressed(sha256(BASE)) is None
    assert set(compress(SINCE_25, again)) == set(IDS)
    assert (again.compressed(sha256(BASE)), path.read_bytes()) == (layer, before)


def test_a_disk_that_fails_is_an_engine_error_and_leaves_no_half_blob(store: Store) -> None:
    store.cache.rmdir()
    with pytest.raises(EngineError, match="cannot be written"):
        compress(SINCE_25, store)
    assert not list(store.blobs.glob(".*"))


@pytest.fixture
def engine(tmp_path: Path) -> Layout:
    """The blobs and the index of a containerd store."""
    layout = Layout(tmp_path / "engine")
    manifest = layout.manifest([layout.layer({"a": b"a" * 2000})])
    notes = {"io.containerd.image.name": "docker.io/fate/roll:1", "org.opencontainers.image.ref.name": "1"}
    layout.entries = [{**manifest, "annotations": notes}]
    layout.finish()
    return layout


def saved(layout: Path, change: Mapping[str, bytes] | None = None) -> io.BytesIO:
    """A layout's files as the stream that an engine makes of them: sorted, its index after the blobs."""
    paths = sorted(path for path in layout.rglob("*") if path.is_file())
    files = {str(path.relative_to(layout)): path.read_bytes() for path in paths}
    return io.BytesIO(tar({**files, **(change or {})}))


def test_every_blob_of_a_containerd_store_is_kept_under_its_digest_once(engine: Layout, store: Store) -> None:
    assert list(copy_blobs(saved(engine.path), store)) == ["docker.io/fate/roll:1"]
    assert store.names() == {path.name for path in (engine.path / "blobs/sha256").iterdir()}
    before = {path: path.stat().st_ino for path in store.blobs.iterdir()}
    copy_blobs(saved(engine.path), store)
    assert {path: path.stat().st_ino for path in store.blobs.iterdir()} == before


@pytest.mark.parametrize("content", [b"not that", b'{"not": "that"}'], ids=["a layer", "a document"])
def test_a_blob_that_is_another_is_refused_and_not_kept(engine: Layout, store: Store, content: bytes) -> None:
    other = sha256(b"something else")
    with pytest.raises(Malformed, match=f"{other} does not"):
        copy_blobs(saved(engine.path, {blob(other): content}), store)
    assert other.removeprefix("sha256:") not in store.names()


@pytest.mark.parametrize("inside", [b"rootfs", b'"manifests"'], ids=["a blob", "the index"])
def test_a_cut_stream_of_a_containerd_store_is_refused(engine: Layout, store: Store, inside: bytes) -> None:
    whole = saved(engine.path).getvalue()
    with pytest.raises(Malformed):
        copy_blobs(io.BytesIO(whole[: whole.index(inside)]), store)


def test_a_stream_without_an_index_is_refused(engine: Layout, store: Store) -> None:
    (engine.path / "index.json").unlink()
    with pytest.raises(Malformed, match=r"no index\.json"):
        copy_blobs(saved(engine.path), store)


JAVA = {f"java-{n}": ("debian", "jre", "user", f"jar-{n}") for n in range(5)}
PYTHON = {f"python-{n}": ("debian", "python", f"code-{n}") for n in range(2)}
OTHERS = {"redis": ("debian", "redis"), "mysql": ("debian", "client", "server")}


@pytest.mark.parametrize(
    ("images", "streams", "groups"),
    [
        ({**JAVA, **PYTHON}, 2, [list(JAVA), list(PYTHON)]),
        ({**OTHERS, **JAVA, **PYTHON}, 2, [list(JAVA), [*PYTHON, "mysql", "redis"]]),
        (JAVA, 4, [list(JAVA)]),
        ({**OTHERS, **JAVA, **PYTHON}, 1, [[*JAVA, *PYTHON, "mysql", "redis"]]),
        ({"scratch": ()}, 2, [["scratch"]]),
    ],
    ids=["families stay together", "as many layers in each", "one family", "one stream", "no layers"],
)
def test_images_that_share_more_than_a_distribution_are_saved_together(
    images: Mapping[str, tuple[str, ...]], streams: int, groups: list[list[str]]
) -> None:
    assert grouped(images, streams) == groups
