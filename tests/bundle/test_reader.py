"""Reading: every change of every byte is found, told with place and images, and never a traceback."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.bundle.format import header, padding
from generator.bundle.index import MAX_MEMBERS, decode, short_root
from generator.bundle.reader import DamagedError, inspect, verify
from generator.errors import BundleError, InputError
from generator.images.layout import SourceImage
from generator.images.strictjson import LIMIT, Malformed, encode
from tests.bundle.conftest import Made, bundle
from tests.bundle.layouts import simple
from tests.bundle.tars import head


def check(data: bytes) -> None:
    verify(io.BytesIO(data))


def member(name: str, content: bytes, size: int | None = None) -> bytes:
    return header(name, len(content) if size is None else size) + content + bytes(padding(len(content)))


def test_a_good_bundle(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.fate.tar"
    path.write_bytes(made.data)
    result = verify(path)
    assert result.index == made.plan.index
    assert (result.size, result.blobs) == (len(made.data), sum(m.content is None for m in made.plan.members))


def test_inspect_reads_the_first_member_only(made: Made) -> None:
    first = made.plan.members[0]
    stream = io.BytesIO(made.data[: first.end])
    found = inspect(stream)
    assert (found.index, found.size, found.file_size) == (made.plan.index, len(made.data), None)
    assert len(short_root(found.index.root)) == 14


class Dribble(io.RawIOBase):
    """A pipe: gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 700))


def test_a_pipe_gives_pieces(made: Made) -> None:
    assert verify(Dribble(made.data)).size == len(made.data)
    with pytest.raises(DamagedError, match="cut short"):
        verify(Dribble(made.data[:-700]))


def accepted(data: bytes) -> bool:
    try:
        check(data)
    except BundleError:
        return False
    return True


def test_no_byte_can_change(made: Made) -> None:
    changes = [(random.randrange(len(made.data)), random.randrange(1, 256)) for _ in range(300)]
    assert [change for change in changes if accepted(made.flipped(*change))] == []


def test_a_torn_header_is_seen(made: Made) -> None:
    for one in made.plan.members[3:4]:
        for position in range(one.offset, one.start, 4):  # each one alone: test_archive
            with pytest.raises(BundleError):
                check(made.flipped(position))


def test_it_is_cut_at_every_block(made: Made) -> None:
    for size in [*range(0, len(made.data), 512), len(made.data) - 1, 1, 511, 513]:
        with pytest.raises(BundleError, match=r"empty|cut short|ends inside"):
            check(made.data[:size])


def test_it_is_cut_anywhere(made: Made) -> None:
    assert [size for size in random.sample(range(len(made.data)), 50) if accepted(made.data[:size])] == []


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_garbage(made: Made, noise: bytes, at: int) -> None:
    for data in (noise, made.data[:at] + noise, header("fategen/bundle.json", len(noise)) + noise):
        with pytest.raises(BundleError):
            check(data)
        with pytest.raises(BundleError):
            inspect(io.BytesIO(data if len(data) < 4000 else data[:600]))


def test_nothing_can_be_put_in(made: Made) -> None:
    more = [(at, random.randbytes(random.randrange(1, 600))) for at in random.sample(range(len(made.data) + 1), 50)]
    assert [(at, new) for at, new in more if accepted(made.data[:at] + new + made.data[at:])] == []


def test_nothing_can_be_taken_out(made: Made) -> None:
    less = [(at, random.randrange(1, 600)) for at in random.sample(range(len(made.data)), 50)]
    assert [(at, size) for at, size in less if accepted(made.data[:at] + made.data[at + size :])] == []


def test_a_damaged_layer_is_told_with_its_images_and_bytes(made: Made) -> None:
    layer = next(m for m in made.plan.members if m.role == "layer" and m.images == ("a", "b"))
    with pytest.raises(DamagedError) as error:
        check(made.flipped(layer.start + 10))
    text = error.value.render()
    assert f"layer {layer.digest} (a, b), bytes {layer.start:,}-{layer.start + layer.size - 1:,} of the file" in text
    assert short_root(made.plan.index.root) in text
    assert error.value.exit_code == 4


