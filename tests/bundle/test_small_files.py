"""Small files beside the images: covered by the root digest, listed, got out by name, never written by an archive."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from generator.bundle.format import loader_files
from generator.bundle.index import MAX_FILE, MAX_FILES, BundleIndex, SmallFile, arrange, open_files, small_file
from generator.bundle.reader import DamagedError, extract, inspect, verify
from generator.bundle.save import save
from generator.errors import BundleError, InputError
from generator.images.layout import SourceImage
from generator.images.strictjson import Malformed
from tests.bundle.conftest import Made, made_of
from tests.bundle.tars import member
from tests.conftest import Run

FILES = {"compose.yaml": b"services: {}\n", ".env": b"TAG=1.0\n", "Chart-1.0.tgz": bytes(range(256)) * 9, "empty": b""}


@pytest.fixture(scope="module")
def carried(sources: list[SourceImage], tmp_path_factory: pytest.TempPathFactory) -> Made:
    path = tmp_path_factory.mktemp("files") / "fate-1.0.fate.tar"
    return made_of(save(sources, path, name="fate-1.0", files=FILES).path)


def test_they_stand_behind_the_index_and_every_byte_of_them_is_checked(carried: Made) -> None:
    with tarfile.open(fileobj=io.BytesIO(carried.data)) as tar:
        names = tar.getnames()
    assert names[:6] == ["fategen/bundle.json", *(f"fategen/{name}" for name in sorted(FILES)), "blobs"]
    assert verify(io.BytesIO(carried.data)).blobs == 15
    with pytest.raises(DamagedError, match=r"fategen/compose.yaml, bytes .* does not match its digest"):
        verify(io.BytesIO(carried.flipped(carried.member("fategen/compose.yaml").start)))


def test_plain_sha256sum_knows_them_and_every_blob(carried: Made) -> None:
    lines = carried.content("fategen/SHA256SUMS").decode().splitlines()
    with tarfile.open(fileobj=io.BytesIO(carried.data)) as tar:
        for line in lines:
            digest, name = line.split("  ")
            assert hashlib.sha256(tar.extractfile(name).read()).hexdigest() == digest  # type: ignore[union-attr]
        files = [m.name for m in tar if m.isfile()]
    assert [line.split("  ")[1] for line in lines] == files[:-4]


def test_they_change_the_root_digest_by_name_and_content_and_nothing_that_loaders_read(
    made: Made, carried: Made, sources: list[SourceImage], tmp_path: Path
) -> None:
    files = [(), *((small_file(*file),) for file in (("a", b"1"), ("b", b"1"), ("b", b"2")))]
    indexes = [BundleIndex("fate-1.0", made.index.images, files=each) for each in files]
    assert len({carried.index.root, *(index.root for index in indexes)}) == 5
    assert loader_files(made.index) == loader_files(carried.index)
    assert made.index == indexes[0] and b'"files"' not in made.index.encode()
    assert save(sources, tmp_path / "x", name="fate-1.0", files={}).path.read_bytes() == made.data


@pytest.mark.parametrize("name", FILES)
def test_each_is_got_out_by_its_name_from_the_first_bytes(carried: Made, name: str) -> None:
    end = carried.member(f"fategen/{name}").end
    assert extract(io.BytesIO(carried.data[:end]), name) == FILES[name]


def test_one_that_is_not_there_is_told_with_those_that_are(carried: Made) -> None:
    with pytest.raises(InputError, match=r"compose.yml: is not in .*did you mean compose.yaml") as error:
        extract(io.BytesIO(carried.data), "compose.yml")
    assert ".env, Chart-1.0.tgz, compose.yaml, empty" in error.value.hint


def test_one_that_is_damaged_or_cut_is_not_printed_and_damage_in_another_is_no_reason(carried: Made) -> None:
    member = carried.member("fategen/compose.yaml")
    for position in (member.offset, member.offset + 130, member.start):
        with pytest.raises(BundleError, match=r"is damaged: fategen/compose.yaml, bytes"):
            extract(io.BytesIO(carried.flipped(position)), "compose.yaml")
    cut = carried.data[: carried.members[1].end - 1]
    with pytest.raises(BundleError, match=f"is cut short: it has {len(cut):,} of"):
        extract(io.BytesIO(cut), carried.index.files[0].name)
    damaged = carried.flipped(carried.member("fategen/.env").start)
    assert extract(io.BytesIO(damaged), "compose.yaml") == FILES["compose.yaml"]


@pytest.mark.parametrize(
    "files",
    [
        *([small_file(name, b"")] for name in ("bundle.json", "SHA256SUMS", "..", "a/b", "-", "a" * 65)),
        [SmallFile("a", "sha256:0", 0)],
        [SmallFile("a", small_file("", b"").digest, MAX_FILE + 1)],
        [small_file("a", b""), small_file("a", b"")],
        [small_file("a", b""), small_file("A", b"")],
        [small_file(f"f{number}", b"") for number in range(MAX_FILES + 1)],
    ],
)
def test_an_index_with_other_files_is_none(made: Made, files: list[SmallFile]) -> None:
    with pytest.raises(Malformed):
        arrange(BundleIndex("fate-1.0", made.index.images, files=tuple(files)))


def test_their_order_is_part_of_the_one_spelling(made: Made) -> None:
    index = BundleIndex("x", made.index.images, files=(small_file("b", b""), small_file("a", b"")))
    with pytest.raises(BundleError, match="not canonical"):
        inspect(io.BytesIO(member("fategen/bundle.json", index.encode())))


def test_what_cannot_go_in_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/a", "bundle.json", "ä"):
        (tmp_path / name).write_bytes(b"x")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(InputError) as error:
        open_files([tmp_path / name for name in ("a", "sub/a", "bundle.json", "ä", "none", "big", "sub")])
    assert [problem.message.partition(" (")[0] for problem in error.value.problems] == [
        "a bundle can have only one a",
        "bundle.json is reserved for the bundle itself",
        "'ä' cannot be a file's name in a bundle",
        "cannot be read: No such file or directory",
        f"has more than {MAX_FILE:,} bytes; send it next to the bundle",
        "cannot be read: Is a directory",
    ]


def test_inspect_lists_and_prints_them(
    carried: Made, tmp_path: Path, fategen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.fate.tar"
    file.write_bytes(carried.data)
    said = fategen("bundle", "inspect", file)[1]
    assert "\nfiles: .env (8 B), Chart-1.0.tgz (2.3 kB), compose.yaml (13 B), empty (0 B)\n" in said
    listed = json.loads(fategen("bundle", "inspect", file, "--format", "json")[1])
    assert [entry["name"] for entry in listed["files"]] == sorted(FILES)
    stdout = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stdout))
    assert fategen("bundle", "inspect", file, "--file", "Chart-1.0.tgz")[0] == 0
    assert stdout.getvalue() == FILES["Chart-1.0.tgz"]
