"""Deltas: what they leave out, and which of it an engine is sent from where."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from generator.bundle.bases import open_blobs
from generator.bundle.diff import Difference, diff
from generator.bundle.engines import DockerEngine, PodmanEngine, Present
from generator.bundle.format import blob_name
from generator.bundle.index import BundleIndex, arrange, short_root
from generator.bundle.load import load
from generator.bundle.reader import DamagedError, inspect, verify
from generator.bundle.save import save
from generator.docker.process import Docker
from generator.errors import BundleError, InputError
from generator.images.image import Image
from generator.images.layout import SourceImage
from tests.bundle.conftest import Chain, Change, add_up, blobs_of, descriptors, forged, made_of, rewritten
from tests.bundle.layouts import BASE, image, multi, own, sha256
from tests.bundle.test_load import Recorder


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    path = tmp_path_factory.mktemp("chain")
    return Chain(path, lambda release, name: image(path / release, name, BASE, own(name + release)))


def index(path: Path) -> BundleIndex:
    return inspect(path).index


def layers(path: Path, name: str) -> list[str]:
    found = next(i for i in index(path).images if i.label == name)
    return [layer.blob.digest for layer in found.platform_images[0].layers]


def test_a_delta_leaves_out_the_layers_that_its_base_has_and_nothing_else(chain: Chain) -> None:
    delta = index(chain.b)
    assert [(base.name, base.root) for base in delta.bases] == [("a", index(chain.a).root)]
    assert {layer.digest for layer in delta.missing} == {*layers(chain.a, "y"), layers(chain.a, "x")[0]}
    # x is in it under the tag that its base has: names are not what is compared
    assert {image.references for image in delta.images} == {image.references for image in index(chain.a).images}
    for found in delta.images:
        [platform_image] = found.platform_images
        assert {platform_image.manifest.digest, platform_image.config.digest} <= delta.carried().keys()
    assert layers(chain.b, "x")[1] in delta.carried()
    assert verify(chain.b).index == delta
    # a delta on a delta leaves out what its base leaves out, too
    delta = index(chain.c)
    assert [base.name for base in delta.bases] == ["b"]
    assert set(delta.carried()) & set(layers(chain.c, "x") + layers(chain.c, "y")) == {layers(chain.c, "y")[1]}


def test_several_bases_are_named_when_each_has_something(tmp_path: Path) -> None:
    one, other = image(tmp_path, "x", BASE, own("x1")), image(tmp_path / "o", "x", own("other"))
    bases = [save([source], tmp_path / f"{n}.tar", name=n).index for n, source in (("p", one), ("q", other))]
    new = image(tmp_path / "n", "x", BASE, own("other"), own("new"))
    delta = save([new], tmp_path / "new", name="new", bases=bases).index
    assert {base.name for base in delta.bases} == {"p", "q"}
    assert save([one], tmp_path / "z", name="z", bases=bases).index.bases[0].name == "p"


def test_without_anything_in_common_it_is_a_whole_bundle(chain: Chain, tmp_path: Path) -> None:
    strange = image(tmp_path, "z", own("z"))
    result = save([strange], tmp_path / "z.fate.tar", name="z", bases=[index(chain.a)])
    assert result.index.bases == ()
    assert result.root == save([strange], tmp_path / "other", name="z").root


def test_base_and_delta_are_sent_as_the_whole_would_be(chain: Chain) -> None:
    merged, alone = Recorder(), Recorder()
    # the order of the files is free
    assert load(chain.a, merged, bases=[chain.b, chain.c]).index.name == "c"
    load(chain.whole, alone)
    assert merged.files() == alone.files()
    assert [*merged.files()][-3:] == [*alone.files()][-3:]
    assert set(merged.names) == {"docker.io/fgtest/x:1.0", "docker.io/fgtest/y:1.0"}


def test_a_delta_may_come_through_a_pipe_and_its_base_not(chain: Chain) -> None:
    load(io.BytesIO(chain.b.read_bytes()), engine := Recorder(), bases=[chain.a])
    assert engine.finished
    with pytest.raises(InputError, match="a base must be a file"):
        load(chain.b, Recorder(), bases=[io.BytesIO(chain.a.read_bytes())])


@pytest.mark.parametrize("every", [True, False], ids=["an engine that needs every layer", "another engine"])
@pytest.mark.parametrize(("given", "missing"), [("", "b"), ("b", "a"), ("a", "b")])
def test_a_missing_base_is_named_with_the_ways_to_add_it_before_a_byte_is_sent(
    chain: Chain, given: str, missing: str, every: bool
) -> None:
    engine = Recorder(needs_every_layer=every)
    root = short_root(index(getattr(chain, missing)).root)
    with pytest.raises(InputError, match=rf"its base is missing: {missing} \(root digest {root}\); it has") as error:
        load(chain.c, engine, bases=[getattr(chain, name) for name in given])
    same_command = f"pass the base bundle after {chain.c} in the same command"
    other = "; this engine needs the base each time, even after it was loaded" if every else ", or load the base first"
    assert error.value.hint == same_command + other
    assert (engine.sent, engine.calls) == (b"", [])


def test_what_is_no_base_is_told_before_a_byte_is_sent(chain: Chain, tmp_path: Path) -> None:
    same_names = [image(tmp_path, name, own("evil")) for name in "xy"]
    wrong = save(same_names, tmp_path / "wrong.fate.tar", name="a").path
    newer = save([image(tmp_path / "n", "x", BASE, own("x1"))], tmp_path / "newer.fate.tar", name="newer").path
    each = "pass only the bundle and its bases; run the command again for every other bundle"
    for file, base, name, hint in (
        (chain.b, wrong, "a", f"it needs a (root digest {short_root(index(chain.a).root)})"),
        (chain.a, chain.whole, "c", each),
        (newer, chain.b, "b", each),
    ):
        engine = Recorder()
        with pytest.raises(InputError, match=rf"{base}: is {name} .* not a base of {file}") as error:
            load(file, engine, bases=[base])
        assert (error.value.hint, engine.sent) == (hint, b"")


def test_whatever_bundle_has_the_layers_is_a_base(chain: Chain, tmp_path: Path) -> None:
    """The same images under another name have another root digest, and the same layers."""
    first = [image(tmp_path, "x", BASE, own("x1")), image(tmp_path, "y", BASE, own("y1"))]
    other = save(first, tmp_path / "other.fate.tar", name="other").path
    assert index(other).root != index(chain.a).root
    load(chain.b, engine := Recorder(), bases=[other])
    assert engine.sent
    with open_blobs(chain.b, [other]) as blobs:
        assert blobs.blobs.keys() == blobs.bundle.index.blobs().keys()


def test_a_layer_of_the_base_that_is_damaged(chain: Chain, tmp_path: Path) -> None:
    made, layer = made_of(chain.a), layers(chain.a, "y")[1]
    bad = tmp_path / "a.fate.tar"
    bad.write_bytes(made.flipped(made.member(blob_name(layer)).start))
    engine = Recorder()
    with pytest.raises(DamagedError, match=rf"(?s){bad} is damaged: layer {layer}.*nothing was loaded"):
        load(chain.b, engine, bases=[bad])
    assert engine.sent and not engine.finished
    assert b"manifest.json" not in engine.sent


def test_a_damaged_header_in_a_base_does_not_matter(chain: Chain, tmp_path: Path) -> None:
    """A layer of a base is known by its digest, and the engine gets a header that is written anew."""
    made = made_of(chain.a)
    (tmp_path / "a.fate.tar").write_bytes(made.flipped(made.member(blob_name(layers(chain.a, "y")[1])).offset + 130))
    load(chain.b, torn := Recorder(), bases=[tmp_path / "a.fate.tar"])
    load(chain.b, whole := Recorder(), bases=[chain.a])
    assert torn.sent == whole.sent


def named(path: Path, *names: str) -> list[Image]:
    images = {image.label: image for image in index(path).images}
    return [images[name] for name in names]


def chains(path: Path, *names: str) -> Present:
    images = [image.platform_images[0] for image in named(path, *names)]
    return Present(chains=frozenset(tuple(layer.diff_id for layer in image.layers) for image in images))


def manifests(path: Path, *names: str) -> Present:
    return Present(manifests=frozenset(image.target.digest for image in named(path, *names)))


def test_of_a_delta_and_its_base_only_what_the_engine_lacks_is_sent(chain: Chain) -> None:
    x, y = layers(chain.b, "x")[1], layers(chain.b, "y")[1]
    for present, bases, sent in (
        (chains(chain.a, "x", "y"), [], {x}),
        (manifests(chain.a, "y"), [], {x}),
        (manifests(chain.a, "x"), [chain.a], {x, y}),
    ):
        load(chain.b, engine := Recorder(has=present), bases=bases)
        assert engine.layers(*index(chain.b).images) == sent
    # one image of the base was removed
    engine = Recorder(has=chains(chain.a, "x"))
    with pytest.raises(InputError, match=r"its base is missing: a .*; it has 1 layers of y"):
        load(chain.b, engine)
    load(chain.b, engine, only=["x"])
    assert engine.finished


def test_podman_needs_every_layer() -> None:
    assert PodmanEngine(Docker("podman")).needs_every_layer
    assert not DockerEngine(Docker("docker")).needs_every_layer


def two_platforms(path: Path, text: str) -> SourceImage:
    return SourceImage(("fgtest/t:1.0",), multi(path, "t", text), ("linux/amd64", "linux/arm64"))


def test_a_delta_on_an_index_in_the_engine_is_loaded_for_its_platform_and_with_the_base_as_an_index(
    tmp_path: Path,
) -> None:
    """Of an index that is there by other ways than this, the other platforms' layers may not be."""
    base = save([two_platforms(tmp_path / "1", "t1")], tmp_path / "base.fate.tar", name="base")
    second = [two_platforms(tmp_path / "2", "t2")]
    delta = save(second, tmp_path / "delta.fate.tar", name="delta", bases=[base.index])
    [old], [new] = base.index.images, delta.index.images
    engine = Recorder(containerd_store=True)
    with pytest.raises(InputError, match="its base is missing"):
        load(delta.path, engine)
    engine.has = Present(manifests=frozenset({old.target.digest}))
    [alone] = load(delta.path, engine).images
    assert (alone.platforms, alone.id) == (("linux/amd64",), new.platform_images[0].manifest.digest)
    [both] = load(delta.path, engine, bases=[base.path]).images
    assert (both.platforms, both.id) == (("linux/amd64", "linux/arm64"), new.target.digest)
    in_base, in_delta = (layer.blob.digest for layer in new.platform_images[1].layers)
    sent = engine.blobs()
    assert {in_base, in_delta} <= sent and new.platform_images[0].layers[0].blob.digest not in sent
    with pytest.raises(InputError, match="its base is missing"):
        load(delta.path, engine, platform="linux/arm64")


