"""Layout directories: what is taken from them, and what is refused with the image's name and a next step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from generator.errors import BundleError, InputError
from generator.images.image import CHUNK, iter_verified
from generator.images.layout import Layout as Directory
from generator.images.layout import SourceImage, empty_layout, missing_platforms, read
from generator.images.oci import Descriptor
from generator.images.strictjson import Malformed
from tests.bundle.layouts import BASE, GZIP, INDEX, MANIFEST, Layout, image, multi, sha256

AMD, ARM = "linux/amd64", "linux/arm64"


def test_several_platforms_keep_an_index_that_is_right_as_it_is(tmp_path: Path) -> None:
    path = multi(tmp_path, "m")
    top = json.loads((path / "index.json").read_text())["manifests"][0]["digest"]
    found = read(SourceImage(("fgtest/m:1.0",), path, (ARM, AMD)))
    assert (found.image.target.digest, found.rewritten) == (top, {})
    assert found.image.platforms == (ARM, AMD)


def test_attestations_are_dropped(tmp_path: Path) -> None:
    path = multi(tmp_path, "m", attestations=2)
    found = read(SourceImage(("fgtest/m:1.0",), path, (AMD, ARM)))
    made = found.rewritten[found.image.target.digest]
    assert sha256(made) == found.image.target.digest
    assert [entry["platform"]["architecture"] for entry in json.loads(made)["manifests"]] == ["amd64", "arm64"]


def test_one_platform_of_several(tmp_path: Path) -> None:
    found = read(SourceImage(("fgtest/m:1.0",), multi(tmp_path, "m"), ("linux/arm64/v8",)))
    assert (found.image.nested, found.image.platforms) == (False, (ARM,))


def test_the_right_one_of_several_descriptors(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    old = layout.manifest([layout.layer({"f": b"old"})])
    new = layout.manifest([layout.layer({"f": b"new"})])
    layout.finish((old, "docker.io/fgtest/a:1.0"), (new, "docker.io/fgtest/a:1.0,docker.io/fgtest/a:latest"))
    found = read(SourceImage(("fgtest/a:latest", "fgtest/a:1.0"), tmp_path, (AMD,)))
    assert found.image.target.digest == new["digest"]
    with pytest.raises(InputError, match=r"no image named docker\.io/fgtest/a:2\.0"):
        read(SourceImage(("fgtest/a:2.0",), tmp_path, (AMD,)))


def broken(path: Path, case: str) -> Path:
    layout = Layout(path)
    layer = layout.layer(BASE)
    if case == "encrypted":
        layer = (layout.put(b"x" * 50, f"{GZIP}+encrypted"), sha256(b""))
    if case == "foreign layer":
        layer[0]["urls"] = ["https://example.com/layer"]
    manifest = layout.manifest([layer], diff_ids=[layer[1]] * 2 if case == "diff ids" else None)
    blob = path / "blobs/sha256" / str(manifest["digest"])[7:]
    if case == "missing":
        blob.unlink()
    if case == "changed":
        blob.write_bytes(json.dumps(manifest).encode())
    if case == "other spelling":
        blob.write_bytes(blob.read_bytes().replace(b": ", b" :"))
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX}
    if case == "both":
        document |= {"mediaType": MANIFEST, "manifests": [], "config": manifest, "layers": []}
        manifest = layout.put(json.dumps(document).encode(), MANIFEST)
    if case == "another platform":
        manifest = layout.index({AMD: layout.manifest([layer], ARM)})
    if case == "twice":
        other = layout.manifest([layout.layer({"x": b"x"})])
        document |= {"manifests": [{**m, "platform": platform(AMD)} for m in (manifest, other)]}
        manifest = layout.put(json.dumps(document).encode(), INDEX)
    lies: dict[str, dict[str, object]] = {
        "upper case": {"digest": str(manifest["digest"]).upper().replace("SHA256", "sha256")},
        "traversal": {"digest": "sha256:../../../../etc/passwd"},
        "media type": {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"},
        "called an index": {"mediaType": INDEX},
        "size": {"size": 10},
        "negative size": {"size": -1},
        "huge": {"size": 1 << 40},
    }
    layout.finish(({**manifest, **lies.get(case, {})}, "docker.io/fgtest/a:1.0"))
    index = path / "index.json"
    text = index.read_text()
    documents = {
        "duplicate key": text.replace("{", '{"manifests":[],', 1),
        "deep": "[" * 100_000,
        "number": "9" * 100_000,
    }
    index.write_text(documents.get(case, text))
    return path


LIES = [
    "missing", "other spelling", "changed", "upper case", "traversal", "media type", "called an index", "size",
    "negative size", "huge",
    "both", "foreign layer", "another platform", "twice", "diff ids", "duplicate key", "deep", "number",
]  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_layout_that_lies(tmp_path: Path, case: str) -> None:
    with pytest.raises(BundleError, match=r"^a: ") as error:
        read(SourceImage(("fgtest/a:1.0",), broken(tmp_path, case), (AMD,)))
    assert error.value.hint


def test_layers_of_a_kind_that_no_engine_loads_are_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a: layer sha256:\w+ is .*\+encrypted") as error:
        read(SourceImage(("fgtest/a:1.0",), broken(tmp_path, "encrypted"), (AMD,)))
    assert "compression" in error.value.hint


def test_a_platform_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="m: it was built for linux/amd64, linux/arm64, not for linux/s390x"):
        read(SourceImage(("fgtest/m:1.0",), multi(tmp_path, "m"), (AMD, "linux/s390x")))


@pytest.mark.parametrize(
    ("names", "platforms"),
    [
        *((("fgtest/a:1.0",), platforms) for platforms in ((), ("linux",), ("linux/amd64;rm",))),
        *((names, (AMD,)) for names in ((), ("UPPER/x:1",), ("a@sha256:" + "0" * 64,), ("--help",), ("a:b c",))),
    ],
)
def test_odd_names_and_platforms(tmp_path: Path, names: tuple[str, ...], platforms: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        read(SourceImage(names, image(tmp_path, "a").layout, platforms))


def test_a_platform_that_an_index_names_and_whose_blobs_are_missing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "engine")
    platforms = {p: layout.manifest([layout.layer({"a": p.encode()})], p) for p in (AMD, ARM)}
    top = layout.index(platforms)
    layout.finish((top, "fate/roll:1"))
    blobs = layout.path / "blobs/sha256"
    index = Descriptor(str(top["digest"]), (blobs / str(top["digest"])[7:]).stat().st_size, INDEX)
    (blobs / str(platforms[ARM]["digest"])[7:]).unlink()
    problems = missing_platforms(SourceImage(("fate/roll:1",), layout.path, (AMD, ARM)), index)
    assert [str(p) for p in problems] == ["roll: the engine has it for linux/amd64, not for linux/arm64"]
    alone = SourceImage(("fate/roll:1",), layout.path, (AMD,))
    assert missing_platforms(alone, index) == []
    assert read(alone).image.platform_images[0].manifest.media_type == MANIFEST


def test_an_index_may_name_a_platform_twice_that_is_not_asked_for(tmp_path: Path) -> None:
    """Docker Hub's images have windows/amd64 once for each version of Windows (``os.version``)."""
    layout = Layout(tmp_path)
    entries: list[dict[str, object]] = [{**layout.manifest([layout.layer({"a": b"a"})]), "platform": platform(AMD)}]
    for version in ("10.0.20348.4405", "10.0.26100.7171"):
        windows = layout.manifest([layout.layer({"a": version.encode()})], "windows/amd64")
        entries.append({**windows, "platform": {**platform("windows/amd64"), "os.version": version}})
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    top = layout.put(json.dumps(document).encode(), INDEX)
    layout.finish((top, "fate/a:1"))
    source = SourceImage(("fate/a:1",), layout.path, (AMD,))
    blobs = layout.path / "blobs/sha256"
    index = Descriptor(str(top["digest"]), (blobs / str(top["digest"])[7:]).stat().st_size, INDEX)
    assert read(source).image.platforms == (AMD,)
    assert missing_platforms(source, index) == []
    for platforms in (("windows/amd64",), (AMD, "windows/amd64")):
        with pytest.raises(BundleError, match="it names windows/amd64 twice"):
            read(replace(source, platforms=platforms))


