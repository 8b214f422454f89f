"""Archives of other tools: what verify finds, and the one bundle that they all become."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.bundle import check
from generator.bundle.format.archive import TRAILER
from generator.errors import BundleError, FategenError, InputError
from tests.bundle.command import run
from tests.bundle.foreign import Files, bundle, look, verify
from tests.bundle.layouts import INDEX, ZSTD, sha256, zstd
from tests.bundle.tars import (
    BASE,
    OWN,
    SAVED,
    Oci,
    crane,
    docker20,
    member,
    multi,
    oci,
    tar,
)
from tests.bundle.test_foreign import missing_platform, swapped

# -- verify


@pytest.mark.parametrize("files", SAVED.values(), ids=SAVED)
def test_every_flipped_layer_is_found_and_all_at_once(files: Callable[[], Files], write: Callable[..., Path]) -> None:
    assert verify(write(files())).problems == ()
    broken: dict[str, bytes | str] = dict(files())
    sizes = {name: len(content) for name, content in broken.items() if isinstance(content, bytes)}
    layers = [
        n for n in sizes if n.endswith((".tar", ".tar.gz")) or (n.startswith("blobs") and broken[n][:1] == b"\x1f")
    ]  # type: ignore[comparison-overlap]
    assert len(layers) == 3
    for name in layers:
        content = bytes(broken[name])  # type: ignore[arg-type]
        broken[name] = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    with pytest.raises(BundleError) as failed:
        verify(write(broken))
    assert failed.value.exit_code == 4
    assert "problems" in failed.value.message
    for name in layers:
        assert name in failed.value.message
    with pytest.raises(BundleError):
        bundle(write(broken))


def test_layers_in_another_order_than_the_config_says(write: Callable[..., Path]) -> None:
    for files in (docker20("a"), crane("a")):
        entry = json.loads(files["manifest.json"])
        entry[0]["Layers"].reverse()
        with pytest.raises(BundleError, match="is not the layer sha256"):
            verify(write({**files, "manifest.json": json.dumps(entry).encode()}))


@pytest.mark.parametrize("files", SAVED.values(), ids=SAVED)
def test_it_is_cut_anywhere(files: Callable[[], Files], write: Callable[..., Path]) -> None:
    data = tar(files())
    for length in [*range(512, len(data) - len(TRAILER) + 1, 1111), len(data) - len(TRAILER)]:
        with pytest.raises(BundleError, match=r"is cut short|is damaged"):
            look(io.BytesIO(data[:length]))
    for length in (len(data) // 2, len(data) // 3):
        with pytest.raises(BundleError, match=f"is cut short: it ends at byte {length:,},"):
            look(write(data[:length]))


# -- convert


def test_the_same_image_is_the_same_bundle_whoever_saved_it(write: Callable[..., Path]) -> None:
    for layers in ("raw", "gzip"):
        made = {name: bundle(write(files()), layers) for name, files in SAVED.items()}
        made["gzip"] = bundle(write(gzip.compress(tar(docker20()))), layers)
        assert len(set(made.values())) == 1, layers


def test_layers_and_manifests_stay_as_they_are(write: Callable[..., Path], tmp_path: Path) -> None:
    bundle(write(oci()))
    found = check.inspect(tmp_path / "out/x.fate.tar").index
    manifests = [entry["digest"] for entry in json.loads(oci()["index.json"])["manifests"]]
    assert [image.target.digest for image in found.images] == manifests
    assert {layer.blob.digest for image in found.images for layer in image.variants[0].layers} == {
        sha256(gzip.compress(data, mtime=0)) for data in (BASE, *OWN.values())
    }


def test_of_an_incomplete_image_the_platforms_that_are_there(write: Callable[..., Path], tmp_path: Path) -> None:
    bundle(write(missing_platform()))
    [image] = check.inspect(tmp_path / "out/x.fate.tar").index.images
    assert image.platforms == ("linux/amd64",)
    bundle(write(multi()))
    [image] = check.inspect(tmp_path / "out/x.fate.tar").index.images
    top = json.loads(multi()["index.json"])["manifests"][0]["digest"]
    assert (image.platforms, image.target.digest) == (("linux/amd64", "linux/arm64"), top)
    for layers in ("raw", "gzip"):
        bundle(write(multi()), layers)
        [image] = check.inspect(tmp_path / "out/x.fate.tar").index.images
        assert image.platforms == ("linux/amd64", "linux/arm64")


def test_an_image_without_a_name_needs_one(write: Callable[..., Path], tmp_path: Path) -> None:
    layout = Oci({}, [])
    layout.name(layout.image("a"), "1.0", "org.opencontainers.image.ref.name")
    path = write(layout.finish())
    with pytest.raises(InputError, match="has no full name") as failed:
        bundle(path)
    assert "--as" in failed.value.hint
    bundle(path, "keep", "fgtest/a:1.0")
    assert check.inspect(tmp_path / "out/x.fate.tar").index.images[0].references == ("docker.io/fgtest/a:1.0",)
    with pytest.raises(InputError, match="is not an image reference"):
        bundle(path, "keep", "UPPER CASE")


def test_of_several_images_each_is_named_by_its_digest(write: Callable[..., Path], tmp_path: Path) -> None:
    layout = Oci({}, [])
    a, b = (layout.image(letter) for letter in "ab")
    layout.name(a, "docker.io/fgtest/a:1.0")
    layout.name(b, "", "org.opencontainers.image.ref.name")
    path, digest = write(layout.finish()), str(b["digest"])
    with pytest.raises(InputError, match=f"{digest} has no full name") as failed:
        bundle(path)
    assert f"--as {digest[7:19]}=NAMESPACE/NAME:TAG" in failed.value.hint
    bundle(path, "keep", f"{digest[7:19]}=fgtest/b:1.0", f"{digest}=fgtest/b:latest")
    images = check.inspect(tmp_path / "out/x.fate.tar").index.images
    names = ["docker.io/fgtest/b:1.0", "docker.io/fgtest/b:latest"]
    assert [list(image.references) for image in images] == [["docker.io/fgtest/a:1.0"], names]
    with pytest.raises(InputError) as failed:
        bundle(path, "keep", "x:1", "0123=x:1", f"{digest}=UPPER")
    told = "\n".join(map(str, failed.value.problems))
    assert "x:1: the archive has 2 images, and a name is for one" in told
    assert "0123=x:1: the archive has no image whose digest begins with 0123" in told
    assert "is not an image reference" in told


def test_layers_of_another_kind_are_refused_with_the_next_step(write: Callable[..., Path]) -> None:
    layout = Oci({}, [])
    layout.name(layout.image("a", media_type="application/x.tar+xz", pack=lzma.compress), "docker.io/fgtest/a:1.0")
    with pytest.raises(InputError, match="is 'xz', which no bundle holds") as failed:
        bundle(write(layout.finish()))
    assert "--layers gzip" in failed.value.hint
    bundle(write(layout.finish()), "gzip")


def test_layers_whose_type_no_bundle_holds_are_told_by_their_type(write: Callable[..., Path]) -> None:
    layout = Oci({}, [])
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layout.name(layout.image("a", media_type=foreign), "docker.io/fgtest/a:1.0")
    with pytest.raises(InputError, match=f"is '{re.escape(foreign)}', which no bundle holds"):
        bundle(write(layout.finish()))
    bundle(write(layout.finish()), "gzip")


def test_a_platform_that_the_index_alone_states_stays(write: Callable[..., Path], tmp_path: Path) -> None:
    layout = Oci({}, [])
    arm = layout.image("a", architecture="arm")
    entry = {**arm, "platform": {"os": "linux", "architecture": "arm", "variant": "v6"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    layout.name(layout.put(json.dumps(index).encode(), INDEX), "docker.io/fgtest/m:1.0")
    for layers in ("keep", "zstd"):
        bundle(write(layout.finish()), layers)
        assert check.inspect(tmp_path / "out/x.fate.tar").index.images[0].platforms == ("linux/arm/v6",)


def test_zstd_layers_stay_or_become_what_is_asked_for(write: Callable[..., Path], tmp_path: Path) -> None:
    layout = Oci({}, [])
    top = layout.image("a", media_type=ZSTD, pack=zstd)
    layout.name(top, "docker.io/fgtest/a:1.0")
    path = write(layout.finish())
    bundle(path)
    assert check.inspect(tmp_path / "out/x.fate.tar").index.images[0].target.digest == top["digest"]
    plain = Oci({}, [])
    plain.name(plain.image("a"), "docker.io/fgtest/a:1.0")
    for layers in ("raw", "gzip", "zstd"):
        assert bundle(path, layers) == bundle(write(plain.finish()), layers)


def test_a_media_type_that_lies(write: Callable[..., Path]) -> None:
    layout = Oci({}, [])
    layout.name(layout.image("a", media_type="application/vnd.oci.image.layer.v1.tar"), "docker.io/fgtest/a:1.0")
    with pytest.raises(BundleError, match="is not compressed as its media type says"):
        bundle(write(layout.finish()))


def test_a_failed_conversion_leaves_what_was_there(write: Callable[..., Path], tmp_path: Path) -> None:
    before = bundle(write(oci()))
    for broken in (b"", tar(docker20())[:-5000], tar(swapped())):
        with pytest.raises(FategenError):
            bundle(write(broken))
        assert (tmp_path / "out/x.fate.tar").read_bytes() == before
        assert not list((tmp_path / "out").glob(".*"))


# -- the command


def test_the_commands(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(docker20(), "saved.tar.gz")
    assert run(monkeypatch, "inspect", path) == 0
    out, err = capsys.readouterr()
    assert "docker save before 25" in out and "in spite of its name" in err
    assert "ctr 1.x                                takes it" in out
    assert run(monkeypatch, "inspect", path, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [image["references"] for image in found["images"]] == [
        ["docker.io/fgtest/a:1.0"],
        ["docker.io/fgtest/b:1.0"],
    ]
    assert all(image["size"] == image["unique"] + image["shared"] for image in found["images"])
    assert run(monkeypatch, "verify", path) == 0
    assert "is whole: docker save before 25, 2 images" in capsys.readouterr().out
    out_file = tmp_path / "new.fate.tar"
    assert run(monkeypatch, "convert", path, "-o", out_file, "--layers", "gzip") == 0
    assert "root digest" in capsys.readouterr().out
    assert run(monkeypatch, "verify", out_file) == 0
    assert run(monkeypatch, "convert", out_file, "-o", tmp_path / "again.fate.tar") == 2
    assert run(monkeypatch, "verify", write({**docker20(), "evil": "/etc/passwd"})) == 4
    assert run(monkeypatch, "inspect", write(b"no archive")) == 2
    assert run(monkeypatch, "convert", path, "-o", tmp_path / "nowhere/x.tar") == 2


def test_members_that_tools_leave_there_do_no_harm(write: Callable[..., Path]) -> None:
    assert (
        verify(write(tar(docker20(), member("charts/x.tgz", b"\x1f\x8bnothing"), member("empty/", kind=b"5")))).problems
        == ()
    )