def test_the_same_layers_on_others_do_not_count(chain: Chain, tmp_path: Path) -> None:
    """A graphdriver knows a layer by all that is below it."""
    upside_down = save([image(tmp_path, "x", own("x1"), BASE)], tmp_path / "u", name="u").path
    load(chain.a, engine := Recorder(has=chains(upside_down, "x")))
    assert engine.layers(*index(chain.a).images) == {*layers(chain.a, "x"), *layers(chain.a, "y")}


def test_what_is_there_is_not_sent_again_but_still_checked(chain: Chain) -> None:
    for present in (chains(chain.whole, "x", "y"), manifests(chain.whole, "x", "y")):
        load(chain.whole, engine := Recorder(has=present))
        assert engine.layers(*index(chain.whole).images) == set()
        assert [*engine.files()][-3:] == ["manifest.json", "index.json", "oci-layout"]
    made = made_of(chain.whole)
    with pytest.raises(DamagedError):
        load(io.BytesIO(made.flipped(made.member(blob_name(layers(chain.whole, "x")[1])).start + 21)), engine)


RECORDS: dict[str, tuple[Change, str]] = {
    "no base": (lambda r: r["base"].update(bundles=[]), "must come together"),
    "nothing absent": (lambda r: r["base"].update(absent=[]), "must come together"),
    "absent twice": (lambda r: r["base"]["absent"].append(r["base"]["absent"][-1]), "it is not canonical"),
    "a manifest is absent": (lambda r: r["base"]["absent"].append({
        "digest": r["images"][0]["target"]["digest"], "manifests": [],
    }), "a blob that is not a layer"),
    "a blob of others is absent": (lambda r: r["base"]["absent"].insert(0, {
        "digest": "sha256:" + "0" * 64, "manifests": [],
    }), "a blob that is not a layer"),
    "a path as root": (lambda r: r["base"]["bundles"][0].update(root="../x"), "is not a sha256 digest"),
    "a name with a slash": (lambda r: r["base"]["bundles"][0].update(name="../x"), "'../x' is not a bundle name"),
    "unknown key": (lambda r: r["base"].update(more=1), "unknown key 'more'"),
    "base is text": (lambda r: r.update(base="x"), "base is not an object"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), RECORDS.values(), ids=RECORDS)