def platform(name: str) -> dict[str, str]:
    system, architecture = name.split("/")
    return {"os": system, "architecture": architecture}


def test_not_a_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not an OCI layout"):
        read(SourceImage(("a:1",), tmp_path / "nowhere", (AMD,)))
    (tmp_path / "oci-layout").write_text("{}")
    (tmp_path / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    with pytest.raises(InputError, match="holds no image"):
        read(SourceImage(("a:1",), tmp_path, (AMD,)))


@pytest.mark.parametrize("place", [".fategen/layouts", "theirs"])
def test_no_next_step_deletes_what_others_wrote(place: str, tmp_path: Path) -> None:
    layout = tmp_path / place / "a"
    layout.mkdir(parents=True)
    (layout / "blobs").symlink_to("../blobs")
    assert Directory(layout).hint.startswith("rm -r ") == (place != "theirs")


def test_a_directory_in_the_place_of_a_layouts_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "egg/blobs/sha256").mkdir(parents=True)
    layout = empty_layout(tmp_path, "egg")
    assert (layout / "blobs").resolve() == tmp_path / "shared"
    assert empty_layout(tmp_path, "egg") == layout


def test_a_blob_that_is_longer_than_stated_is_not_read_to_its_end() -> None:
    sizes = []

    class Long:
        def read(self, size: int, /) -> bytes:
            sizes.append(size)
            return bytes(size) if len(sizes) < 9 else b""

    with pytest.raises(Malformed, match="does not have the 5 bytes"):
        list(iter_verified(Long(), Descriptor(sha256(bytes(5)), 5, GZIP)))
    assert sizes == [CHUNK]
