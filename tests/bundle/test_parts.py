"""A bundle in parts: written whole or not at all, read in place, and each wrong part told for what it is."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from pathlib import Path

import pytest

from generator.bundle import split
from generator.bundle.blobs import open_blobs
from generator.bundle.check import inspect, verify
from generator.bundle.format import parts
from generator.bundle.format.damage import DamagedError
from generator.bundle.format.parts import Part, PartList, part_size
from generator.bundle.format.source import opened
from generator.bundle.load import load
from generator.bundle.save import save
from generator.errors import BundleError, EngineError, InputError
from generator.images.layout import SourceImage
from generator.images.strictjson import Malformed
from tests.bundle.conftest import Made
from tests.bundle.test_load import Recorder

SIZE = 10_000


@pytest.fixture(autouse=True)
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parts, split):
        monkeypatch.setattr(module, "HEAD", 1000)
    monkeypatch.setattr("generator.bundle.format.source.HEAD", 1000)


@pytest.fixture
def whole(sources: list[SourceImage], tmp_path: Path) -> Path:
    """The name of a bundle in parts; there is no file of that name."""
    return save(sources, tmp_path / "fate-1.0.fate.tar", name="fate-1.0", split=SIZE).path


def part(whole: Path, number: int) -> Path:
    return whole.with_name(f"{whole.name}.{number:03d}")


def count(whole: Path) -> int:
    return len(list(whole.parent.glob("*.tar.[0-9]*")))


def test_the_parts_are_the_file(whole: Path, made: Made) -> None:
    files = sorted(whole.parent.glob("fate-1.0.fate.tar.[0-9]*"))
    assert b"".join(file.read_bytes() for file in files) == made.data
    assert {file.stat().st_size for file in files[:-1]} == {SIZE}
    assert not whole.exists()
    sums = whole.with_name(whole.name + ".sha256").read_text()
    assert sums == "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files)


def test_every_name_of_it_is_read(whole: Path, made: Made) -> None:
    for path in (whole, part(whole, 1), part(whole, 2), whole.with_name(whole.name + ".parts.json")):
        assert inspect(path).index == made.plan.index
        assert verify(path).size == len(made.data)
        engine = Recorder()
        load(path, engine, platform="linux/amd64")
        assert engine.finished


def test_a_whole_file_comes_before_its_parts(whole: Path, made: Made) -> None:
    whole.write_bytes(made.data)
    part(whole, 2).unlink()
    assert verify(whole).size == len(made.data)


def fails(whole: Path) -> str:
    with pytest.raises(BundleError) as error:
        verify(whole)
    engine = Recorder()
    with pytest.raises(BundleError):
        load(whole, engine)
    assert not engine.sent
    return error.value.render()


def test_a_missing_part(whole: Path) -> None:
    part(whole, 2).unlink()
    assert f"fate-1.0.fate.tar.002 of {count(whole) + 1} parts is not in {whole.parent}" in fails(whole)


def test_the_missing_last_part(whole: Path) -> None:
    last = count(whole)
    part(whole, last).unlink()
    assert f"fate-1.0.fate.tar.{last:03d} (the last) of {last} parts is not in" in fails(whole)


def test_swapped_parts(whole: Path) -> None:
    first, second = part(whole, 1).read_bytes(), part(whole, 2).read_bytes()
    part(whole, 1).write_bytes(second)
    part(whole, 2).write_bytes(first)
    said = fails(whole)
    assert "fate-1.0.fate.tar.001 holds part 2, not part 1" in said
    assert "fate-1.0.fate.tar.002 holds part 1, not part 2" in said


def test_a_doubled_part(whole: Path) -> None:
    shutil.copy(part(whole, 1), part(whole, 2))
    assert "fate-1.0.fate.tar.002 holds part 1, not part 2" in fails(whole)


def test_a_part_of_another_bundle(whole: Path) -> None:
    part(whole, 2).write_bytes(b"\x17" * SIZE)
    assert "fate-1.0.fate.tar.002 is not part 2 of this bundle: its bytes 0-999" in fails(whole)


def test_a_part_that_is_cut_and_one_that_is_too_long(whole: Path) -> None:
    with part(whole, 1).open("ab") as file:
        file.write(b"x")
    with part(whole, 2).open("r+b") as file:
        file.truncate(5000)
    said = fails(whole)
    assert "fate-1.0.fate.tar.001 has 1 bytes behind its end" in said
    assert "fate-1.0.fate.tar.002 is cut short: it has 5,000 of 10,000 bytes" in said


def test_damage_is_told_by_part_and_byte(whole: Path, made: Made) -> None:
    layer = next(m for m in made.plan.members if m.role == "layer" and m.start % SIZE > 1000)
    number, at = layer.start // SIZE + 1, layer.start % SIZE
    with part(whole, number).open("r+b") as file:
        file.seek(at)
        file.write(bytes([made.data[layer.start] ^ 1]))
    with pytest.raises(DamagedError) as error:
        verify(whole)
    assert f"bytes {at:,}-{at + layer.size - 1:,} of fate-1.0.fate.tar.{number:03d}" in str(error.value)


def test_damage_across_two_parts_names_both(whole: Path) -> None:
    with opened(whole) as (source, _, _):
        assert source.where(SIZE - 10, SIZE + 5) == (
            "bytes 9,990-9,999 of fate-1.0.fate.tar.001 and bytes 0-4 of fate-1.0.fate.tar.002"
        )


def test_parts_without_their_list(whole: Path) -> None:
    whole.with_name(whole.name + ".parts.json").unlink()
    with pytest.raises(InputError, match=r"only fate-1.0.fate.tar.001, without the list of the parts"):
        verify(whole)
    with pytest.raises(InputError, match=r"is a part of a bundle, and fate-1.0.fate.tar.parts.json is not beside it"):
        verify(part(whole, 1))


@pytest.mark.parametrize("change", ["byte", "nothing", "another total"])
def test_a_damaged_list(whole: Path, change: str) -> None:
    listed = whole.with_name(whole.name + ".parts.json")
    data = listed.read_bytes()
    new = {"byte": b"[" + data[1:], "nothing": b"", "another total": data.replace(b'"total":', b'"total":1')}[change]
    listed.write_bytes(new)
    with pytest.raises(BundleError, match="is not a list of parts"):
        verify(whole)


def test_the_next_medium_is_asked_for(whole: Path, made: Made, tmp_path: Path) -> None:
    media = [tmp_path / f"medium{number}" for number in range(1, count(whole) + 1)]
    for number, medium in enumerate(media, 1):
        medium.mkdir()
        part(whole, number).rename(medium / part(whole, number).name)
    whole.with_name(whole.name + ".parts.json").rename(media[0] / (whole.name + ".parts.json"))
    asked: list[str] = []

    def ask(missing: str) -> Path | None:
        asked.append(missing)
        # the first answer is a slip
        return media[0] if len(asked) == 1 else media[int(missing.split(" ")[0][-3:]) - 1]

    engine = Recorder()
    load(media[0] / whole.name, engine, ask=ask)
    assert engine.finished
    assert len(asked) == len(media)
    assert f"{whole.name}.002 of {len(media)} parts is not in {media[0]}" in asked[0]
    with pytest.raises(BundleError, match="002 of"):
        verify(media[0] / whole.name, ask=lambda _missing: None)


def test_the_parts_are_the_same_each_time(whole: Path, sources: list[SourceImage], tmp_path: Path) -> None:
    other = tmp_path / "again"
    other.mkdir()
    save(list(reversed(sources)), other / whole.name, name="fate-1.0", split=SIZE)
    for file in other.iterdir():
        assert file.read_bytes() == (whole.parent / file.name).read_bytes()


def test_fewer_parts_than_before_leave_no_old_ones(whole: Path, sources: list[SourceImage], made: Made) -> None:
    before = count(whole)
    save(sources, whole, name="fate-1.0", split=3 * SIZE)
    assert count(whole) < before
    assert verify(whole).size == len(made.data)


def test_what_a_killed_save_left_is_taken_away(sources: list[SourceImage], tmp_path: Path) -> None:
    left = tmp_path / ".x.fate.tar.009.part"
    left.write_text("half")
    save(sources, tmp_path / "x.fate.tar", name="x", split=SIZE)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_nothing(
    sources: list[SourceImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    calls = 0

    def fail(_fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EngineError):
        save(sources, tmp_path / "x.fate.tar", name="x", split=SIZE)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_leaves_the_old_parts(whole: Path, sources: list[SourceImage], made: Made) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(sources[:1], whole, name="other", split=1000, progress=stop)
    assert verify(whole).index == made.plan.index


def test_new_parts_are_never_read_by_the_old_list(
    whole: Path, sources: list[SourceImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are given one after the other: what stands in between is no bundle, and says so."""
    replace = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if target == part(whole, 2):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        save(sources, whole, name="fate-1.0", split=SIZE // 2)
    with pytest.raises(InputError, match="without the list of the parts"):
        verify(whole)


def test_no_parts_beside_a_whole_file_of_that_name(sources: list[SourceImage], tmp_path: Path) -> None:
    (tmp_path / "x.fate.tar").write_text("the bundle of yesterday")
    with pytest.raises(InputError, match="is there already"):
        save(sources, tmp_path / "x.fate.tar", name="x", split=SIZE)


def test_a_whole_file_takes_the_place_of_parts_and_of_what_was_said_of_them(
    whole: Path, sources: list[SourceImage]
) -> None:
    """Else verify would read one, and a copy of all that has the name carry both."""
    signature = whole.with_name(f"{whole.name}.sig")
    signature.write_text("of the parts")
    save(sources[:1], whole, name="fate-1.0")
    assert sorted(path.name for path in whole.parent.iterdir()) == [whole.name, f"{whole.name}.sha256"]


def test_too_many_parts(sources: list[SourceImage], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 999"):
        save(sources, tmp_path / "x.fate.tar", name="x", split=10)
    with pytest.raises(InputError, match="a plain name"):
        save(sources, tmp_path / "x y.tar", name="x", split=SIZE)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("fat32", 2**32 - 1),
        ("700MB", 700 * 10**6),
        ("4.5GiB", 9 << 29),
        ("2G", 2 * 10**9),
        ("1048576", 1 << 20),
        ("1 TB", 10**12),
    ],
)
def test_sizes(value: str, size: int) -> None:
    assert part_size(value) == size


