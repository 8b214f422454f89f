"""Layout directories: what is taken from them, and what is refused with the image's name and a next step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from generator.errors import BundleError, InputError
from generator.images.image import CHUNK, iter_verified
from generator.images.layout import Layout as Directory
from generator.images.layout import SourceImage, empty_layout, missing_platforms, read, top
from generator.images.oci import Descriptor
from generator.images.strictjson import Malformed
from tests.bundle.layouts import BASE, GZIP, INDEX, MANIFEST, Json, Layout, image, multi, sha256

AMD, ARM = "linux/amd64", "linux/arm64"


@pytest.mark.parametrize(
    ("platforms", "attestations", "kept"),
    [((ARM, AMD), 0, True), ((AMD, ARM), 2, False), (("linux/arm64/v8",), 0, False)],
    ids=["an index that is right stays as it is", "attestations are dropped", "one platform of several"],
)
def test_an_index_has_the_platforms_that_are_asked_for(
    tmp_path: Path, platforms: tuple[str, ...], attestations: int, kept: bool
) -> None:
    source = SourceImage(("fgtest/m:1.0",), multi(tmp_path, "m", attestations=attestations), platforms)
    found = read(source)
    digest, named = found.image.target.digest, json.loads((source.layout / "index.json").read_bytes())["manifests"]
    assert (digest == named[0]["digest"]) == kept
    assert found.image.platforms == tuple(platform.removesuffix("/v8") for platform in platforms)
    assert found.image.nested == (len(platforms) > 1)
    assert list(found.rewritten) == ([digest] if attestations else [])
    for made in found.rewritten.values():
        assert sha256(made) == digest
        assert [entry["platform"]["architecture"] for entry in json.loads(made)["manifests"]] == ["amd64", "arm64"]


def test_the_right_one_of_several_descriptors(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    old = layout.manifest([layout.layer({"f": b"old"})])
    new = layout.manifest([layout.layer({"f": b"new"})])
    layout.finish((old, "docker.io/fgtest/a:1.0"), (new, "docker.io/fgtest/a:1.0,docker.io/fgtest/a:latest"))
    found = read(SourceImage(("fgtest/a:latest", "fgtest/a:1.0"), tmp_path, (AMD,)))
    assert found.image.target.digest == new["digest"]
    with pytest.raises(InputError, match=r"no image named docker\.io/fgtest/a:2\.0"):
        read(SourceImage(("fgtest/a:2.0",), tmp_path, (AMD,)))


def index(layout: Layout, *manifests: tuple[Json, str]) -> Json:
    """An index of manifests and their platforms, in which one may be twice."""
    entries = []
    for manifest, platform in manifests:
        system, architecture = platform.split("/")
        version = {"os.version": f"10.0.{len(entries)}"} if system == "windows" else {}
        entries.append({**manifest, "platform": {"os": system, "architecture": architecture, **version}})
    return layout.put(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode(), INDEX)


def rewritten(layout: Layout, manifest: Json, before: bytes, after: bytes) -> Json:
    """The manifest, with other bytes under its digest."""
    blob = layout.path / "blobs/sha256" / str(manifest["digest"])[7:]
    blob.write_bytes(blob.read_bytes().replace(before, after))
    return manifest


# what index.json names, for a layout that has this manifest for amd64, and what is said of it
LIES: dict[str, tuple[str, Callable[[Layout, Json], Json]]] = {
    "missing": ("cannot be read: No such file", lambda _, m: {**m, "digest": sha256(b"no blob")}),
    "other spelling": ("does not match its digest", lambda layout, m: rewritten(layout, m, b": ", b" :")),
    "changed": ("does not have the", lambda layout, m: rewritten(layout, m, b"schemaVersion", b"version")),
    "upper case": ("is not a sha256 digest in lower case",
                   lambda _, m: {**m, "digest": str(m["digest"]).upper().replace("SHA256", "sha256")}),
    "traversal": ("is not a sha256 digest in lower case", lambda _, m: {**m, "digest": "sha256:../../../etc/passwd"}),
    "media type": ("not an image", lambda _, m: {**m, "mediaType": "application/vnd.oci.artifact.manifest.v1+json"}),
    "called an index": ("its media type is", lambda _, m: {**m, "mediaType": INDEX}),
    "size": ("does not have the 10 bytes", lambda _, m: {**m, "size": 10}),
    "negative size": ("is not a number of bytes", lambda _, m: {**m, "size": -1}),
    "huge": ("the limit is", lambda _, m: {**m, "size": 1 << 40}),
    "both": ("it is a manifest and an index at once", lambda layout, _: layout.put(json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "manifests": [], "config": {}, "layers": []}).encode(), MANIFEST)),
    "foreign layer": ("points to content outside", lambda layout, _: layout.manifest(
        [({**layout.layer(BASE)[0], "urls": ["https://example.com/layer"]}, sha256(b""))])),
    "another platform": ("is for linux/amd64 in its index", lambda layout, _: index(
        layout, (layout.manifest([layout.layer(BASE)], ARM), AMD))),
    "twice": ("it names linux/amd64 twice", lambda layout, m: index(
        layout, (m, AMD), (layout.manifest([layout.layer({"x": b"x"})]), AMD))),
    "diff ids": ("has 1 layers, its config 2 diff ids", lambda layout, _: layout.manifest(
        [layout.layer(BASE)], diff_ids=[sha256(b"")] * 2)),
}  # fmt: skip
DOCUMENTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "duplicate key": ("duplicate key 'manifests'", lambda text: text.replace("{", '{"manifests":[],', 1)),
    "deep": ("it is nested too deeply", lambda _: "[" * 100_000),
    "number": ("a number is too long", lambda _: "9" * 100_000),
}


@pytest.mark.parametrize("case", [*LIES, *DOCUMENTS])
def test_a_layout_that_lies(tmp_path: Path, case: str) -> None:
    layout = Layout(tmp_path)
    manifest = layout.manifest([layout.layer(BASE)])
    words, lie = LIES.get(case, ("", lambda _, m: m))
    layout.finish((lie(layout, manifest), "docker.io/fgtest/a:1.0"))
    if case in DOCUMENTS:
        words, change = DOCUMENTS[case]
        (tmp_path / "index.json").write_text(change((tmp_path / "index.json").read_text()))
    with pytest.raises(BundleError, match=f"^a: .*{words}") as error:
        read(SourceImage(("fgtest/a:1.0",), tmp_path, (AMD,)))
    assert error.value.hint


def test_layers_of_a_kind_that_no_engine_loads_are_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a: layer sha256:\w+ is .*\+encrypted") as error:
        read(image(tmp_path, "a", media_type=f"{GZIP}+encrypted"))
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
    layout = Layout(tmp_path)
    amd, arm = (layout.manifest([layout.layer({"a": p.encode()})], p) for p in (AMD, ARM))
    layout.finish((index(layout, (amd, AMD), ({**arm, "digest": sha256(b"no blob")}, ARM)), "fate/roll:1"))
    source = SourceImage(("fate/roll:1",), layout.path, (AMD, ARM))
    problems = missing_platforms(source, top(source).descriptor)
    assert [str(p) for p in problems] == ["roll: the engine has it for linux/amd64, not for linux/arm64"]
    alone = replace(source, platforms=(AMD,))
    assert missing_platforms(alone, top(alone).descriptor) == []
    assert read(alone).image.platform_images[0].manifest.media_type == MANIFEST


def test_an_index_may_name_a_platform_twice_that_is_not_asked_for(tmp_path: Path) -> None:
    """Docker Hub's images have windows/amd64 once for each version of Windows (``os.version``)."""
    layout, windows = Layout(tmp_path), "windows/amd64"
    amd = layout.manifest([layout.layer({"a": b"amd"})])
    old, new = (layout.manifest([layout.layer({"a": version})], windows) for version in (b"20348", b"26100"))
    layout.finish((index(layout, (amd, AMD), (old, windows), (new, windows)), "fate/a:1"))
    source = SourceImage(("fate/a:1",), layout.path, (AMD,))
    assert read(source).image.platforms == (AMD,)
    assert missing_platforms(source, top(source).descriptor) == []
    for platforms in ((windows,), (AMD, windows)):
        with pytest.raises(BundleError, match="it names windows/amd64 twice"):
            read(replace(source, platforms=platforms))


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
