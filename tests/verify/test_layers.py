"""Layers as engines, registries and strangers write them: listed by their headers, refused where they are none."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable

import pytest

from generator.images.strictjson import Malformed
from generator.verify.layers import (
    MAX_NAMES_SIZE,
    Content,
    Entry,
    Listing,
    overlaid,
    parse_settings,
    read_layer,
)
from tests.bundle.layouts import zstd

Change = Callable[[tarfile.TarInfo], None]


def tar_of(*members: tuple[str, bytes], how: Change = lambda info: None, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            how(info)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def listed(data: bytes, step: int = 1 << 20, **limits: int) -> dict[str, Entry]:
    return dict(read_layer((data[start : start + step] for start in range(0, len(data), step)), **limits)[1])


def refused(data: bytes, **limits: int) -> str:
    with pytest.raises(Malformed) as caught:
        listed(data, **limits)
    return str(caught.value)


def test_a_file_has_its_mode_owner_and_size() -> None:
    def how(info: tarfile.TarInfo) -> None:
        info.mode, info.uid, info.gid = 0o4755, 7, 70000

    found = listed(tar_of(("usr/bin/su", b"12345"), how=how))
    assert found == {"/usr/bin/su": Entry("file", 0o4755, 7, 70000, 5, "")}


def test_gzip_of_several_members_is_read_to_its_end_and_its_digest_is_that_of_the_tar() -> None:
    data = tar_of(("a", b"1" * 2000), ("b", b"2"))
    digest, entries = read_layer([gzip.compress(data[:700]) + gzip.compress(data[700:])])
    assert (digest, list(entries)) == ("sha256:" + hashlib.sha256(data).hexdigest(), ["/a", "/b"])


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_targets_are_read_in_both_ways_of_writing_them(form: int) -> None:
    def how(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = tarfile.SYMTYPE, "t" * 300

    found = listed(tar_of(("n" * 300, b""), how=how, form=form))
    assert found["/" + "n" * 300].target == "t" * 300


def test_a_name_in_two_parts_is_joined_and_none_is_lost() -> None:
    name = "d" * 90 + "/" + "f" * 90
    assert list(listed(tar_of((name, b""), form=tarfile.USTAR_FORMAT))) == [f"/{name}"]
    bytes_alone = tar_of(("\udcff", b""), ("\udcfe", b""), form=tarfile.GNU_FORMAT)
    assert len(listed(bytes_alone)) == 2, "names that are not UTF-8 stay apart"


def test_a_hard_link_is_one_more_name_of_a_file_whose_size_is_counted_once() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        first = tarfile.TarInfo("a")
        first.size, first.mode = 3, 0o4755
        tar.addfile(first, io.BytesIO(b"123"))
        second = tarfile.TarInfo("b")
        second.type, second.linkname = tarfile.LNKTYPE, "a"
        tar.addfile(second)
    assert listed(out.getvalue())["/b"] == Entry("file", 0o4755, 0, 0, 0, "")


def test_an_empty_layer_holds_nothing() -> None:
    assert listed(bytes(1024)) == {}
    assert listed(gzip.compress(bytes(1024))) == {}


def test_damaged_compression_is_refused() -> None:
    data = bytearray(gzip.compress(tar_of(("a", bytes(range(256)) * 20))))
    data[40] ^= 0xFF
    assert refused(bytes(data)).startswith(("its compression is damaged", "no tar header"))


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_zstd_of_several_frames_is_read_in_pieces_of_any_size(step: int) -> None:
    data = tar_of(("a", b"1"), ("b", b"2"))
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    assert list(listed(skippable + zstd(data[:700]) + zstd(data[700:]), step)) == ["/a", "/b"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compression_that_is_cut_is_refused(pack: Callable[[bytes], bytes]) -> None:
    assert refused(pack(tar_of(("a", b"1")))[:-3]) == "its compression ends too early"


def header(change: Callable[[bytearray], None]) -> bytes:
    """One header with a change and the right checksum."""
    block = bytearray(tar_of(("a", b""))[:512])
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def put(start: int, data: bytes) -> Callable[[bytearray], None]:
    def change(block: bytearray) -> None:
        block[start : start + len(data)] = data

    return change


def link_to(target: str) -> Change:
    def how(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = tarfile.LNKTYPE, target

    return how


def pax(content: bytes) -> bytes:
    """A pax header with this content."""
    block = bytearray(tar_of(("a", content))[:1024])
    block[156:157] = b"x"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block) + bytes(1024)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tar_of(("a", b"x" * 3000))[:1000], "it ends in the middle of an entry"),
        (b"abc", "it ends in the middle of an entry"),
        (b"hello, world" * 100, "there is no tar header where one belongs"),
        (tar_of(("a/../../etc/passwd", b"")), "leads out"),
        (tar_of(("a", b""), how=link_to("/etc/shadow")), "hard link"),
        (header(put(124, b"-0000000001\0")), "not an octal number"),
        (header(put(124, b"0000000009z\0")), "not an octal number"),
        (header(put(156, b"V")), "unknown type"),
        (header(put(108, b"\xff\xff\xff\xff\xff\xff\xff\xff")), "not an octal number"),
        (pax(b"99 path=x\n"), "a pax header is malformed"),
        (pax(b"7 path\n"), "a pax header has a record without a value"),
        (pax(b"11 size=-1\n")[:1024] + tar_of(("b", b"")), "the size of an entry is '-1'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_layer_is_refused(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_names_without_end_are_refused_before_they_are_kept() -> None:
    def how(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"SCHILY.xattr.user.x": "x" * (MAX_NAMES_SIZE + 1)}

    assert "the names of one entry have" in refused(tar_of(("a", b""), how=how))


def test_a_bomb_is_inflated_piece_by_piece_and_stopped() -> None:
    # a header that says 8 GB, then zeros: 4 MB of them in 4 kB
    big = bytearray(tar_of(("a", b""))[:512])
    big[124:136] = b"77777777777\0"
    big[148:156] = b" " * 8
    big[148:156] = b"%06o\0 " % sum(big)
    assert "more than 1,048,576 bytes" in refused(gzip.compress(bytes(big) + bytes(4 << 20)), most_bytes=1 << 20)


def test_entries_without_end_are_refused() -> None:
    assert "more than 3 entries" in refused(tar_of(*((str(number), b"") for number in range(5))), most_entries=3)


FILE = Entry("file", 0o644, 0, 0, 1, "")
DIRECTORY = Entry("directory", 0o755, 0, 0, 0, "")


def link(target: str) -> Entry:
    return Entry("link", 0o777, 0, 0, 0, target)


def image(files: Listing) -> Content:
    return Content(parse_settings(b"{}"), files, 0)


SMALL, PRIVATE = FILE._replace(mode=0o600), DIRECTORY._replace(mode=0o700)


@pytest.mark.parametrize(
    ("lower", "upper", "files"),
    [
        ({"/a": FILE, "/b": FILE}, {"/a": SMALL}, {"/a": SMALL, "/b": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE, "/d/s/f": FILE, "/df": FILE}, {"/.wh.d": FILE}, {"/df": FILE}),
        ({"/d": DIRECTORY, "/d/old": FILE}, {"/d": DIRECTORY, "/d/.wh..wh..opq": FILE, "/d/new": FILE},
         {"/d": DIRECTORY, "/d/new": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE}, {"/d": FILE}, {"/d": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE}, {"/d": PRIVATE}, {"/d": PRIVATE, "/d/f": FILE}),
    ],
    ids=["a file", "a whiteout", "an opaque directory", "a file for a directory", "a directory that comes again"],
)  # fmt: skip
def test_a_later_layer_covers_an_earlier_one(lower: Listing, upper: Listing, files: Listing) -> None:
    assert overlaid([lower, upper]) == files


def test_a_path_is_found_through_links_of_its_directories() -> None:
    found = image({"/usr/bin/su": FILE, "/bin": link("usr/bin"), "/x": link("/bin/../bin")})
    assert found.find("/bin/su") == found.find("/x/su") == FILE


def test_a_link_at_the_end_is_followed_unless_it_is_what_is_asked_for() -> None:
    found = image({"/app/a-1.jar": FILE, "/app/a.jar": link("a-1.jar")})
    assert found.find("/app/a.jar") == FILE
    assert found.find("/app/a.jar", follow=False) == link("a-1.jar")


@pytest.mark.parametrize("files", [{"/a": link("/b"), "/b": link("/a")}, {"/a": link("nowhere")}])
def test_a_link_that_leads_nowhere_finds_nothing(files: Listing) -> None:
    assert image(files).find("/a") is None
    assert image(files).find("/a/b") is None


def test_settings_are_those_of_the_config_and_the_defaults_are_dockers() -> None:
    config: dict[str, object] = {
        "config": {"Env": ["A=1=2"], "ExposedPorts": {"2/tcp": {}, "1/tcp": {}}, "Cmd": None, "Labels": {"l": "v"}}
    }
    settings = parse_settings(json.dumps(config).encode())
    assert (settings.environment, settings.ports, settings.labels) == ({"A": "1=2"}, ("1/tcp", "2/tcp"), {"l": "v"})
    assert (settings.command, settings.workdir, settings.user) == ((), "/", "")