def test_media_leave_room_for_their_own_file_system() -> None:
    assert part_size("dvd") < 4_700_372_992
    assert part_size("dvd-dl") < 8_543_666_176


@pytest.mark.parametrize("value", ["", "dvds", "1k", "-1G", "1e9", "4 gibs", "0"])
def test_what_is_no_size(value: str) -> None:
    with pytest.raises(InputError):
        part_size(value)


@pytest.mark.parametrize("name", ["../x", "", "a/b"])
def test_a_list_names_no_path(name: str) -> None:
    listed = PartList(name, "sha256:" + "0" * 64, (Part(1, "sha256:" + "0" * 64, "sha256:" + "0" * 64),))
    with pytest.raises(Malformed):
        parts.decode(listed.encode())


def test_a_pipe_needs_no_list(whole: Path, made: Made) -> None:
    joined = b"".join(part(whole, n).read_bytes() for n in range(1, count(whole) + 1))
    assert verify(io.BytesIO(joined)).size == len(made.data)


def test_push_and_serve_read_the_parts_in_place(whole: Path, made: Made) -> None:
    with open_blobs(part(whole, 1)) as blobs:
        for digest, member in blobs.members.items():
            content = made.data[member.start : member.start + member.size]
            assert b"".join(blobs.chunks(digest)) == content
            spans = blobs.spans(digest, 5, member.size)
            assert b"".join(os.pread(number, size, first) for number, first, size in spans) == content[5:]
