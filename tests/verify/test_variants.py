"""Images in layouts and bundles: read without being extracted, and believed only as far as their digests."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bundle.format import TRAILER
from generator.bundle.reader import inspect
from generator.bundle.save import save
from generator.errors import BundleError, InputError
from generator.images.layout import SourceImage, read
from generator.verify.kept import Kept
from generator.verify.subjects import evidence
from generator.verify.variants import read_bundle, read_layouts, variants_of
from tests.bundle.layouts import BASE, ZSTD, Layout, multi, simple

AMD, ARM = "linux/amd64", "linux/arm64"


def made(tmp_path: Path, *images: SourceImage) -> Path:
    return save(images, tmp_path / "t.fate.tar", name="t").path


def test_every_platform_of_a_layout_is_read(tmp_path: Path) -> None:
    found = read(SourceImage(("fgtest/m:1.0",), multi(tmp_path / "m", "m"), (AMD, ARM)))
    kept = Kept(tmp_path / "kept")
    parts = read_layouts([found], list(variants_of([found.image])), kept)
    assert {platform for _, platform in parts} == {AMD, ARM}
    for one in parts.values():
        assert set(evidence(one, kept).files) == {"/arch", "/opt/app.jar"}


def test_a_bundle_is_read_in_one_pass(tmp_path: Path) -> None:
    file = made(
        tmp_path,
        SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,)),
        SourceImage(("fgtest/b:1.0",), simple(tmp_path / "b", "b"), (AMD,)),
    )
    kept = Kept(tmp_path / "kept")
    wanted = list(variants_of(inspect(file).index.images))
    parts = read_bundle(file, wanted, kept)
    assert [set(evidence(parts[key], kept).files) for key in wanted] == [
        {"/etc/base", "/opt/a"}, {"/etc/base", "/opt/b"}
    ]  # fmt: skip
    assert evidence(parts[wanted[0]], kept).size == len(BASE["etc/base"]) + 300
    assert evidence(parts[wanted[0]], kept).settings.command == ("/bin/true",)


def test_layers_in_zstd_are_read_as_others_are(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    layout.finish((layout.manifest([layout.layer(BASE, ZSTD), layout.layer({"opt/a": b"a"}, ZSTD)]), "fgtest/a:1.0"))
    file = made(tmp_path, SourceImage(("fgtest/a:1.0",), layout.path, (AMD,)))
    kept = Kept(tmp_path / "kept")
    (key,) = variants_of(inspect(file).index.images)
    assert set(evidence(read_bundle(file, [key], kept)[key], kept).files) == {"/etc/base", "/opt/a"}


def test_what_was_read_once_is_not_read_again(tmp_path: Path) -> None:
    file = made(tmp_path, SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,)))
    (key,) = variants_of(inspect(file).index.images)
    read_bundle(file, [key], Kept(tmp_path / "kept"))
    assert Kept(tmp_path / "kept").image(*key) is not None


def test_every_byte_of_a_bundle_is_checked_also_when_nothing_of_it_is_new(tmp_path: Path) -> None:
    file = made(tmp_path, SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,)))
    data = bytearray(file.read_bytes())
    data[-len(TRAILER) - 10_000] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(file, [], Kept(tmp_path / "kept"))


def test_a_bundle_whose_config_lies_about_a_layer_cannot_put_it_under_another_s_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    layer = layout.layer({"etc/mine": b"x"})
    other = "sha256:" + "0" * 64
    manifest = layout.manifest([layer], diff_ids=[other])
    layout.finish((manifest, "docker.io/fgtest/a:1.0"))
    file = made(tmp_path, SourceImage(("fgtest/a:1.0",), layout.path, (AMD,)))
    kept = Kept(tmp_path / "kept")
    with pytest.raises(BundleError, match=r"unpacked it is sha256:[0-9a-f]{64}, its config says sha256:0{64}"):
        read_bundle(file, list(variants_of(inspect(file).index.images)), kept)
    assert kept.layer(other) is None


def test_a_layer_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    manifest = layout.manifest(
        [(layout.put(b"no tar at all" * 100, "application/vnd.oci.image.layer.v1.tar"), "sha256:" + "1" * 64)]
    )
    layout.finish((manifest, "docker.io/fgtest/a:1.0"))
    file = made(tmp_path, SourceImage(("fgtest/a:1.0",), layout.path, (AMD,)))
    with pytest.raises(BundleError, match="no tar header"):
        read_bundle(file, list(variants_of(inspect(file).index.images)), Kept(tmp_path / "kept"))
    with pytest.raises(BundleError, match="no tar header"):
        found = read(SourceImage(("fgtest/a:1.0",), layout.path, (AMD,)))
        read_layouts([found], list(variants_of([found.image])), Kept(tmp_path / "kept"))


def test_a_delta_is_refused_and_nothing_of_it_is_remembered(tmp_path: Path) -> None:
    """What it leaves out would count as not there, under the digests of whole images."""
    images = [SourceImage(("fgtest/a:1.0",), simple(tmp_path / "a", "a"), (AMD,))]
    old = save(images, tmp_path / "old.fate.tar", name="old").index
    images.append(SourceImage(("fgtest/b:1.0",), simple(tmp_path / "b", "b"), (AMD,)))
    delta = save(images, tmp_path / "new.fate.tar", name="new", bases=[old]).path
    wanted = list(variants_of(inspect(delta).index.images))
    with pytest.raises(InputError, match="it is a delta: most of its images is in old"):
        read_bundle(delta, wanted, Kept(tmp_path / "kept"))
    assert all(Kept(tmp_path / "kept").image(*key) is None for key in wanted)
