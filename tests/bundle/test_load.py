"""Loading: which bytes are sent and when, and what happens to names. (What engines do with them: tests/e2e.)"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from generator.bundle.engines import Engine, EngineImage, Present, engine_from_name
from generator.bundle.format import header
from generator.bundle.index import BundleIndex
from generator.bundle.load import load
from generator.errors import BundleError, EngineError, InputError
from generator.images.image import Image
from generator.images.layout import SourceImage
from tests.bundle.conftest import Made, broken, bundle
from tests.bundle.layouts import BASE, ZSTD, image, multi, own

A, LATEST, B, M = (f"docker.io/fgtest/{n}" for n in ("a:1.0", "a:latest", "b:1.0", "m:1.0"))
OTHER = "sha256:" + "f" * 64
OLD = EngineImage("sha256:" + "0" * 64, ("sha256:" + "1" * 64,))


@dataclass(kw_only=True)
class Recorder(Engine):
    """Keeps what is sent, and takes it in as an engine with a containerd store would; it can be told to misbehave."""

    fault: str = ""
    containerd_store: bool = False
    own: str = "linux/amd64"
    zstd: bool = True
    needs_every_layer: bool = False
    has: Present = field(default_factory=Present)
    names: dict[str, EngineImage] = field(default_factory=dict)
    sent: bytearray = field(default_factory=bytearray)
    finished: bool = False
    calls: list[str] = field(default_factory=list)

    def platform(self) -> str:
        return self.own

    def reads_zstd(self) -> bool:
        return self.zstd

    def listed(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset() if self.fault == "hidden" else frozenset(self.names).intersection(names)

    def inspect(self, names: Sequence[str]) -> Mapping[str, EngineImage]:
        return {name: self.names[name] for name in names if name in self.names}

    def present(self, names: Sequence[str] = ()) -> Present:
        return self.has

    def load(self, platform: str, pieces: Iterable[bytes]) -> str:
        self.sent.clear()
        for piece in pieces:
            self.sent += piece
            if self.fault == "dies" and len(self.sent) > 5000:
                raise EngineError("docker load failed: no space left on device")
        self.finished = True
        digests = {
            e["annotations"]["io.containerd.image.name"]: e["digest"] for e in self.json("index.json")["manifests"]
        }
        for item in self.json("manifest.json"):
            layers = [] if self.fault == "no layers" else self.json(item["Config"])["rootfs"]["diff_ids"]
            digest = "sha256:" + item["Config"].rpartition("/")[2]
            if self.containerd_store:
                [digest] = {digests[name] for name in item["RepoTags"]}
            for name in item["RepoTags"]:
                self.names[name] = EngineImage(OTHER if self.fault == "other id" else digest, tuple(layers))
        if self.fault == "fails after naming":
            raise EngineError("docker load failed: invalid diffID")
        return "Loaded image\nError unpacking image"

    def files(self) -> dict[str, bytes]:
        """Every member and its content."""
        with tarfile.open(fileobj=io.BytesIO(bytes(self.sent))) as tar:
            return {info.name: tar.extractfile(info).read() if info.isfile() else b"" for info in tar}  # type: ignore[union-attr]

    def json(self, name: str) -> Any:
        return json.loads(self.files()[name])

    def blobs(self) -> set[str]:
        """The digests of the blobs among them."""
        return {f"sha256:{name[13:]}" for name in self.files() if name.startswith("blobs/sha256/")}

    def layers(self, *images: Image) -> set[str]:
        """Those of the blobs that are layers of these images."""
        return self.blobs() & {layer.blob.digest for i in images for p in i.platform_images for layer in p.layers}

    def tag(self, image: str, name: str) -> None:
        self.calls.append(f"tag {image} {name}")
        self.names[name] = self.names.get(image, OLD)

    def untag(self, name: str) -> None:
        self.calls.append(f"untag {name}")
        self.names.pop(name, None)


def test_a_one_platform_bundle_is_sent_as_it_is(tmp_path: Path) -> None:
    made = bundle(tmp_path, [image(tmp_path, name, BASE, own(name)) for name in "ab"])
    engine = Recorder()
    result = load(io.BytesIO(made.data), engine)
    first, sums = made.members[0], made.member("fategen/SHA256SUMS")
    assert engine.sent == made.data[first.end : sums.offset] + made.data[sums.end :]
    assert [(i.reference, i.state) for i in result.images] == [(A, "new"), (B, "new")]
    assert [i.state for i in load(io.BytesIO(made.data), engine).images] == ["same", "same"]


def test_layers_that_the_engine_cannot_read_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    made = bundle(tmp_path, [image(tmp_path, "a", BASE, media_type=ZSTD)])
    engine = Recorder(zstd=False)
    cannot_read = "the layers of a are compressed with zstd, which this Docker cannot read"
    with pytest.raises(EngineError, match=cannot_read) as error:
        load(io.BytesIO(made.data), engine)
    assert "compression=gzip" in error.value.hint
    assert not engine.sent
    engine.has = Present(chains=frozenset({(made.index.images[0].platform_images[0].layers[0].diff_id,)}))
    load(io.BytesIO(made.data), engine)


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_one_platform_is_sent_as_flat_manifests(tmp_path: Path, platform: str) -> None:
    made = bundle(tmp_path, [SourceImage((M,), multi(tmp_path / "m", "m"), ("linux/amd64", "linux/arm64"))])
    engine = Recorder(own=platform)
    load(io.BytesIO(made.data), engine)
    platform_image = next(v for v in made.index.images[0].platform_images if v.platform == platform)
    index = engine.json("index.json")
    assert [entry["digest"] for entry in index["manifests"]] == [platform_image.manifest.digest]
    assert engine.blobs() == {blob.digest for blob in platform_image.blobs()}
    assert [*engine.files()][-3:] == ["manifest.json", "index.json", "oci-layout"]
    assert engine.sent.endswith(bytes(1024))


def test_an_image_of_several_platforms_stays_one_where_the_engine_keeps_indexes(made: Made) -> None:
    a, b, m = made.index.images
    for platform, layers in ((p.platform, tuple(layer.diff_id for layer in p.layers)) for p in m.platform_images):
        engine = Recorder(own=platform, containerd_store=True)
        only = () if platform == "linux/amd64" else ("m",)
        result = load(io.BytesIO(made.data), engine, only=only)
        assert {i.reference: i.id for i in result.images}[M] == m.target.digest
        assert engine.names[M].layers == layers, "the engine's own platform is in manifest.json, which podman reads"
        assert {i.reference: set(i.platforms) for i in result.images}[M] == {"linux/amd64", "linux/arm64"}
        assert engine.blobs() == {blob.digest for image in ((m,) if only else (a, b, m)) for blob in image.blobs()}
        assert {i.state for i in load(io.BytesIO(made.data), engine, only=only).images} == {"same"}


def test_of_an_index_in_the_engine_only_its_own_platform_is_sure_to_be_whole(made: Made) -> None:
    """Whoever pulls an index gets one platform of it."""
    m = made.index.images[2]
    engine = Recorder(containerd_store=True, has=Present(manifests=frozenset({m.target.digest})))
    load(io.BytesIO(made.data), engine, only=("m",))
    own, other = ({layer.blob.digest for layer in p.layers} for p in m.platform_images)
    assert engine.layers(m) == other - own
    load(io.BytesIO(made.data), engine, only=("m",), platform="linux/arm64")
    assert engine.layers(m) == other - own


def test_one_platform_that_is_asked_for_is_loaded_alone(made: Made) -> None:
    engine = Recorder(containerd_store=True)
    for platform_image in made.index.images[2].platform_images:
        result = load(io.BytesIO(made.data), engine, only=("m",), platform=platform_image.platform)
        assert [i.id for i in result.images] == [platform_image.manifest.digest]


def test_only(made: Made) -> None:
    load(io.BytesIO(made.data), engine := Recorder(), only=("b",))
    assert set(engine.names) == {B}
    assert {i["Config"] for i in engine.json("manifest.json")} < engine.files().keys()
    with pytest.raises(InputError, match="alpine: is not in the bundle"):
        load(io.BytesIO(made.data), unasked := Recorder(), only=("b", "alpine"))
    assert not unasked.sent


def test_a_platform_that_is_not_in_it(made: Made) -> None:
    engine = Recorder(own="linux/arm64")
    with pytest.raises(InputError) as error:
        load(io.BytesIO(made.data), engine)
    lacks = "is in the bundle for linux/amd64, not linux/arm64"
    assert [str(problem) for problem in error.value.problems] == [f"a: {lacks}", f"b: {lacks}"]
    assert not engine.sent and not engine.calls
    assert load(io.BytesIO(made.data), engine, only=("m",)).platform == "linux/arm64"
    assert load(io.BytesIO(made.data), engine, platform="linux/amd64").platform == "linux/amd64"
    with pytest.raises(InputError, match="the bundle has no image for linux/s390x; it has linux/amd64, linux/arm64"):
        load(io.BytesIO(made.data), engine, platform="linux/s390x")
    with pytest.raises(InputError, match=r"has no image for linux/s390x; it has linux/amd64$"):
        load(io.BytesIO(made.data), engine, only=("a", "b"), platform="linux/s390x")
    with pytest.raises(InputError, match="--platform"):
        load(io.BytesIO(made.data), engine, platform="x y")


def test_without_docker_the_hint_says_what_to_do_at_a_site_without_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match="docker is not installed") as error:
        engine_from_name("docker")
    assert "this site's packages" in error.value.hint and "--into" in error.value.hint


def test_nothing_is_named_when_anything_is_wrong(made: Made) -> None:
    for what, data in broken(made).items():
        engine = Recorder(names={B: OLD})
        with pytest.raises(BundleError) as error:
            load(io.BytesIO(data), engine, only=("b",))
        assert not engine.finished, what
        for word in (b"manifest.json", b"index.json", b"oci-layout", b"RepoTags", b"io.containerd.image.name"):
            assert word not in engine.sent, what
        assert engine.names == {B: OLD}, what
        if "bundle index" not in what:
            assert "nothing was loaded" in error.value.render(), what


def test_the_engine_is_cut_off_at_the_first_damage_and_all_damage_is_told(made: Made) -> None:
    first, last = (m for m in made.members if m.role == "layer" and m.images != ("m",) and len(m.images) == 1)
    with pytest.raises(BundleError, match="damaged in 2 places"):
        load(io.BytesIO(made.flipped(first.start, last.start)), engine := Recorder())
    assert not engine.finished
    assert first.name.encode() in engine.sent and last.name.encode() not in engine.sent
    assert engine.sent.endswith(header(first.name, first.size)), "its last piece, here the only one, was sent"


@pytest.mark.parametrize("fault", ["hidden", "no layers", "other id", "fails after naming"])
@pytest.mark.parametrize("containerd", [False, True])
def test_names_go_back_when_the_engine_has_something_else(made: Made, fault: str, containerd: bool) -> None:
    engine = Recorder(fault=fault, containerd_store=containerd, names={B: OLD})
    with pytest.raises(EngineError, match="no name was changed") as error:
        load(io.BytesIO(made.data), engine)
    assert engine.names == {B: OLD}
    if fault == "no layers":
        assert "fgtest/b:1.0 has other layers" in str(error.value) and "Error unpacking image" in str(error.value)


@pytest.mark.parametrize(("fault", "error"), [("dies", EngineError("no space left")), ("", KeyboardInterrupt("stop"))])
def test_what_stops_a_load_before_its_end_touches_no_name(made: Made, fault: str, error: BaseException) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > 8000 and not fault:
            raise error

    engine = Recorder(fault=fault, names={B: OLD})
    with pytest.raises(type(error), match=str(error)):
        load(io.BytesIO(made.data), engine, progress=stop)
    assert (engine.names, engine.calls, engine.finished) == ({B: OLD}, [], False)


@pytest.mark.parametrize("cut", [KeyboardInterrupt(), EngineError("no Docker engine answers")])
def test_the_old_image_is_somewhere_when_putting_its_name_back_is_cut_short(
    made: Made, cut: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Recorder(fault="fails after naming", containerd_store=True, names={B: OLD})
    inspect, asked = engine.inspect, list[object]()

    def once(names: Sequence[str]) -> Mapping[str, EngineImage]:
        """Before the load, and not any more after it."""
        asked.append(names)
        if len(asked) > 1:
            raise cut
        return inspect(names)

    engine.inspect = once  # type: ignore[method-assign]
    with pytest.raises(type(cut)) as error:
        load(io.BytesIO(made.data), engine)
    [keep] = (name for name, image in engine.names.items() if image == OLD)
    assert f"fgtest/b:1.0 → {keep}" in str(error.value) + capsys.readouterr().err


def test_a_name_that_cannot_be_put_back_is_told(made: Made) -> None:
    engine = Recorder(fault="hidden", names={B: OLD})
    engine.tag = lambda image, name: (_ for _ in ()).throw(EngineError("no such image"))  # type: ignore[method-assign]
    with pytest.raises(EngineError, match=f"could not be restored: fgtest/b:1.0 → {OLD.id}"):
        load(io.BytesIO(made.data), engine)


def test_a_replaced_image_is_kept_until_the_new_one_is_confirmed(made: Made) -> None:
    engine = Recorder(containerd_store=True, names={B: OLD})
    result = load(io.BytesIO(made.data), engine)
    assert [(i.reference, i.state) for i in result.images if i.before] == [(B, "replaced")]
    keep = engine.calls[0].split()[-1]
    assert keep.startswith("fategen.invalid/keep:")
    assert engine.calls == [f"tag {B} {keep}", f"untag {keep}"]
    engine.calls.clear()
    load(io.BytesIO(made.data), engine, only=("b",))
    assert engine.calls == []


class Killed(BaseException):
    """The end of a process that can do nothing more."""


def test_what_a_killed_load_kept_is_removed_by_the_next_one(made: Made) -> None:
    engine = Recorder(containerd_store=True, names={B: OLD})
    untag = engine.untag

    def killed(name: str) -> None:
        raise Killed

    engine.untag = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        load(io.BytesIO(made.data), engine)
    assert len([name for name in engine.names if name.startswith("fategen.invalid/keep:")]) == 1
    engine.untag = untag  # type: ignore[method-assign]
    assert {image.state for image in load(io.BytesIO(made.data), engine).images} == {"same"}
    assert set(engine.names) == {A, LATEST, B, M}


def test_the_signature_is_asked_before_the_engine(made: Made) -> None:
    def refuse(index: BundleIndex, name: str) -> str:
        assert index == made.index
        raise BundleError(f"{name} is not signed")

    class Untouched:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"{name} was asked of the engine")

    with pytest.raises(BundleError, match="is not signed"):
        load(io.BytesIO(made.data), cast(Engine, Untouched()), approve=refuse)
    assert load(io.BytesIO(made.data), Recorder(), approve=lambda _index, _name: "alice").signer == "alice"
