"""Archives of other tools: what inspect says of them, and which problems it names."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.bundle import check
from generator.bundle.foreign.recognise import recognise
from generator.bundle.foreign.report import sizes
from generator.errors import BundleError, InputError
from tests.bundle.command import run
from tests.bundle.conftest import Made
from tests.bundle.foreign import Files, bundle, look, verify
from tests.bundle.layouts import sha256
from tests.bundle.tars import (
    BASE,
    SAVED,
    Oci,
    blob,
    config,
    crane,
    docker20,
    multi,
    oci,
    podman,
    python_tar,
    since25,
    tar,
)

# -- inspect


@pytest.mark.parametrize("files", SAVED.values(), ids=SAVED)
def test_the_images_and_what_they_share(files: Callable[[], Files], write: Callable[..., Path]) -> None:
    seen = look(write(files()))
    assert [image.names for image in seen.images] == [("docker.io/fgtest/a:1.0",), ("docker.io/fgtest/b:1.0",)]
    assert [[v.platform for v in image.variants] for image in seen.images] == [["linux/amd64"]] * 2
    base = len(BASE) if files in (docker20, podman) else len(gzip.compress(BASE, mtime=0))
    assert [counted.shared for counted in sizes(seen.images)] == [base] * 2
    assert seen.problems == ()


FORMATS = {
    "docker save before 25": docker20(),
    "docker-archive of podman or skopeo": podman(),
    "docker-archive of crane": crane(),
    "OCI layout (oci-archive)": oci(),
    "OCI layout with manifest.json": since25(),
    "docker save since 25 (graphdriver)": {**since25(), "repositories": b"{}"},
}


@pytest.mark.parametrize("form", FORMATS)
def test_who_wrote_it(form: str, write: Callable[..., Path]) -> None:
    assert look(write(FORMATS[form])).format == form


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", PACKERS)
def test_it_may_be_compressed_and_come_from_a_pipe(kind: str) -> None:
    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 777))

    seen = look(Pipe(PACKERS[kind](tar(docker20()))))
    assert (seen.compression, len(seen.images), seen.problems) == (kind, 2, ())
    assert look(Pipe(tar(docker20()))).compression == ""


def test_zstd_where_this_python_has_it() -> None:
    try:
        from compression import zstd  # type: ignore[import-not-found]
    except ImportError:
        zstd = pytest.importorskip("backports.zstd")
    assert look(io.BytesIO(zstd.compress(tar(docker20())))).compression == "zstd"


def test_zstd_where_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="zstd-compressed, and this Python has no zstd") as failed:
        look(io.BytesIO(b"\x28\xb5\x2f\xfd" + bytes(600)))
    assert "zstd -dc" in failed.value.hint


def test_several_gzip_streams_and_zeros_behind_them_are_one(write: Callable[..., Path]) -> None:
    data = tar(docker20())
    packed = b"".join(gzip.compress(data[i : i + 1000]) for i in range(0, len(data), 1000)) + bytes(100)
    assert len(look(write(packed)).images) == 2


@pytest.mark.parametrize(
    ("name", "packed", "words"),
    [
        ("x.tar.gz", False, "a plain tar in spite of its name"),
        ("x.tgz", False, "a plain tar in spite of its name"),
        ("x.tar.zst", True, "gzip-compressed in spite of its name"),
        ("x.tar", True, "gzip-compressed, which its name does not say"),
        ("x.tar", False, ""),
        ("x.tar.gz", True, ""),
    ],
)
def test_a_name_is_not_believed(name: str, packed: bool, words: str, write: Callable[..., Path]) -> None:
    data = tar(docker20())
    notes = look(write(gzip.compress(data) if packed else data, name)).notes
    assert (len(notes) == 1 and words in notes[0]) if words else notes == ()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_layout_that_tar_packed_in_any_of_its_formats(form: int, write: Callable[..., Path]) -> None:
    files = {name: content for name, content in oci().items() if isinstance(content, bytes)}
    assert look(write(python_tar(files, form))).problems == ()


def test_a_layout_directory(tmp_path: Path) -> None:
    for name, content in oci().items():
        path = tmp_path / "layout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    seen = verify(tmp_path / "layout")
    assert (seen.format, len(seen.images), seen.problems) == ("OCI layout directory", 2, ())
    assert [v.loader for v in seen.loaders if v.takes] == ["skopeo"]
    path = tmp_path / "layout" / blob(sha256(gzip.compress(BASE, mtime=0)))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(BundleError, match="does not match the digest in its name"):
        verify(tmp_path / "layout")


def test_a_directory_that_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without an oci-layout file"):
        look(tmp_path)


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + bytes(600), b"#!/bin/sh\n" * 99, b"short", gzip.compress(b"text", mtime=0), b"9" * 600]
)
def test_what_is_no_archive_at_all(data: bytes, write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="not an archive of images"):
        look(write(data))


def test_a_tar_of_something_else(write: Callable[..., Path]) -> None:
    seen = look(write({"README": b"hello"}))
    assert seen.images == ()
    assert "neither manifest.json (Docker) nor index.json" in seen.problems[0]


@pytest.mark.parametrize("content", [{".env": b"A=1"}, {"manifest.json": b"[]"}, bytes(5000)])
@pytest.mark.parametrize("form", ["table", "json"])
def test_no_loader_takes_an_archive_without_an_image(
    content: Files | bytes,
    form: str,
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(content)
    assert not [verdict for verdict in look(path).loaders if verdict.takes]
    assert run(monkeypatch, "verify", path) == 4
    said = capsys.readouterr().err
    assert run(monkeypatch, "inspect", path, "--format", form) == 4
    shown = capsys.readouterr()
    assert shown.err == said
    assert (json.loads(shown.out)["images"] == []) if form == "json" else shown.out == ""


def test_a_bundle_is_for_the_strict_reader_also_when_it_is_compressed(made: Made, write: Callable[..., Path]) -> None:
    for data in (made.data, gzip.compress(made.data)):
        with recognise(write(data)) as found:
            assert found.archive is None and found.bundle is not None
            assert check.verify(found.bundle).index == made.plan.index


def test_names_that_are_tags_or_digests_alone(write: Callable[..., Path]) -> None:
    layout = Oci({}, [])
    layout.name(layout.image("a"), "1.0", "org.opencontainers.image.ref.name")
    layout.name(layout.image("b"), "fgtest/b@sha256:" + "0" * 64)
    seen = look(write(layout.finish()))
    assert [image.label for image in seen.images] == ["<no name>:1.0", "<no name>"]
    assert any("names a digest" in note for note in seen.notes)


# -- problems


def missing_platform() -> Files:
    return multi(absent=True)


def test_a_platform_of_which_nothing_is_there_is_told_and_is_no_damage(write: Callable[..., Path]) -> None:
    path = write(missing_platform())
    [image] = verify(path).images
    assert (image.absent, [v.platform for v in image.variants]) == (("linux/arm64",), ["linux/amd64"])
    [note] = verify(path).notes
    assert "names linux/arm64, of which nothing is in the archive" in note
    assert next(v.why for v in look(path).loaders if v.loader == "ctr 1.x").startswith("not with --all-platforms")


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


def swapped() -> Files:
    return {**docker20("a"), f"{sha256(config('a'))[7:]}.json": config("a", os="windows")}


def disagreeing() -> Files:
    entries = json.loads(since25()["manifest.json"])
    entries[0]["RepoTags"], entries[1]["RepoTags"] = entries[1]["RepoTags"], entries[0]["RepoTags"]
    return {**since25(), "manifest.json": json.dumps(entries).encode()}


PROBLEMS: dict[str, tuple[Files, str]] = {
    "half a platform": (multi(half=True), r"\(linux/arm64\): its config sha256:\w{64} is missing"),
    "no layer, OCI": (
        without(oci("a"), blob(sha256(gzip.compress(BASE, mtime=0)))),
        "1 of 2 layers are missing: sha256",
    ),
    "no layer, docker": (without(docker20("a"), "a2/layer.tar"), "1 of 2 layers are missing: sha256"),
    "no config": (without(docker20("a"), f"{sha256(config('a'))[7:]}.json"), "its config .* is missing"),
    "config swap, docker 20": (swapped(), "does not match its digest: something else stands in its place"),
    "config swap, OCI": ({**oci("a"), blob(sha256(config("a"))): config("b")}, "does not match its digest"),
    "no manifest": ({**without(oci("a"), *[n for n in oci("a") if n.startswith("blobs")])}, "nothing of it"),
    "layers left out (Docker 25.0)": (
        {**docker20("a"), "manifest.json": json.dumps([{"Config": f"{sha256(config('a'))[7:]}.json", "RepoTags": None,
                                                        "Layers": None}]).encode()},
        "manifest.json names 0 layers, its config 2",
    ),
    "two descriptions": (disagreeing(), "is one image in index.json and another in manifest.json"),
    "no image": ({"manifest.json": b"[]"}, "it holds no image"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems_have_names(case: str, write: Callable[..., Path]) -> None:
    files, words = PROBLEMS[case]
    path = write(files)
    assert [p for p in look(path).problems if re.search(words, p)]
    with pytest.raises(BundleError, match=words):
        verify(path)
    with pytest.raises(BundleError, match=words):
        bundle(path)


def test_an_image_that_only_manifest_json_names(write: Callable[..., Path]) -> None:
    """Docker 25 and later leaves images without a tag out of index.json when it saves several (moby 51389)."""
    entries = json.loads(oci()["index.json"])
    entries["manifests"] = entries["manifests"][:1]
    seen = look(write({**since25(), "index.json": json.dumps(entries).encode()}))
    assert [image.label for image in seen.images] == ["fgtest/a:1.0", "fgtest/b:1.0"]