def test_an_index_that_lies_about_its_base(chain: Chain, change: Change, words: str) -> None:
    made = made_of(chain.b)
    left_out = blobs_of(made_of(chain.a))
    with pytest.raises(BundleError, match=words):
        verify(io.BytesIO(forged(made, change, left_out)))


def test_a_delta_that_says_it_is_whole_lacks_its_layers(chain: Chain) -> None:
    with pytest.raises(DamagedError, match="cut short"):
        verify(io.BytesIO(rewritten(made_of(chain.b), lambda r: r.pop("base"))))


def states(difference: Difference) -> list[str]:
    return [f"{change.reference.rpartition('/')[2]} {change.state}" for change in difference.changes]


def rows(difference: Difference) -> list[list[str]]:
    """The cells of the table that are not empty."""
    return [re.split(r" {2,}", line) for line in difference.as_text().splitlines()[1:-2]]


def test_diff_tells_what_a_delta_carries(chain: Chain, tmp_path: Path) -> None:
    difference = diff(index(chain.a), index(chain.b))
    assert states(difference) == ["x:1.0 changed", "y:1.0 same"]
    carried = index(chain.b).carried()
    sizes = len(carried), sum(blob.size for blob in carried.values()), index(chain.b).size
    assert (difference.blobs, difference.size, difference.all_size) == sizes
    # nothing new is shown of what is the same
    assert [(row[1], len(row[2:])) for row in rows(difference)] == [("changed", 2), ("same", 0)]
    new = save([image(tmp_path, "z", BASE)], tmp_path / "z.fate.tar", name="z").index
    assert states(diff(index(chain.a), new)) == ["x:1.0 gone", "y:1.0 gone", "z:1.0 new"]