def test_all_damage_is_told(made: Made) -> None:
    data = bytearray(made.data)
    wrong = [m for m in made.plan.members if m.role in ("config", "layer")]
    for one in wrong:
        data[one.start] ^= 0x80
    data[made.member("index.json").offset + 3] ^= 1
    data[made.member("oci-layout").end - 1] ^= 1
    with pytest.raises(DamagedError) as error:
        check(bytes(data))
    assert [d.what for d in error.value.damages] == [*(m.label for m in wrong), "index.json", "oci-layout"]
    assert "damaged header" in str(error.value)
    assert "padding" in str(error.value)


def test_a_hole_of_zeros_is_damage_not_the_end(made: Made) -> None:
    """What ddrescue or a broken copy leaves: the members behind the hole are still looked at."""
    layers = [m for m in made.plan.members if m.role == "layer"]
    start, end = layers[0].offset, layers[1].end
    with pytest.raises(DamagedError) as error:
        check(made.data[:start] + bytes(end - start) + made.data[end:])
    assert [d.what for d in error.value.damages] == [layers[0].label, layers[1].label]


def test_damage_before_a_cut_is_told_too(made: Made) -> None:
    layers = [m for m in made.plan.members if m.role == "layer"]
    with pytest.raises(DamagedError) as error:
        check(made.flipped(layers[0].start)[: layers[-1].start + 5])
    assert f"it has {layers[-1].start + 5:,} of {len(made.data):,} bytes" in str(error.value)
    assert error.value.damages[0].what == layers[0].label
    assert [d.missing for d in error.value.damages] == [False, True, True, True, True, True]


def test_swapped_layers(made: Made) -> None:
    first, second = made.member("layer:a"), made.member("layer:b")
    data = bytearray(made.data)
    data[first.offset : first.end], data[second.offset : second.end] = (
        made.data[second.offset : second.end],
        made.data[first.offset : first.end],
    )
    with pytest.raises(BundleError, match=r"is where .* belongs"):
        check(bytes(data))


def test_a_swapped_config(made: Made) -> None:
    config = made.member("config:b")
    other = made.content("config:b").replace(b"/bin/true", b"/bin/evil")
    assert len(other) == config.size
    with pytest.raises(DamagedError, match=r"config sha256:\w+ \(b\).*does not match its digest"):
        check(made.data[: config.start] + other + made.data[config.start + config.size :])


def rewritten(made: Made, change: object) -> bytes:
    """A bundle with a changed record whose root digest is right again; ``change`` gets the record as a dict."""
    record = json.loads(made.content("fategen/bundle.json"))
    assert callable(change)
    change(record)
    del record["root"]
    record["root"] = "sha256:" + hashlib.sha256(encode(record)).hexdigest()
    return member("fategen/bundle.json", encode(record)) + made.data[made.plan.members[0].end :]


def variant(record: dict[str, object]) -> dict[str, object]:
    return record["images"][0]["variants"][0]  # type: ignore[index, no-any-return]


