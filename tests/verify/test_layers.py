"""Layers as engines, registries and strangers write them: listed by their headers, refused where they are none."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable

import pytest

from generator.images.strictjson import Malformed
from generator.verify.layers import (
    MAX_NAMES_SIZE,
    MOST_MEMORY,
    Content,
    Entry,
    Listing,
    Room,
    overlaid,
    parse_settings,
    read_layer,
)
from tests.bundle.layouts import sha256, zstd
from tests.bundle.tars import head, member, pax, tar


def tar_of(name: str, content: bytes = b"", form: int = tarfile.PAX_FORMAT, **fields: object) -> bytes:
    """A tar that Python writes, with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def listed(data: bytes, room: int = MOST_MEMORY) -> dict[str, Entry]:
    return dict(read_layer([data], Room(room))[1])


def refused(data: bytes, room: int = MOST_MEMORY) -> str:
    with pytest.raises(Malformed) as caught:
        listed(data, room)
    return str(caught.value)


def test_a_file_has_its_mode_owner_and_size() -> None:
    found = listed(tar_of("usr/bin/su", b"12345", mode=0o4755, uid=7, gid=70000))
    assert found == {"/usr/bin/su": Entry("file", 0o4755, 7, 70000, 5, "")}


TWO, LARGE, EMPTY = tar({"a": b"1" * 2000, "b": b"2"}), tar({"a": bytes(3 << 20)}), bytes(1024)
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("layer", "content", "names"),
    [
        (gzip.compress(TWO[:700]) + gzip.compress(TWO[700:]), TWO, ["/a", "/b"]),
        (gzip.compress(TWO) + bytes(1000), TWO, ["/a", "/b"]),
        (SKIPPABLE + zstd(TWO[:700]) + zstd(TWO[700:]), TWO, ["/a", "/b"]),
        *((pack(LARGE), LARGE, ["/a"]) for pack in (gzip.compress, zstd)),
        (EMPTY, EMPTY, []),
        (gzip.compress(EMPTY), EMPTY, []),
    ],
    ids=["gzip of several members", "zeros behind gzip", "zstd of several frames", "gzip of more than a piece",
         "zstd of more than a piece", "empty", "empty in gzip"],
)  # fmt: skip
def test_a_layer_is_read_to_its_end_in_pieces_of_any_size(
    layer: bytes, content: bytes, names: list[str], step: int
) -> None:
    pieces = (layer[start : start + step] for start in range(0, len(layer), step))
    digest, entries = read_layer(pieces, Room(MOST_MEMORY))
    assert (digest, list(entries)) == (sha256(content), names)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_targets_are_read_in_both_ways_of_writing_them(form: int) -> None:
    found = listed(tar_of("n" * 300, form=form, type=tarfile.SYMTYPE, linkname="t" * 300))
    assert found["/" + "n" * 300].target == "t" * 300


def test_a_name_in_two_parts_is_joined_and_none_is_lost() -> None:
    name = "d" * 90 + "/" + "f" * 90
    assert list(listed(tar_of(name, form=tarfile.USTAR_FORMAT))) == [f"/{name}"]
    assert len(listed(head(b"\xff") + head(b"\xfe"))) == 2, "names that are not UTF-8 stay apart"


def test_a_hard_link_is_one_more_name_of_a_file_whose_size_is_counted_once() -> None:
    found = listed(member("a", b"123", mode=0o4755) + head("b", kind=b"1", link="a"))
    assert found["/b"] == Entry("file", 0o4755, 0, 0, 0, "")