def bundled(images: dict[str, Image]) -> BundleIndex:
    """An index of images by their names, separated by spaces."""
    named = []
    for names, each in images.items():
        named.append(replace(each, references=tuple(f"docker.io/fgtest/{name}" for name in names.split())))
    return arrange(BundleIndex("x", tuple(named)))


def test_diff_compares_the_only_image_of_a_repository_across_tags(chain: Chain) -> None:
    """A new release has new tags: they alone do not make new images of its images."""
    (x, y), newer = index(chain.a).images, index(chain.b).images[0]
    [platform_image] = x.platform_images
    config = replace(platform_image.config, digest=sha256(b"config"))
    manifest = replace(platform_image.manifest, digest=sha256(b"manifest"))
    other = replace(platform_image, manifest=manifest, config=config)
    configured = replace(x, target=manifest, platform_images=(other,))
    found = diff(
        bundled({"x:1.0 x:latest": x, "y:1.0": y, "z:1.0": x}),
        bundled({"x:1.1 x:latest": newer, "y:1.1": y, "z:1.1": configured}),
    )
    assert [row[:4] for row in rows(found)] == [
        ["fgtest/x:1.1", "1.0", "changed", "3"],
        ["fgtest/x:latest", "changed", "3", "972 B"],
        ["fgtest/y:1.1", "1.0", "same"],
        ["fgtest/z:1.1", "1.0", "only its config", "2"],
    ]
    listed = json.loads(json.dumps(found.as_json()))["images"]
    assert [(one["was"][-3:], one["state"], one["same_layers"]) for one in listed] == [
        ("1.0", "changed", False),
        ("est", "changed", False),
        ("1.0", "same", True),
        ("1.0", "changed", True),
    ]


def test_diff_does_not_guess_which_of_two_images_a_new_one_replaces(chain: Chain) -> None:
    x, y = index(chain.a).images
    two, one = bundled({"x:1.0": x, "x:2.0": y}), bundled({"x:3.0": x})
    assert states(diff(two, one)) == ["x:1.0 gone", "x:2.0 gone", "x:3.0 new"]
    assert states(diff(one, two)) == ["x:1.0 new", "x:2.0 new", "x:3.0 gone"]


def test_push_reads_a_delta_together_with_its_bases(chain: Chain) -> None:
    with open_blobs(chain.c, [chain.a, chain.b]) as blobs:
        for digest, blob in blobs.bundle.index.blobs().items():
            assert sha256(b"".join(blobs.chunks(blob))) == digest


def test_nothing_is_taken_from_a_base_that_lies_about_a_layer(chain: Chain, tmp_path: Path) -> None:
    """The delta does not name it as a base: a longer layer would put other bytes behind the right ones."""
    made, digest = made_of(chain.a), layers(chain.a, "y")[1]
    longer = blobs_of(made)[digest] + b"GET /evil HTTP/1.1\r\n" * 40

    def lie(document: Any) -> None:
        for blob in descriptors(document):
            blob.update(size=len(longer) if blob["digest"] == digest else blob["size"])
        add_up(document)

    evil = tmp_path / "evil.fate.tar"
    evil.write_bytes(forged(made, lie, {digest: longer}))
    layer = index(chain.b).blobs()[digest]
    with open_blobs(chain.b, [evil, chain.a]) as opened:
        assert b"evil" not in b"".join(opened.chunks(layer))
    with open_blobs(chain.b, [evil]) as opened, pytest.raises(InputError, match="is a delta"):
        opened.chunks(layer)
