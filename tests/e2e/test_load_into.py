"""Whole bundles, deltas and parts on every kind of engine: Docker with both image stores, containerd, podman."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.bundle.check import inspect
from generator.bundle.format.base import short_root
from generator.bundle.format.members import contents
from generator.bundle.save import save
from generator.images.layout import SourceImage
from tests.bundle.layouts import GZIP, TAR, ZSTD, Layout
from tests.e2e.conftest import Fategen, Ran
from tests.e2e.into import KINDS, Target, target

SPACE = f"fginto-{os.getpid()}"
X, Y = f"{SPACE}/x:1.0", f"{SPACE}/y:1.0"
MOVED = (f"localhost:5000/{SPACE}/x:1.0", f"localhost:5000/{SPACE}/y:1.0")


def image(path: Path, name: str, text: str, media_type: str = GZIP) -> SourceImage:
    """An image with the layer that all have, and one of its own."""
    layout = Layout(path / name)
    # no other test's: an engine that has it from there needs no base
    layers = [
        layout.layer({"base": SPACE.encode() * 500}, media_type),
        layout.layer({"own": text.encode() * 500}, media_type),
    ]
    layout.finish((layout.manifest(layers), f"docker.io/{SPACE}/{name}:1.0"))
    return SourceImage((f"{SPACE}/{name}:1.0",), layout.path, ("linux/amd64",))


class Chain:
    """A; B, a delta on A with another x; C, a delta on B with another y. ``raw`` is A with layers as plain tars.

    ``zstd`` is the whole of C with layers in zstd.
    """

    def __init__(self, path: Path) -> None:
        first = [image(path / "1", n, f"{n}1 {SPACE}") for n in "xy"]
        second = [image(path / "2", "x", f"x2 {SPACE}"), first[1]]
        third = [second[0], image(path / "3", "y", f"y3 {SPACE}")]
        raw = [image(path / "raw", n, f"{n}1 {SPACE}", TAR) for n in "xy"]
        self.a = save(first, path / "a.fate.tar", name="a").path
        self.b = save(second, path / "b.fate.tar", name="b", bases=[inspect(self.a).index]).path
        self.c = save(third, path / "c.fate.tar", name="c", bases=[inspect(self.b).index]).path
        self.whole = save(third, path / "whole.fate.tar", name="whole").path
        self.raw = save(raw, path / "raw.fate.tar", name="raw").path
        zstd = [image(path / "zstd", n, text, ZSTD) for n, text in (("x", f"x2 {SPACE}"), ("y", f"y3 {SPACE}"))]
        self.zstd = save(zstd, path / "zstd.fate.tar", name="zstd").path

    @property
    def ids(self) -> set[str]:
        """What an engine may keep of them without a name."""
        indexes = [inspect(path).index for path in (self.a, self.whole, self.b, self.raw)]
        return {one.variants[0].config.digest for index in indexes for one in index.images}

    def root(self, name: str) -> str:
        return short_root(inspect(getattr(self, name)).index.root)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


class Loads:
    def __init__(self, engine: Target, fategen: Fategen, cwd: Path) -> None:
        self._engine, self._fategen, self._cwd = engine, fategen, cwd

    def __call__(self, *args: str | Path) -> Ran:
        args = ("bundle", "load", *args, "--into", self._engine.into)
        ran = self._fategen(*map(str, args), cwd=self._cwd, env=dict(self._engine.env))
        assert "Traceback" not in ran.err
        return ran

    def states(self, *args: str | Path) -> dict[str, str]:
        ran = self(*args, "--format", "json")
        assert ran.code == 0, ran.err
        return {i["reference"].removeprefix("docker.io/"): i["state"] for i in json.loads(ran.out)["images"]}


def on(*kinds: str) -> pytest.MarkDecorator:
    """The test runs on engines of these kinds, and with ``--full`` on the others too."""
    full = [pytest.param(kind, marks=pytest.mark.full) for kind in KINDS if kind not in kinds]
    return pytest.mark.parametrize("engine", [*kinds, *full], indirect=True)


EVERY = on(*KINDS)
ONE = on("docker, containerd store")
BOTH_STORES = on("docker, containerd store", "docker 20.10")


@pytest.fixture
def engine(request: pytest.FixtureRequest, registry: str, chain: Chain) -> Iterator[Target]:
    found = target(request.param, SPACE)
    found.remove(X, Y, *MOVED, *chain.ids)
    yield found
    found.remove(X, Y, *MOVED, *chain.ids)


@pytest.fixture
def load(engine: Target, fategen: Fategen, tmp_path: Path) -> Loads:
    return Loads(engine, fategen, tmp_path)


@EVERY
def test_a_bundle_and_the_same_again(engine: Target, chain: Chain, load: Loads) -> None:
    assert load.states(chain.whole) == {X: "new", Y: "new"}
    first = engine.ids(X, Y)
    assert load.states(chain.whole) == {X: "same", Y: "same"}
    assert engine.ids(X, Y) == first
    assert engine.whole(X)
    assert engine.whole(Y)


@ONE
def test_one_image(engine: Target, chain: Chain, load: Loads) -> None:
    assert load.states(chain.whole, "--only", "y") == {Y: "new"}
    assert set(engine.ids(X, Y)) == {Y}


@BOTH_STORES
def test_layers_in_zstd_where_the_engine_reads_them(engine: Target, chain: Chain, load: Loads) -> None:
    if engine == target("docker 20.10", SPACE):
        ran = load(chain.zstd)
        assert (ran.code, engine.ids(X, Y)) == (3, {})
        assert "the layers of x, y are in zstd, which this Docker cannot read" in ran.err
        load.states(chain.whole)
        # nothing has to be sent that it would have to read
        assert load.states(chain.zstd) == {X: "same", Y: "same"}
        return
    assert load.states(chain.zstd) == {X: "new", Y: "new"}
    assert engine.whole(X)
    assert engine.whole(Y)


@ONE
def test_under_another_prefix(engine: Target, chain: Chain, load: Loads) -> None:
    assert set(load.states(chain.whole, "--retag", f"localhost:5000/{SPACE}")) == set(MOVED)
    assert engine.ids(X, Y) == {}


@EVERY
@pytest.mark.parametrize(
    "role", ["layer", *(pytest.param(role, marks=pytest.mark.full) for role in ("config", "manifest"))]
)
def test_damage_moves_no_name(engine: Target, chain: Chain, load: Loads, tmp_path: Path, role: str) -> None:
    assert load(chain.a).code == 0
    before = engine.ids(X, Y)
    data = bytearray(chain.whole.read_bytes())
    member = [m for m in contents(inspect(chain.whole).index).members if m.role == role][-1]
    data[member.start + member.size // 2] ^= 1
    bad = tmp_path / "bad.fate.tar"
    bad.write_bytes(bytes(data))
    ran = load(bad)
    assert ran.code == 4
    assert "nothing was loaded" in ran.err
    assert engine.ids(X, Y) == before
    assert engine.whole(X)


@EVERY
def test_a_chain_one_after_the_other(engine: Target, chain: Chain, load: Loads) -> None:
    """Alone where the engine has the layers; podman wants them all each time."""
    assert load(chain.a).code == 0
    with_bases = ([chain.a], [chain.b, chain.a]) if engine.into == "podman" else ([], [])
    assert load.states(chain.b, *with_bases[0]) == {X: "replaced", Y: "same"}
    assert load.states(chain.c, *with_bases[1]) == {X: "same", Y: "replaced"}
    assert engine.whole(X)
    assert engine.whole(Y)
    ids = engine.ids(X, Y)
    assert load(chain.whole).code == 0
    assert engine.ids(X, Y) == ids


@ONE
def test_a_chain_at_once(engine: Target, chain: Chain, load: Loads) -> None:
    assert load.states(chain.c, chain.a, chain.b) == {X: "new", Y: "new"}
    ids = engine.ids(X, Y)
    assert load(chain.whole).code == 0
    assert engine.ids(X, Y) == ids
    assert engine.whole(Y)


@ONE
def test_a_missing_base_is_named_and_nothing_sent(engine: Target, chain: Chain, load: Loads) -> None:
    for files, missing in (([chain.c], "b"), ([chain.c, chain.b], "a"), ([chain.b], "a")):
        ran = load(*files)
        assert ran.code == 2, ran.err
        assert f"{missing} (root digest {chain.root(missing)})" in ran.err
        assert engine.ids(X, Y) == {}


@ONE
def test_only_the_first_of_the_chain_was_loaded(engine: Target, chain: Chain, load: Loads) -> None:
    assert load(chain.a).code == 0
    before = engine.ids(X, Y)
    ran = load(chain.c)
    assert ran.code == 2, ran.err
    assert f"b (root digest {chain.root('b')})" in ran.err
    assert engine.ids(X, Y) == before


@ONE
def test_the_base_was_removed_from_the_engine(engine: Target, chain: Chain, load: Loads) -> None:
    assert load(chain.a).code == 0
    engine.remove(Y)
    ran = load(chain.b)
    assert ran.code == 2
    assert f"a (root digest {chain.root('a')})" in ran.err
    assert load(chain.b, chain.a).code == 0
    assert engine.whole(Y)


@BOTH_STORES
def test_the_base_is_there_with_other_blobs(engine: Target, chain: Chain, load: Loads) -> None:
    """The diff ids are the same and the digests are not: a containerd store would load it with a hole, silently."""
    assert load(chain.raw).code == 0
    ran = load(chain.b)
    if engine.by_diff_id:
        assert ran.code == 0, ran.err
    else:
        assert ran.code == 2
        assert "its base is missing" in ran.err
        assert load(chain.b, chain.a).code == 0
    assert engine.whole(X)
    assert engine.whole(Y)
