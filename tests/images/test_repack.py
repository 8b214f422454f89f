"""Layers in another form: what changes in an image and what does not."""

from __future__ import annotations

import errno
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from generator.bake.layouts import empty_layout
from generator.bundle.check import inspect, verify
from generator.bundle.format.deep import MAX_RATIO
from generator.bundle.format.model import Variant
from generator.bundle.save import save
from generator.errors import BundleError, InputError
from generator.images import compression
from generator.images.layout import SourceImage, blob_path, read
from generator.images.oci import FORMS, LAYERS, Form, compressed_with
from generator.images.repack import repacked
from tests.bundle.layouts import BASE, GZIP, TAR, ZSTD, Layout, multi, sha256, simple, tar_of, zstd

AMD, ARM = "linux/amd64", "linux/arm64"
ALL: tuple[Form, ...] = ("raw", "gzip", "zstd")


def sources(path: Path) -> list[SourceImage]:
    """Layers in gzip."""
    return [
        SourceImage(("fgtest/a:1.0",), simple(path / "a", "a"), (AMD,)),
        SourceImage(("fgtest/m:1.0",), multi(path / "m", "m", attestations=1), (ARM, AMD)),
    ]


def packed(images: list[SourceImage], form: Form, state: Path) -> tuple[SourceImage, ...]:
    (state / "layouts").mkdir(parents=True, exist_ok=True)
    return repacked(images, form, state, lambda name: empty_layout(state / "layouts", name))


def variants(images: list[SourceImage]) -> list[Variant]:
    return [variant for image in images for variant in read(image).image.variants]


@pytest.mark.parametrize("form", ALL)
def test_every_layer_has_the_form_and_unpacks_to_its_diff_id(form: Form, tmp_path: Path) -> None:
    found = packed(sources(tmp_path), form, tmp_path / "state")
    path = save(found, tmp_path / "x.fate.tar", name="x").path
    images = inspect(path).index.images
    assert {layer.blob.media_type for i in images for v in i.variants for layer in v.layers} == {FORMS[form]}
    verify(path, max_ratio=MAX_RATIO)


@pytest.mark.parametrize("form", ALL)
def test_configs_and_diff_ids_stay(form: Form, tmp_path: Path) -> None:
    before = sources(tmp_path)
    after = list(packed(before, form, tmp_path / "state"))
    for old, new in zip(variants(before), variants(after), strict=True):
        assert (old.platform, old.config.digest) == (new.platform, new.config.digest)
        assert [layer.diff_id for layer in old.layers] == [layer.diff_id for layer in new.layers]


@pytest.mark.parametrize("form", ALL)
def test_the_same_layers_in_whatever_form_give_the_same_image(form: Form, tmp_path: Path) -> None:
    tops = set()
    # one compression and back: what is in the form already stays, so it is made from the two others
    for other in (kind for kind in ALL if kind != form):
        start = packed(sources(tmp_path), other, tmp_path / other)
        tops.add(tuple(v.manifest for v in variants(list(packed(list(start), form, tmp_path / f"{other}-state")))))
    assert len(tops) == 1


def test_a_layer_that_has_the_form_stays_byte_for_byte(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    tar = tar_of(BASE)
    # two frames: fategen itself would write one
    layer = (layout.put(zstd(tar[:300]) + zstd(tar[300:]), ZSTD), sha256(tar))
    layout.finish((layout.manifest([layer, layout.layer({"own": b"own"})]), "docker.io/fgtest/a:1.0"))
    [image] = packed([SourceImage(("fgtest/a:1.0",), layout.path, (AMD,))], "zstd", tmp_path / "state")
    [variant] = variants([image])
    assert variant.layers[0].blob.digest == layer[0]["digest"]
    assert variant.layers[1].blob.media_type == ZSTD


def test_an_image_whose_layers_all_have_the_form_keeps_its_digest(tmp_path: Path) -> None:
    images = sources(tmp_path)
    assert packed(images, "gzip", tmp_path / "state") == tuple(images)


def test_a_layer_that_was_packed_before_is_not_packed_again(tmp_path: Path) -> None:
    found = packed(sources(tmp_path), "zstd", tmp_path / "state")
    layer = variants(list(found))[0].layers[0]
    blob = blob_path(found[0].layout, layer.blob.digest)
    written = blob.stat().st_mtime_ns
    packed(sources(tmp_path), "zstd", tmp_path / "state")
    assert blob.stat().st_mtime_ns == written


def test_the_layout_that_it_comes_from_is_left_alone(tmp_path: Path) -> None:
    images = sources(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    packed(images, "raw", tmp_path / "state")
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "state" not in path.parents} == {
        *before
    }


@pytest.mark.parametrize(
    ("layer", "media_type", "form", "words"),
    [
        (tar_of(BASE), TAR, "zstd", "unpacks to sha256:.* not to its diff id"),
        (b"\x1f\x8b\x08" + bytes(50), GZIP, "raw", "is damaged: its gzip stream"),
        (zstd(tar_of(BASE))[:-9], ZSTD, "gzip", "is cut short: its zstd stream"),
    ],
    ids=["another layer", "damaged", "cut"],
)
def test_a_layer_that_is_not_what_its_image_says(
    layer: bytes, media_type: str, form: Form, words: str, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "a")
    layers = [(layout.put(layer, media_type), sha256(b"what was built"))]
    layout.finish((layout.manifest(layers), "docker.io/fgtest/a:1.0"))
    with pytest.raises(BundleError, match=rf"a: layer sha256:\w{{64}} {words}") as error:
        packed([SourceImage(("fgtest/a:1.0",), layout.path, (AMD,))], form, tmp_path / "state")
    assert error.value.hint == f"have {layout.path} written again by what wrote it"
    assert not list((tmp_path / "state").rglob("*.part"))


def test_the_same_layer_under_another_diff_id_is_checked_too(tmp_path: Path) -> None:
    images = [SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,))]
    layout = Layout(tmp_path / "b")
    layers = [(layout.layer(BASE)[0], sha256(b"another"))]
    layout.finish((layout.manifest(layers), "docker.io/fgtest/b:1.0"))
    images.append(SourceImage(("fgtest/b:1.0",), layout.path, (AMD,)))
    with pytest.raises(BundleError, match=r"b: layer .* not to its diff id"):
        packed(images, "raw", tmp_path / "state")