def test_damaged_compression_is_refused() -> None:
    data = bytearray(gzip.compress(tar({"a": bytes(range(256)) * 20})))
    data[40] ^= 0xFF
    assert refused(bytes(data)).startswith(("its compression is damaged", "there is no tar header"))


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compression_that_is_cut_is_refused(pack: Callable[[bytes], bytes]) -> None:
    assert refused(pack(tar({"a": b"1"}))[:-3]) == "its compression ends too early"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (member("a", b"x" * 3000)[:1000], "it ends in the middle of an entry"),
        (b"abc", "it ends in the middle of an entry"),
        (b"hello, world" * 100, "there is no tar header where one belongs"),
        (head("a/../../etc/passwd"), "leads out"),
        (head(kind=b"1", link="/etc/shadow"), "hard link"),
        (head(field=b"-0000000001\0"), "not an octal number"),
        (head(field=b"0000000009z\0"), "not an octal number"),
        (head(kind=b"V"), "unknown type"),
        (head(uid=b"\xff" * 8), "not an octal number"),
        (member("pax", b"99 path=x\n", kind=b"x"), "a pax header is malformed"),
        (member("pax", b"7 path\n", kind=b"x"), "a pax header has a record without a value"),
        (pax(size="-1") + head(), "the size of an entry is '-1'"),
        (pax(path="x" * 4097) + head(), "a path has more than 4,096 characters"),
        (pax(linkpath="x" * 4097) + head(kind=b"2"), "a path has more than 4,096 characters"),
        (pax(SCHILY__xattr__user__x="x" * (MAX_NAMES_SIZE + 1)), "the names of one entry have"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_layer_is_refused(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_a_bomb_is_inflated_piece_by_piece_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    # a header that says 8 GB, then zeros: 4 MB of them in 4 kB
    big = gzip.compress(head(field=b"77777777777\0") + bytes(4 << 20))
    monkeypatch.setattr("generator.verify.layers.MOST_BYTES", 1 << 20)
    assert "more than 1,048,576 bytes" in refused(big)
    monkeypatch.setattr("generator.verify.layers.MOST_BYTES", 2048)
    assert listed(tar({"a": b"1"})) and "more than 2,048 bytes" in refused(tar({"a": b"1"}) + b"1")


def test_entries_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tar(dict.fromkeys("01234", b""))
    assert "more than" in refused(many, room=1000)
    monkeypatch.setattr("generator.verify.layers.MOST_ENTRIES", 3)
    assert "more than 3 entries" in refused(many)


FILE = Entry("file", 0o644, 0, 0, 1, "")
DIRECTORY = Entry("directory", 0o755, 0, 0, 0, "")


def link(target: str) -> Entry:
    return Entry("link", 0o777, 0, 0, 0, target)


SMALL, PRIVATE, LINK = FILE._replace(mode=0o600), DIRECTORY._replace(mode=0o700), link("/e")


@pytest.mark.parametrize(
    ("lower", "upper", "files"),
    [
        ({"/a": FILE, "/b": FILE}, {"/a": SMALL}, {"/a": SMALL, "/b": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE, "/d/s/f": FILE, "/df": FILE}, {"/.wh.d": FILE}, {"/df": FILE}),
        ({"/d": DIRECTORY, "/d/old": FILE}, {"/d": DIRECTORY, "/d/.wh..wh..opq": FILE, "/d/new": FILE},
         {"/d": DIRECTORY, "/d/new": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE}, {"/d": FILE}, {"/d": FILE}),
        ({"/d": DIRECTORY, "/d/f": FILE}, {"/d": PRIVATE}, {"/d": PRIVATE, "/d/f": FILE}),
        ({}, {"/d/e/f": FILE}, {"/d/e/f": FILE, "/d/e": DIRECTORY, "/d": DIRECTORY}),
        ({"/d/f": FILE}, {"/d": LINK}, {"/d": LINK}),
    ],
    ids=["a file", "a whiteout", "an opaque directory", "a file for a directory", "a directory that comes again",
         "directories that the tar leaves out", "a link for such a directory"],
)  # fmt: skip
def test_a_later_layer_covers_an_earlier_one(lower: Listing, upper: Listing, files: Listing) -> None:
    assert overlaid([lower, upper]) == files


def test_directories_that_deep_paths_imply_are_bounded() -> None:
    layer = {f"/{number}" + "/d" * 2000: FILE for number in range(100)}
    with pytest.raises(Malformed, match="leave out too many directories"):
        overlaid([layer])


LINKED = {
    "/usr/bin/su": FILE, "/bin": link("usr/bin"), "/x": link("/bin/../bin"), "/app/a-1.jar": FILE,
    "/app/a.jar": link("a-1.jar"), "/circle": link("/back"), "/back": link("/circle"), "/dead": link("nowhere"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "follow", "found"),
    [("/bin/su", True, FILE), ("/x/su", True, FILE), ("/app/a.jar", True, FILE), ("/app/a.jar", False, link("a-1.jar")),
     *((f"{path}{below}", True, None) for path in ("/circle", "/dead") for below in ("", "/b"))],
)  # fmt: skip
def test_a_path_is_found_through_links_unless_they_lead_nowhere(path: str, follow: bool, found: Entry | None) -> None:
    assert Content(parse_settings(b"{}"), LINKED, 0).find(path, follow=follow) == found


def test_settings_are_those_of_the_config_and_the_defaults_are_dockers() -> None:
    config: dict[str, object] = {
        "config": {"Env": ["A=1=2"], "ExposedPorts": {"2": {}, "1/tcp": {}}, "Cmd": None, "Labels": {"l": "v"}}
    }
    settings = parse_settings(json.dumps(config).encode())
    assert (settings.environment, settings.ports, settings.labels) == ({"A": "1=2"}, ("1/tcp", "2/tcp"), {"l": "v"})
    assert (settings.command, settings.workdir, settings.user) == ((), "/", "")
