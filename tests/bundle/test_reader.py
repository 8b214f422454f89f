"""Reading: every change of every byte is found, told with place and images, and never a traceback."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.bundle import index as bundle_index
from generator.bundle.format import header
from generator.bundle.index import BundleIndex, decode, short_root
from generator.bundle.reader import DamagedError, inspect, iter_verified, open_bundle, verify
from generator.errors import BundleError, InputError
from generator.images.strictjson import MAX_METADATA_SIZE, Malformed
from tests.bundle.conftest import Made, broken
from tests.bundle.tars import head, member
from tests.images.test_compression import Short


def test_inspect_reads_the_first_member_only(made: Made) -> None:
    first = made.members[0]
    stream = io.BytesIO(made.data[: first.end])
    found = inspect(stream)
    assert (found.index, found.size, found.file_size) == (made.index, len(made.data), None)
    assert len(short_root(found.index.root)) == 14


def test_a_good_bundle_is_one_in_pieces_too(made: Made, file: Path) -> None:
    for source in (file, Short(made.data, 700)):
        result = verify(source)
        assert (result.index, result.size) == (made.index, len(made.data))
        assert result.blobs == sum(member.content is None for member in made.members)
    with pytest.raises(DamagedError, match="cut short"):
        verify(Short(made.data[:-700], 700))


def test_of_a_member_that_is_read_in_part_the_rest_is_checked_too(made: Made) -> None:
    layer = made.member("layer:b")
    for data, damages in ((made.data, 0), (made.flipped(layer.start + layer.size - 1), 1)):
        with open_bundle(io.BytesIO(data)) as bundle:
            try:
                for _, pieces in iter_verified(bundle):
                    next(pieces, b"")
            except DamagedError as error:
                assert [damage.what for damage in error.damages] == [layer.label] * damages
            else:
                assert not damages


def test_a_file_that_is_cut_while_it_is_verified_is_told_with_all_other_damage(made: Made, tmp_path: Path) -> None:
    layer, last = made.member("layer:b"), made.members[-1]
    file = tmp_path / "file.tar"
    file.write_bytes(made.flipped(layer.start))

    def cut(index: BundleIndex, name: str) -> str:
        os.truncate(file, last.start)
        return ""

    with pytest.raises(DamagedError, match="is damaged in 3 places") as caught:
        verify(file, approve=cut)
    assert [damage.what for damage in caught.value.damages] == [layer.label, last.label, "the end mark"]
    assert f"{last.offset}-{len(made.data) - 1}" in caught.value.hint


def check(data: bytes) -> None:
    verify(io.BytesIO(data))


def accepted(data: bytes) -> bool:
    try:
        check(data)
    except BundleError:
        return False
    return True


def test_no_byte_can_change(made: Made) -> None:
    changes = [(random.randrange(len(made.data)), random.randrange(1, 256)) for _ in range(300)]
    assert [change for change in changes if accepted(made.flipped(change[0], mask=change[1]))] == []


def test_it_is_cut_at_every_block(made: Made) -> None:
    for size in [*range(0, len(made.data), 512), len(made.data) - 1, 1, 511, 513]:
        with pytest.raises(BundleError, match=r"empty|cut short|ends inside"):
            check(made.data[:size])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_garbage(made: Made, noise: bytes, at: int) -> None:
    for data in (noise, made.data[:at] + noise, header("fategen/bundle.json", len(noise)) + noise):
        with pytest.raises(BundleError):
            check(data)
        with pytest.raises(BundleError):
            inspect(io.BytesIO(data if len(data) < 4000 else data[:600]))


def test_nothing_can_be_put_in_or_taken_out(made: Made) -> None:
    for at in random.sample(range(len(made.data)), 50):
        size = random.randrange(1, 600)
        for changed in (
            made.data[:at] + random.randbytes(size) + made.data[at:],
            made.data[:at] + made.data[at + size :],
            made.data[:at],
        ):
            assert not accepted(changed), (at, size)


def damaged(data: bytes) -> DamagedError:
    with pytest.raises(DamagedError) as error:
        check(data)
    return error.value


def test_a_damaged_layer_is_told_with_its_images_and_bytes(made: Made) -> None:
    layer = next(m for m in made.members if m.role == "layer" and m.images == ("a", "b"))
    error = damaged(made.flipped(layer.start + 10))
    place = f"layer {layer.digest} (a, b), bytes {layer.start:,}-{layer.start + layer.size - 1:,} of the file"
    assert place in error.render() and short_root(made.index.root) in error.render()
    assert error.exit_code == 4


def test_all_damage_is_told(made: Made) -> None:
    wrong = [m for m in made.members if m.role in ("config", "layer")]
    header, pad = made.member("index.json").offset + 3, made.member("oci-layout").end - 1
    error = damaged(made.flipped(*(m.start for m in wrong), header, pad))
    assert [d.what for d in error.damages] == [*(m.label for m in wrong), "index.json", "oci-layout"]
    assert "damaged header" in str(error) and "padding" in str(error)


def test_what_to_copy_again_is_every_damaged_range_and_neighbours_are_one(made: Made) -> None:
    first, second, *_, last = [m for m in made.members if m.role == "layer"]
    data = made.flipped(first.start, second.start, last.start)
    until = second.start + second.size - 1
    ranges = f"copy bytes {first.start}-{until}, {last.start}-{last.start + last.size - 1}"
    assert damaged(data).hint.startswith(f"{ranges} again, or the whole file; ")
    cut = damaged(data[: last.start + 5])
    assert f"it has {last.start + 5:,} of {len(data):,} bytes" in str(cut)
    assert [d.what for d in cut.damages][:3] == [first.label, second.label, last.label]
    assert [d.reason == "is missing" for d in cut.damages] == [False] * 2 + [True] * 5
    lost = f"copy bytes {first.start}-{until}, {last.start + 5}-{len(data) - 1} again"
    assert cut.hint.startswith(f"{lost}, or the whole file; ")
    at_content = f"copy bytes {first.start}-{until}, {last.start}-{len(data) - 1} again"
    assert damaged(data[: last.start]).hint.startswith(f"{at_content}, or the whole file; ")


def test_what_follows_a_bundle_is_no_part_of_it(made: Made) -> None:
    assert damaged(made.data + b"more").hint.startswith(f"keep its first {len(made.data)} bytes (truncate -s ")


def test_a_hole_of_zeros_is_damage_not_the_end(made: Made) -> None:
    """What ddrescue or a broken copy leaves: the members behind the hole are still looked at."""
    first, second, *_ = [m for m in made.members if m.role == "layer"]
    hole = made.data[: first.offset] + bytes(second.end - first.offset) + made.data[second.end :]
    assert [d.what for d in damaged(hole).damages] == [first.label, second.label]


def test_swapped_layers(made: Made) -> None:
    first, second = sorted((made.member("layer:a"), made.member("layer:b")), key=lambda layer: layer.offset)
    data, parts = made.data, [made.data[m.offset : m.end] for m in (second, first)]
    swapped = data[: first.offset] + parts[0] + data[first.end : second.offset] + parts[1] + data[second.end :]
    assert damaged(swapped).damages[0].what == first.label


RAW: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "not json": (lambda right: right[:-1], "it is not JSON"),
    "not an object": (lambda right: b"[%b]" % right, "is not an object"),
    "not utf-8": (lambda right: right.replace(b'"name":"', b'"name":"\xff\xfe'), "it is not UTF-8"),
    "nan": (lambda right: right.replace(b'"schema":1', b'"schema":NaN'), "NaN is not JSON"),
    "deep": (lambda right: b"[" * 200_000, "nested too deeply"),
    "deep objects": (lambda right: b'{"a":' * 100_000, "nested too deeply"),
    "long number": (lambda right: right.replace(b'"schema":1', b'"schema":' + b"1" * 1_000_000), "number is too long"),
    "duplicate key": (lambda right: right.replace(b'"schema":1', b'"schema":1,"schema":1'), "duplicate key 'schema'"),
    "white space": (lambda right: right.replace(b'"schema":1', b'"schema": 1'), "it is not canonical"),
    "white space at its end": (lambda right: right + b"\n", "it is not canonical"),
    "white space alone": (lambda right: b" " * 1000, "it is not JSON"),
    "lone surrogate": (lambda right: right.replace(b"{", b'{"\\ud800":1,', 1), "unknown key"),
    "nothing": (lambda right: b"", "it is not JSON"),
}
"""What an index is that is none, made of a right one, and the words of the check that sees it."""


@pytest.mark.parametrize(("change", "words"), RAW.values(), ids=RAW)
def test_an_index_that_is_none(made: Made, change: Callable[[bytes], bytes], words: str) -> None:
    content = change(made.content("fategen/bundle.json"))
    with pytest.raises(BundleError, match=words):
        check(member("fategen/bundle.json", content) + made.data[made.members[0].end :])


def test_an_index_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(Malformed, match="bytes of metadata, at most"):
        decode(b"[" * (MAX_METADATA_SIZE + 1))


def test_an_index_of_too_many_blobs_is_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_index, "MAX_MEMBERS", len(made.index.blobs()) - 1)
    with pytest.raises(Malformed, match="it has too many blobs"):
        decode(made.content("fategen/bundle.json"))


OTHER_FILES = {
    "gzip": (gzip.compress(b"x" * 1000), "it is gzip-compressed", "unpack it first: gunzip FILE"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(600), "it is zstd-compressed", "unzstd"),
    "bzip2": (b"BZh91AY" + bytes(600), "it is bzip2-compressed", "bunzip2"),
    "xz": (b"\xfd7zXZ" + bytes(600), "it is xz-compressed", "unxz"),
    "zip": (b"PK\x03\x04" + bytes(600), "it is a zip file", "unzip"),
    "empty": (b"", "is empty", "copy it again"),
    "text": (b"hello", "it is not a tar, or its beginning is missing", "if it was split, all parts together"),
    "a few bytes": (header("fategen/bundle.json", 1)[:80], "cut short: it has 80 bytes", "from its sender"),
    "checksum": (b"0" * 64 + b"  my\x1b[2J.tar\r\n", "it is a checksum", "pass the bundle itself: my?[2J.tar"),
    "no tar": (b"\x7fELF" * 200, "it is not a tar, or its beginning is missing", "from its sender"),
    "docker save 20": (
        head("ab" * 32 + "/", 0, b"5"),
        "it is a docker save archive or an OCI layout",
        "skopeo copy docker-archive:FILE (or oci-archive:FILE) oci:DIR, then fategen bundle save --from layout:DIR",
    ),
    "podman save": (head("ab" * 32 + ".tar"), "it is a docker save archive", "docker-archive"),
    "crane pull": (head("sha256:" + "ab" * 32), "it is a docker save archive", "docker-archive"),
    "manifest.json first": (member("manifest.json", b"[]"), "it is a docker save archive", "docker-archive"),
    "docker save 25": (head("blobs/", 0, b"5"), "it is a docker save archive", "or oci-archive:"),
    "an OCI layout": (head("./oci-layout"), "or an OCI layout", "or oci-archive:"),
    "another tar": (head("etc/passwd"), "is not a bundle: it begins with 'etc/passwd'", "from its sender"),
}


@pytest.mark.parametrize(("data", "words", "hint"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_what_is_not_a_bundle_is_named_by_its_first_bytes(data: bytes, words: str, hint: str) -> None:
    with pytest.raises(BundleError, match=words) as error:
        inspect(io.BytesIO(data))
    assert hint in error.value.hint
    assert "bundle save" not in error.value.hint or "its sender" in error.value.hint, "the receiver cannot run it"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "fate-1.3.0.fate.tar").touch()
    for name, words in (
        ("", "cannot be read"),
        ("nowhere", "no such file$"),
        ("fate-1.3.fate.tar", r"no such file; did you mean fate-1\.3\.0\.fate\.tar\?"),
    ):
        with pytest.raises(InputError, match=words):
            verify(tmp_path / name)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_threads_tell_the_same_as_one_pass(
    made: Made, file: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(threads))
    for what, data in broken(made).items():
        file.write_bytes(data)
        stream = io.BytesIO(data)
        stream.name = str(file)
        with pytest.raises(BundleError) as apart:
            verify(file)
        with pytest.raises(BundleError) as one:
            verify(stream)
        wanted = one.value.render().replace("other data", "other data (4 B)")
        more = "of the file, is followed by other data (4 B)"
        wanted = wanted.replace(f"-{len(made.data):,} {more}", f"-{len(made.data) + 3:,} {more}")
        assert apart.value.render() == wanted, what


def test_a_bad_sector_is_one_damaged_place(made: Made, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = made.member("layer:b")
    pread = os.pread

    def read(number: int, size: int, offset: int) -> bytes:
        if offset == layer.start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(number, size, offset)

    monkeypatch.setattr(os, "pread", read)
    with pytest.raises(DamagedError, match="cannot be read: Input/output error") as error:
        verify(file)
    assert [d.what for d in error.value.damages] == [layer.label]


@pytest.fixture(params=["a pipe", "threads"])
def source(request: pytest.FixtureRequest, made: Made, file: Path) -> Path | io.BytesIO:
    return file if request.param == "threads" else io.BytesIO(made.data)


def test_progress_gets_bytes_that_grow_to_the_whole(made: Made, source: Path | io.BytesIO) -> None:
    seen: list[tuple[int, int]] = []
    verify(source, progress=lambda _what, done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    first, *others = made.members
    assert seen[-1][0] == first.end + sum(member.size for member in others)
    assert {total for _, total in seen} == {len(made.data)}


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_what_progress_raises_stops_the_work(source: Path | io.BytesIO, error: type[BaseException]) -> None:
    def stop(_what: str, _done: int, _total: int) -> None:
        raise error

    with pytest.raises(error):
        verify(source, progress=stop)