def test_the_problems_of_all_images_are_told_at_once(tmp_path: Path) -> None:
    images = [replace(image, platforms=("linux/s390x",)) for image in sources(tmp_path)]
    with pytest.raises(InputError) as error:
        packed(images, "zstd", tmp_path / "state")
    assert len(error.value.problems) == 2


def test_a_platform_that_the_index_alone_states_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    manifests = {p: layout.manifest([layout.layer(BASE)], "linux/arm") for p in ("linux/arm/v6",)}
    layout.finish((layout.index(manifests), "docker.io/fgtest/a:1.0"))
    images = packed([SourceImage(("fgtest/a:1.0",), layout.path, ("linux/arm/v6",))], "zstd", tmp_path / "state")
    assert [variant.platform for variant in variants(list(images))] == ["linux/arm/v6"]


def test_layers_of_docker_s_types_and_of_oci_s_are_not_mixed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    kept, diff_id = layout.layer(BASE)
    kept["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layout.finish((layout.manifest([(kept, diff_id), layout.layer({"own": b"own"}, TAR)]), "docker.io/fgtest/a:1.0"))
    images = packed([SourceImage(("fgtest/a:1.0",), layout.path, (AMD,))], "gzip", tmp_path / "state")
    [variant] = variants(list(images))
    assert [layer.blob.media_type for layer in variant.layers] == [GZIP, GZIP]
    assert variant.layers[0].blob.digest == kept["digest"]


def test_a_layer_that_is_mostly_zeros_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "SLACK", 1000)
    image = SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a", files={"zeros": bytes(1 << 20)}), (AMD,))
    packed([image], "zstd", tmp_path / "state")


def test_a_disk_that_cannot_be_read_is_not_taken_for_one_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,))
    blobs = {blob_path(image.layout, layer.blob.digest) for layer in variants([image])[0].layers}
    real = Path.open

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def opened(path: Path, mode: str = "r", **more: str) -> object:
        return Failing() if path in blobs else real(path, mode, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(BundleError, match=r"a: layer sha256:\w{64} cannot be read: Input/output error"):
        packed([image], "zstd", tmp_path / "state")


def test_a_layer_that_is_gone(tmp_path: Path) -> None:
    images = sources(tmp_path)[:1]
    blob_path(images[0].layout, variants(images)[0].layers[1].blob.digest).unlink()
    with pytest.raises(BundleError, match=r"a: layer sha256:\w{64} cannot be read: No such file"):
        packed(images, "raw", tmp_path / "state")


def test_where_this_python_has_no_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="--layers zstd: this Python has no zstd") as error:
        packed(sources(tmp_path), "zstd", tmp_path / "state")
    assert "backports.zstd" in error.value.hint


def test_where_this_python_has_no_zstd_to_unpack_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = list(packed(sources(tmp_path), "zstd", tmp_path / "state"))
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"a: layer .*: it is zstd-compressed") as error:
        packed(images, "raw", tmp_path / "other")
    assert "backports.zstd" in error.value.hint and "FILE" not in error.value.hint


def test_each_form_has_its_media_type() -> None:
    assert {form: compressed_with(FORMS[form]) or "raw" for form in ALL} == {form: form for form in ALL}
    assert ("keep", *ALL) == LAYERS