RECORDS = {
    "upper case digest": lambda r: variant(r)["config"].update(digest=variant(r)["config"]["digest"].upper()),
    "traversal": lambda r: variant(r)["config"].update(digest="sha256:../../etc/passwd"),
    "negative size": lambda r: variant(r)["config"].update(size=-1),
    "overflowing size": lambda r: variant(r)["layers"][0]["blob"].update(size=1 << 63),
    "size as text": lambda r: variant(r)["config"].update(size="10"),
    "size as bool": lambda r: variant(r)["config"].update(size=True),
    "size as float": lambda r: variant(r)["config"].update(size=1e3),
    "huge manifest": lambda r: variant(r)["manifest"].update(size=LIMIT + 1),
    "media type": lambda r: variant(r)["layers"][0]["blob"].update(media_type="application/x-sh"),
    "another target": lambda r: r["images"][0].update(target=r["images"][1]["target"]),
    "another manifest": lambda r: r["images"][0]["variants"].__setitem__(0, r["images"][1]["variants"][0]),
    "layers swapped": lambda r: variant(r)["layers"].reverse(),
    "layer gone": lambda r: variant(r)["layers"].pop(),
    "diff id": lambda r: variant(r)["layers"][0].update(diff_id="sha256:" + "0" * 64),
    "name": lambda r: r["images"][0].update(references=["docker.io/library/alpine:3"]),
    "short name": lambda r: r["images"][0].update(references=["fgtest/a:1.0"]),
    "option as name": lambda r: r["images"][0].update(references=["--help"]),
    "name with a newline": lambda r: r["images"][0].update(references=["docker.io/fgtest/a:1.0\n"]),
    "unicode name": lambda r: r["images"][0].update(references=["docker.io/fgtest/\u0430:1.0"]),
    "no name": lambda r: r["images"][0].update(references=[]),
    "name twice": lambda r: r["images"][1].update(references=r["images"][0]["references"]),
    "images out of order": lambda r: r["images"].reverse(),
    "no images": lambda r: r.update(images=[]),
    "images are text": lambda r: r.update(images="x"),
    "image is text": lambda r: r.update(images=["x"]),
    "no variants": lambda r: r["images"][0].update(variants=[]),
    "platform twice": lambda r: r["images"][2]["variants"].__setitem__(1, r["images"][2]["variants"][0]),
    "platform": lambda r: variant(r).update(platform="linux/amd64/../x"),
    "another platform": lambda r: r["images"][2]["variants"][0].update(platform="linux/s390x"),
    "nested without children": lambda r: r["images"][2]["variants"].pop(),
    "two sizes": lambda r: r["images"][0]["variants"][0]["layers"][0]["blob"].update(size=1),
    "schema": lambda r: r.update(schema=2),
    "unknown key": lambda r: r.update(absent=[]),
    "missing key": lambda r: r.pop("totals"),
    "totals": lambda r: r["totals"].update(bytes=1),
    "bundle name": lambda r: r.update(name="../x"),
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_a_record_that_says_something_else(made: Made, change: object) -> None:
    with pytest.raises(BundleError):
        check(rewritten(made, change))


def test_a_changed_name_alone_changes_what_must_stand_behind(made: Made) -> None:
    """The root digest is right again and every blob too: the regenerated manifest.json is what differs."""
    data = rewritten(made, lambda r: r["images"][0].update(references=["docker.io/fgtest/a:1.9"]))
    with pytest.raises(BundleError):
        check(data)


RAW = {
    "not json": b"{",
    "not an object": b"[]",
    "not utf-8": b"\xff\xfe",
    "nan": b'{"schema":NaN}',
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "long number": b'{"schema":' + b"9" * 1_000_000 + b"}",
    "duplicate key": b'{"schema":1,"schema":1}',
    "white space": b" " * 1000,
    "lone surrogate": b'{"\\ud800":1}',
    "nothing": b"",
}


@pytest.mark.parametrize("content", RAW.values(), ids=RAW)
def test_a_record_that_is_none(content: bytes) -> None:
    start = time.monotonic()
    with pytest.raises(BundleError):
        check(member("fategen/bundle.json", content))
    assert time.monotonic() - start < 1


def test_a_record_in_other_spelling(made: Made) -> None:
    content = made.content("fategen/bundle.json")
    with pytest.raises(BundleError, match="not canonical"):
        check(member("fategen/bundle.json", content + b"\n") + made.data[made.plan.members[0].end :])


def test_a_huge_record_is_not_read() -> None:
    class Endless:
        def __init__(self) -> None:
            self.given = 0

        def read(self, size: int, /) -> bytes:
            self.given += size
            return header("fategen/bundle.json", 1 << 40) if self.given == 512 else bytes(size)

    stream = Endless()
    with pytest.raises(BundleError, match="at most"):
        verify(stream)
    assert stream.given == 512


def test_too_many_members(made: Made) -> None:
    record = json.loads(made.content("fategen/bundle.json"))
    layer = variant(record)["layers"][0]  # type: ignore[index]
    variant(record)["layers"] = [layer, layer]
    one = encode(layer)
    many = [one.replace(layer["blob"]["digest"].encode(), b"sha256:%064x" % n) for n in range(MAX_MEMBERS + 1)]
    with pytest.raises(Malformed, match="at most"):
        decode(encode(record).replace(one + b"," + one, b",".join(many)))


OTHER_FILES = {
    "gzip": (gzip.compress(b"x" * 1000), "it is gzip-compressed", "unpack it first: gunzip the input"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(600), "it is zstd-compressed", "unzstd"),
    "bzip2": (b"BZh91AY" + bytes(600), "it is bzip2-compressed", "bunzip2"),
    "xz": (b"\xfd7zXZ" + bytes(600), "it is xz-compressed", "unxz"),
    "zip": (b"PK\x03\x04" + bytes(600), "it is a zip file", "unzip"),
    "empty": (b"", "is empty", "copy it again"),
    "text": (b"hello", "cut short: it has 5 bytes", "fategen bundle save"),
    "no tar": (b"\x7fELF" * 200, "it is not a tar, or its beginning is missing", "fategen bundle save"),
    "docker save 20": (
        head("ab" * 32 + "/", 0, b"5"),
        "it is a docker save archive",
        "skopeo copy docker-archive:the input oci:DIR, then fategen bundle save --from layout:DIR",
    ),
    "podman save": (head("ab" * 32 + ".tar"), "it is a docker save archive", "docker-archive"),
    "crane pull": (head("sha256:" + "ab" * 32), "it is a docker save archive", "docker-archive"),
    "manifest.json first": (member("manifest.json", b"[]"), "it is a docker save archive", "docker-archive"),
    "docker save 25": (head("blobs/", 0, b"5"), "it is an OCI layout", "skopeo copy oci-archive:"),
    "an OCI layout": (head("./oci-layout"), "it is an OCI layout", "skopeo copy oci-archive:"),
    "another tar": (head("etc/passwd"), "it is not a bundle|does not belong in a bundle", "fategen bundle save"),
}


@pytest.mark.parametrize(("data", "words", "hint"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_what_is_not_a_bundle_is_named_by_its_first_bytes(data: bytes, words: str, hint: str) -> None:
    with pytest.raises(BundleError, match=words) as error:
        inspect(io.BytesIO(data))
    assert hint in error.value.hint


def evil(kind: bytes, name: str, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "block",
    [
        evil(tarfile.REGTYPE, "../../etc/cron.d/x"),
        evil(tarfile.SYMTYPE, "blobs/sha256/" + "0" * 64, "/etc/passwd"),
        evil(tarfile.XHDTYPE, "index.json"),
        member("index.json", b""),
        member("blobs/", b""),
    ],
    ids=["parent", "link", "pax", "duplicate", "directory again"],
)
@pytest.mark.parametrize("place", ["before the blobs", "before the end"])
def test_a_member_too_many(made: Made, block: bytes, place: str) -> None:
    at = made.plan.members[3].offset if place == "before the blobs" else made.plan.members[-1].offset
    with pytest.raises(BundleError, match="does not match its bundle index"):
        check(made.data[:at] + block + made.data[at:])


def test_something_behind_the_end(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(made.data + b"more")
    with pytest.raises(DamagedError, match="has 4 bytes after it"):
        verify(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError):
            verify(path)


def test_nothing_is_written(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError):
        check(made.data[: made.plan.members[3].offset] + evil(tarfile.REGTYPE, "evil") + bytes(2000))
    assert list(tmp_path.iterdir()) == []


def test_many_images_are_read_in_no_time(tmp_path: Path) -> None:
    path = simple(tmp_path / "a", "a")
    names = tuple(f"fgtest/a:{n}" for n in range(400))
    many = bundle(tmp_path, [SourceImage(names, path, ("linux/amd64",))])
    start = time.monotonic()
    check(many.data)
    assert time.monotonic() - start < 1
