"""Saving: the same bytes from the same layouts, the whole file or none."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from generator.bundle.save import save
from generator.errors import BundleError, EngineError, InputError
from generator.images.layout import SourceImage
from tests.bundle.conftest import Made
from tests.bundle.layouts import BASE, GZIP, TAR, Layout, image, multi

AMD = "linux/amd64"


def test_the_order_of_the_members(made: Made) -> None:
    with tarfile.open(fileobj=io.BytesIO(made.data)) as tar:
        names = tar.getnames()
        kinds = {member.type for member in tar}
    assert names[:3] == ["fategen/bundle.json", "blobs", "blobs/sha256"]
    assert names[-4:] == ["fategen/SHA256SUMS", "manifest.json", "index.json", "oci-layout"]
    assert len(names) == len(set(names))
    assert kinds == {tarfile.REGTYPE, tarfile.DIRTYPE}
    roles = [m.role for m in made.members[3:-4]]
    assert sorted(roles[:5]) == ["index"] + ["manifest"] * 4
    assert roles[5:] == ["config"] * 4 + ["layer"] * 6
    assert names[3:12] == sorted(names[3:8]) + sorted(names[8:12])
    assert made.data[-1024:] == bytes(1024)
    assert len(made.data) == made.members[-1].end + 1024


def test_what_loaders_read(made: Made) -> None:
    docker = json.loads(made.content("manifest.json"))
    assert [item["RepoTags"] for item in docker] == [
        ["docker.io/fgtest/a:1.0", "docker.io/fgtest/a:latest"],
        ["docker.io/fgtest/b:1.0"],
        ["docker.io/fgtest/m:1.0"],
    ]
    with tarfile.open(fileobj=io.BytesIO(made.data)) as tar:
        names = set(tar.getnames())
        for item in docker:
            config = json.load(tar.extractfile(item["Config"]))  # type: ignore[arg-type]
            assert len(config["rootfs"]["diff_ids"]) == len(item["Layers"])
            assert config["architecture"] == "amd64"
            assert names.issuperset(item["Layers"])
    oci = json.loads(made.content("index.json"))
    assert len(oci["manifests"]) == 4
    for entry in oci["manifests"]:
        notes = entry["annotations"]
        assert notes["io.containerd.image.name"] == notes["org.opencontainers.image.ref.name"]
        assert ("platform" in entry) == (not entry["mediaType"].endswith("index.v1+json"))


def test_each_blob_once_and_what_that_saves(sources: list[SourceImage], tmp_path: Path) -> None:
    result = save(sources, tmp_path / "x.fate.tar", name="x")
    shared = result.index.images[0].platform_images[0].layers[0].blob
    assert shared == result.index.images[1].platform_images[0].layers[0].blob
    assert result.shared == shared.size


def test_the_same_bytes_again(sources: list[SourceImage], made: Made, tmp_path: Path) -> None:
    """In whatever order. (In other surroundings: tests/e2e/test_scale.py.)"""
    result = save(sources[::-1], tmp_path / "fate-1.0.fate.tar", name="fate-1.0")
    assert result.path.read_bytes() == made.data
    assert result.sha256 == hashlib.sha256(made.data).hexdigest()
    assert (tmp_path / "fate-1.0.fate.tar.sha256").read_text() == f"{result.sha256}  fate-1.0.fate.tar\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fate-1.0.fate.tar", "fate-1.0.fate.tar.sha256"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    images = [
        image(tmp_path, "a", media_type=f"{GZIP}+encrypted"),
        SourceImage(("fgtest/m:1.0",), multi(tmp_path / "m", "m"), ("linux/s390x",)),
        SourceImage(("fgtest/n:1.0",), tmp_path / "nowhere", (AMD,)),
    ]
    with pytest.raises(InputError) as error:
        save(images, tmp_path / "x", name="a b")
    assert len(error.value.problems) == 4
    assert not (tmp_path / "x").exists()


def test_no_image_or_a_name_twice_is_not_a_bundle(tmp_path: Path) -> None:
    for images in ([], [image(tmp_path / directory, "a") for directory in "ab"]):
        with pytest.raises(InputError):
            save(images, tmp_path / "x", name="x")


def lying(path: Path, case: str) -> SourceImage:
    layout = Layout(path)
    layer = layout.layer(BASE)
    if other := {"gzip that is none": b"plain", "zstd called gzip": b"\x28\xb5\x2f\xfd"}.get(case):
        layer = (layout.put(other * 200, GZIP), layer[1])
    layout.finish((layout.manifest([layer]), "docker.io/fgtest/a:1.0"))
    blob = path / "blobs/sha256" / str(layer[0]["digest"])[7:]
    content = blob.read_bytes()
    changed = {"flipped": content[:50] + bytes([content[50] ^ 1]) + content[51:], "short": content[:-1]}
    blob.write_bytes({**changed, "long": content + b"x"}.get(case, content))
    if case in ("missing", "a directory"):
        blob.unlink()
    if case == "a directory":
        blob.mkdir()
    return SourceImage(("fgtest/a:1.0",), path, (AMD,))


@pytest.mark.parametrize(
    "case", ["flipped", "short", "long", "missing", "a directory", "gzip that is none", "zstd called gzip"]
)
def test_a_lying_layer_is_found_while_it_is_copied(tmp_path: Path, case: str) -> None:
    output = tmp_path / "out" / "x.fate.tar"
    output.parent.mkdir()
    output.write_bytes(b"the bundle of yesterday")
    with pytest.raises(BundleError, match=r"^a: layer sha256:\w{64} "):
        save([lying(tmp_path / "a", case)], output, name="x")
    assert [p.name for p in output.parent.iterdir()] == ["x.fate.tar"]
    assert output.read_bytes() == b"the bundle of yesterday"


def test_two_at_once(sources: list[SourceImage], tmp_path: Path) -> None:
    output = tmp_path / "x.fate.tar"

    def second(what: str, done: int, total: int) -> None:
        with pytest.raises(EngineError, match="is being written by another fategen"):
            save(sources, output, name="x")

    assert save(sources, output, name="x", progress=second).path.exists()


def test_a_planted_link_is_not_followed(sources: list[SourceImage], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".x.fate.tar.part").symlink_to(victim)
    with pytest.raises(EngineError):
        save(sources, tmp_path / "x.fate.tar", name="x")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "No space left"), (errno.EFBIG, "File too large"), (errno.EIO, "Input/output error")],
)
def test_the_disk_fails(
    sources: list[SourceImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    # large enough for the disk to be asked before the end
    large = image(tmp_path / "from", "large", {"large": bytes(33 << 20)}, media_type=TAR)
    (out := tmp_path / "out").mkdir()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(EngineError, match=f"x.fate.tar cannot be written: {words}") as error:
        save([*sources, large], out / "x.fate.tar", name="x")
    assert "another disk with -o" in error.value.hint
    assert list(out.iterdir()) == []


def test_a_disk_that_takes_less_at_a_time_gets_the_rest(
    sources: list[SourceImage], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, piece: write(number, piece[:701]))
    assert save(sources, tmp_path / "fate-1.0.fate.tar", name="fate-1.0").path.read_bytes() == made.data


def test_what_is_brought_to_the_disk_on_the_way_is_whole(tmp_path: Path) -> None:
    large = image(tmp_path / "from", "large", {"large": random.Random(1).randbytes(33 << 20)}, media_type=TAR)
    saved, stream = save([large], tmp_path / "x.fate.tar", name="x"), io.BytesIO()
    save([large], stream, name="x")
    assert saved.path.read_bytes() == stream.getvalue()


def test_what_a_killed_save_left_of_this_file_is_written_over_and_no_reason_for_a_lack_of_space(
    sources: list[SourceImage], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, left = namedtuple("usage", "total used free"), tmp_path / ".fate-1.0.fate.tar.part"
    left.write_bytes(b"x" * (len(made.data) + 100_000))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 0 if left.stat().st_size else 1 << 40))
    assert save(sources, tmp_path / "fate-1.0.fate.tar", name="fate-1.0").path.read_bytes() == made.data
    assert not left.exists()


def test_the_disk_is_too_small(sources: list[SourceImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1000, 0, 1000))
    with pytest.raises(EngineError, match="has 1,000 bytes free, the bundle needs"):
        save(sources, tmp_path / "x.fate.tar", name="x")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(sources: list[SourceImage], tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(sources, tmp_path / "x.fate.tar", name="x", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_no_checksum_or_signature_stands_beside_a_file_that_it_does_not_fit(
    sources: list[SourceImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums, signature = tmp_path / "x.fate.tar.sha256", tmp_path / "x.fate.tar.sig"
    for file in (sums, signature):
        file.write_text("of the old file")
    replace = Path.replace

    def stop(path: Path, target: Path) -> Path:
        if target == sums:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save(sources, tmp_path / "x.fate.tar", name="x")
    assert not sums.exists() and not signature.exists()


def test_progress_ends_at_the_size_of_the_file(sources: list[SourceImage], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = save(sources, tmp_path / "x", name="x", progress=lambda _what, done, total: seen.append((done, total)))
    assert seen[-1] == (result.size, result.size)
    assert seen == sorted(seen)


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, EngineError), (errno.EPIPE, BrokenPipeError)])
def test_a_stream_that_takes_no_more(sources: list[SourceImage], number: int, error: type[Exception]) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(number, os.strerror(number))

    with pytest.raises(error):
        save(sources, Full(), name="fate-1.0")
