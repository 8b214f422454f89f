"""Bundles loaded into every kind of engine: whole, as deltas, damaged, and refused by the engine itself.

Three behaviors are shown on every engine, the rest on one, or on both image stores of Docker where they differ.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.bundle.format import Member
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle import conftest
from tests.bundle.layouts import TAR, ZSTD, Layout, image, multi, own, sha256
from tests.e2e.conftest import Ran, fategen, succeeded, wait_for
from tests.e2e.into import KINDS, DockerTarget, Target, target

SPACE = f"fginto-{os.getpid()}"
X, Y = f"{SPACE}/x:1.0", f"{SPACE}/y:1.0"


class Chain(conftest.Chain):
    """``raw`` is A with layers as plain tars.

    In ``bare`` x has no layers. ``zstd`` is the whole of C with layers in zstd; in ``both`` x has two platforms; in
    ``wrong`` every digest is right, and y's config says of a layer what it does not unpack to.
    """

    def __init__(self, path: Path) -> None:
        def make(release: str, name: str, place: str = "", **options: Any) -> SourceImage:
            # no other test has their layers: an engine that has them from there needs no base
            layers = own(SPACE), own(f"{name}{release} {SPACE}")
            return image(path / (place or release), name, *layers, space=SPACE, **options)

        super().__init__(path, make)
        y = make("1", "y")
        raw = [make("1", name, "raw", media_type=TAR) for name in "xy"]
        self.raw = save(raw, path / "raw.fate.tar", name="raw").path
        zstd = [make(release, name, "zstd", media_type=ZSTD) for release, name in (("2", "x"), ("3", "y"))]
        self.zstd = save(zstd, path / "zstd.fate.tar", name="zstd").path
        both = SourceImage((X,), multi(path / "both", "x"), ("linux/amd64", "linux/arm64"))
        self.both = save([both, y], path / "both.fate.tar", name="both").path
        empty = Layout(path / "bare")
        empty.finish((empty.manifest([]), f"docker.io/{X}"))
        bare = SourceImage((X,), empty.path, ("linux/amd64",))
        self.bare = save([bare, y], path / "bare.fate.tar", name="bare").path
        wrong = make("4", "y", diff_ids=[sha256(b"x"), sha256(b"y")])
        self.wrong = save([make("2", "x"), wrong], path / "wrong.fate.tar", name="wrong").path

    @property
    def ids(self) -> set[str]:
        """What an engine may keep of them without a name."""
        indexes = [inspect(path).index for path in (self.a, self.whole, self.b, self.raw, self.both, self.bare)]
        return {one.platform_images[0].config.digest for index in indexes for one in index.images}


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


def load(engine: Target, bundle: Path, *args: str | Path) -> Ran:
    args = ("bundle", "load", bundle, *args, "--into", engine.into)
    ran = fategen(*map(str, args), cwd=bundle.parent, env=engine.env)
    assert "Traceback" not in ran.err
    return ran


def states(engine: Target, bundle: Path, *args: str | Path) -> dict[str, str]:
    """Name → what the load made of it."""
    ran = succeeded(load(engine, bundle, *args, "--format", "json"))
    return {image["reference"].removeprefix("docker.io/"): image["state"] for image in json.loads(ran.out)["images"]}


def on(*kinds: str) -> pytest.MarkDecorator:
    """The test runs on engines of these kinds, and with ``--full`` on the others too."""
    full = [pytest.param(kind, marks=pytest.mark.full) for kind in KINDS if kind not in kinds]
    return pytest.mark.parametrize("engine", [*kinds, *full], indirect=True)


def last_layer(made: conftest.Made) -> Member:
    return [member for member in made.members if member.role == "layer"][-1]


EVERY = on(*KINDS)
# without one that builds: an engine with a build cache takes seconds for each image that is removed
BOTH_STORES = on("docker 28, containerd store", "docker 20.10")
# other engines are asked in another way
DOCKERS = ("docker 28, containerd store", "docker 20.10", "docker, containerd store")
TWO_DOCKERS = pytest.mark.parametrize("engine", DOCKERS[:2], indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest, registry: str, chain: Chain) -> Iterator[Target]:
    found = target(request.param, SPACE)
    yield found
    found.remove(X, Y, *chain.ids)


@EVERY
def test_a_bundle_and_the_same_again(engine: Target, chain: Chain) -> None:
    assert states(engine, chain.whole) == {X: "new", Y: "new"}
    first = engine.ids(X, Y)
    assert states(engine, chain.whole) == {X: "same", Y: "same"}
    assert engine.ids(X, Y) == first
    assert engine.whole(X) and engine.whole(Y)


@BOTH_STORES
def test_layers_in_zstd_where_the_engine_reads_them(engine: Target, chain: Chain) -> None:
    if engine == target("docker 20.10", SPACE):
        ran = load(engine, chain.zstd)
        assert (ran.code, engine.ids(X, Y)) == (3, {})
        assert "the layers of x, y are compressed with zstd, which this Docker cannot read" in ran.err
        states(engine, chain.whole)
        # nothing has to be sent that it would have to read
        assert states(engine, chain.zstd) == {X: "same", Y: "same"}
        return
    assert states(engine, chain.zstd) == {X: "new", Y: "new"}
    assert engine.whole(X) and engine.whole(Y)


@EVERY
def test_damage_moves_no_name(engine: Target, chain: Chain, tmp_path: Path) -> None:
    succeeded(load(engine, chain.a))
    before = engine.ids(X, Y)
    made = conftest.made_of(chain.whole)
    layer = last_layer(made)
    # flipped in a layer, and cut before what engines look for
    for bad in (made.flipped(layer.start + layer.size // 2), made.data[: made.members[-4].end]):
        (tmp_path / "bad.fate.tar").write_bytes(bad)
        ran = load(engine, tmp_path / "bad.fate.tar")
        assert ran.code == 4
        assert "nothing was loaded" in ran.err
        # an engine that goes on with what it got would name something only a moment later
        time.sleep(0.5)
        assert engine.ids(X, Y) == before
        assert engine.whole(X)


@pytest.mark.parametrize("engine", DOCKERS, indirect=True)
@pytest.mark.parametrize("before", ["nothing", "older images"])
def test_an_engine_that_refuses_what_was_whole_gets_its_names_back(
    engine: DockerTarget, chain: Chain, before: str
) -> None:
    """Engines keep the images that they had taken before the one that they refuse; no name of the bundle may stay."""
    if before == "older images":
        succeeded(load(engine, chain.a))
        # one without layers among them
        succeeded(load(engine, chain.bare))
    ids = engine.ids(X, Y)
    ran = load(engine, chain.wrong)
    assert ran.code == 3
    assert "no name was changed" in ran.err
    assert engine.ids(X, Y) == ids

    def kept() -> set[str]:
        return set(engine.docker("image", "ls", "--quiet", "--filter=reference=fategen.invalid/keep").split())

    listed = kept()
    # what another run has there lives for seconds
    wait_for(lambda: not listed & kept(), 60)
    assert not ids or engine.whole(Y)


@TWO_DOCKERS
def test_docker_load_alone_takes_it_too(engine: DockerTarget, chain: Chain) -> None:
    engine.docker("load", "--input", str(chain.whole))
    assert set(engine.ids(X, Y)) == {X, Y}
    assert engine.whole(Y)


@EVERY
def test_an_image_of_two_platforms_stays_one_where_the_engine_keeps_indexes(engine: Target, chain: Chain) -> None:
    image = inspect(chain.both).index.images[0]
    assert states(engine, chain.both, "--image", "x") == {X: "new"}
    if not engine.keeps_indexes:
        assert engine.ids(X) == {X: image.platform_images[0].config.digest}
        return
    assert engine.ids(X) == {X: image.target.digest}
    assert engine.holds(X, {blob.digest for blob in image.blobs()})
    assert states(engine, chain.both, "--image", "x") == {X: "same"}
    assert engine.holds(X, {blob.digest for blob in image.blobs()})
    if isinstance(engine, DockerTarget):
        assert engine.inspect(f"{X.rpartition(':')[0]}@{image.target.digest}", "{{.Id}}") == image.target.digest
    succeeded(load(engine, chain.a))
    assert states(engine, chain.both, "--image", "x", "--platform", "linux/amd64") == {X: "replaced"}
    assert engine.ids(X) == {X: image.platform_images[0].manifest.digest}


@pytest.mark.parametrize("engine", [DOCKERS[0], DOCKERS[2]], indirect=True)
def test_an_image_that_lacks_a_blob_is_mended(engine: DockerTarget, chain: Chain, tmp_path: Path) -> None:
    """A containerd store keeps what was left out, and Docker 28 shows it as an image without layers."""
    made = conftest.made_of(chain.whole)
    layer = last_layer(made)
    (tmp_path / "hole.tar").write_bytes(made.data[: layer.offset] + made.data[layer.end :])
    engine.docker("load", "--input", str(tmp_path / "hole.tar"), check=False)
    assert Y in engine.ids(X, Y)
    assert not engine.whole(Y)
    succeeded(load(engine, chain.whole))
    assert engine.whole(X) and engine.whole(Y)


@BOTH_STORES
def test_an_image_without_layers_is_loaded_and_hides_no_other(engine: Target, chain: Chain) -> None:
    succeeded(load(engine, chain.a))
    assert states(engine, chain.bare) == {X: "replaced", Y: "same"}
    assert states(engine, chain.bare) == {X: "same", Y: "same"}
    assert states(engine, chain.whole)[X] == "replaced"
    assert engine.whole(X) and engine.whole(Y)


@TWO_DOCKERS
def test_a_platform_that_the_engine_does_not_run_is_loaded(engine: DockerTarget, chain: Chain) -> None:
    succeeded(load(engine, chain.both, "--platform", "linux/arm64", "--image", "x"))
    assert engine.inspect(X, "{{.Architecture}}") == "arm64"


@EVERY
def test_a_chain_one_after_the_other(engine: Target, chain: Chain) -> None:
    """Alone where the engine has the layers; podman wants them all each time."""
    succeeded(load(engine, chain.a))
    with_bases = ([chain.a], [chain.b, chain.a]) if engine.into == "podman" else ([], [])
    assert states(engine, chain.b, *with_bases[0]) == {X: "replaced", Y: "same"}
    assert states(engine, chain.c, *with_bases[1]) == {X: "same", Y: "replaced"}
    assert engine.whole(X) and engine.whole(Y)
    ids = engine.ids(X, Y)
    succeeded(load(engine, chain.whole))
    assert engine.ids(X, Y) == ids


@BOTH_STORES
def test_the_base_is_there_with_other_blobs(engine: Target, chain: Chain) -> None:
    """The diff ids are the same and the digests are not: a containerd store would load it with a hole, silently."""
    succeeded(load(engine, chain.raw))
    if not engine.by_diff_id:
        ran = load(engine, chain.b)
        assert (ran.code, "its base is missing" in ran.err) == (2, True)
    succeeded(load(engine, chain.b, *([] if engine.by_diff_id else [chain.a])))
    assert engine.whole(X) and engine.whole(Y)
