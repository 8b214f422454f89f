"""Archives that attack their reader: refused by the reader of bundles and by that of other tools' archives alike, as
corrupt or unsafe (exit code 4), and nothing is written anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.bundle import check
from generator.bundle.foreign import tarball
from generator.bundle.foreign.convert import convert
from generator.bundle.foreign.recognise import recognise
from generator.bundle.foreign.survey import inspect_foreign, verify_foreign
from generator.bundle.format.archive import TRAILER
from generator.errors import BundleError
from generator.images import compression
from tests.bundle.conftest import Made
from tests.bundle.layouts import sha256
from tests.bundle.tars import blob, docker20, gzip_bomb, head, member, oci, pax, tar

EVIL = b"evil\n" * 30
BLOB = blob(sha256(EVIL))
LONG = "a" * 600
MIB = 1 << 20

MEMBERS: dict[str, bytes] = {
    "parent directory": member("../evil", EVIL),
    "parent directory in the middle": member("blobs/sha256/../../../evil", EVIL),
    "absolute": member("/tmp/evil", EVIL),
    "backslash": member("..\\evil", EVIL),
    "dot in the middle": member("a/./evil", EVIL),
    "two slashes": member("a//evil", EVIL),
    "no name": member("", EVIL),
    "a new line": member("evil\n", EVIL),
    "an escape code": member("\x1b[2Jevil", EVIL),
    "not UTF-8": member(b"evil\xff", EVIL),
    "NUL in the name": member(b"evil\0.json", EVIL),
    "upper-case digest": member(BLOB.upper().replace("BLOBS/SHA256", "blobs/sha256"), EVIL),
    "short digest": member("blobs/sha256/abcd", EVIL),
    "very deep": member("a/" * 40 + "x", EVIL),
    "symlink out": head("evil", 0, b"2", "../../etc/passwd"),
    "symlink to an absolute path": head("evil", 0, b"2", "/etc/passwd"),
    "symlink to nothing": head("evil", 0, b"2", "not-there"),
    "symlink, then a file below it": head("evil", 0, b"2", "manifest.json") + member("evil/passwd", EVIL),
    "symlink, then a file in its place": head("evil", 0, b"2", "manifest.json") + member("evil", EVIL),
    "symlink to a symlink": head("e1", 0, b"2", "e2") + head("e2", 0, b"2", "manifest.json"),
    "symlink to itself": head("evil", 0, b"2", "evil"),
    "symlink in the place of a directory": member("d/x", EVIL) + head("d", 0, b"2", "/etc"),
    "hard link out": head("evil", 0, b"1", "../evil"),
    "hard link to nothing": head("evil", 0, b"1", "etc/passwd"),
    "hard link to a symlink": head("e1", 0, b"2", "manifest.json") + head("e2", 0, b"1", "e1"),
    "character device": head("evil", 0, b"3"),
    "block device": head("evil", 0, b"4"),
    "named pipe": head("evil", 0, b"6"),
    "GNU sparse file": member("evil", EVIL, kind=b"S"),
    "multi-volume": member("evil", EVIL, kind=b"M"),
    "unknown type": member("evil", EVIL, kind=b"Z"),
    "directory with content": member("evil/", EVIL, kind=b"5"),
    "the same name twice": member("evil", EVIL) + member("evil", EVIL[:-1]),
    "the same name twice, once with ./": member("evil", EVIL) + member("./evil", EVIL[:-1]),
    "two sizes (CVE-2025-62518)": pax(size="1") + member("evil", EVIL),
    "two sizes, the other way": pax(size=str(len(EVIL))) + member("evil", b"", size=1) + EVIL,
    "PAX size that is none": pax(size="-1") + member("evil", EVIL),
    "PAX size of a terabyte of digits": pax(size="9" * 5000) + member("evil", EVIL),
    "PAX sparse": pax(GNU__sparse__map="0,1", GNU__sparse__size="1") + member("evil", EVIL),
    "PAX name out": pax(path="../evil") + member("x", EVIL),
    "PAX name with NUL": pax(path="evil\0x") + member("x", EVIL),
    "PAX name twice": member("pax", b"10 path=a\n10 path=b\n", kind=b"x") + member("x", EVIL),
    "two PAX headers": pax(path="a") + pax(path="b") + member("x", EVIL),
    "PAX length that is wrong": member("pax", b"99 path=a\n", kind=b"x") + member("x", EVIL),
    "PAX length of a million digits": member("pax", b"1" * MIB, kind=b"x") + member("x", EVIL),
    "200,000 PAX records": member("pax", b"5 a=\n" * (MIB // 5), kind=b"x") + member("../evil", EVIL),
    "global PAX name": member("pax", b"13 path=evil\n", kind=b"g") + member("x", EVIL),
    "long PAX name": pax(path=LONG) + member("x", EVIL),
    "long GNU name": member("././@LongLink", LONG.encode() + b"\0", kind=b"L") + member("x", EVIL),
    "GNU name of 8 GB": head("././@LongLink", 8 << 30, b"L", field=b"\x80" + (8 << 30).to_bytes(11, "big")),
    "GNU name of 100 MB": head("././@LongLink", 100 << 20, b"L"),
    "GNU names without a member": member("././@LongLink", b"a\0", kind=b"L") * 3,
    "negative size": head("evil", field=b"\xff" * 12),
    "size of 2^95": head("evil", field=b"\x80" + b"\x7f" + b"\xff" * 10),
    "size that is no number": head("evil", field=b"0000000012x\0"),
    "wrong checksum": head("evil")[:148] + b"0000000\0" + head("evil")[156:],
    "more than the file has": head("evil", 1 << 33, field=b"\x80" + (1 << 33).to_bytes(11, "big")),
}


def read(path: Path) -> None:
    """All that can be done with another tool's archive."""
    failures = []
    for work in (inspect_foreign, verify_foreign, lambda found: convert(found, path.with_name("out.fate.tar"))):
        with recognise(path) as found, pytest.raises(BundleError) as failed:
            work(found)
        failures.append(failed.value)
    assert {failure.exit_code for failure in failures} == {4}


def snapshot(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_no_such_member_in_another_tools_archive(members: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a.tar"
    path.write_bytes(tar(docker20("a"), members))
    before = snapshot(tmp_path)
    read(path)
    assert snapshot(tmp_path) == before
    # and before everything else
    path.write_bytes(members + tar(docker20("a")))
    read(path)
    assert snapshot(tmp_path) == before


def test_no_such_member_in_a_bundle(made: Made) -> None:
    places = (made.plan.members[1].offset, made.member("index.json").offset, len(made.data) - len(TRAILER))
    for (name, members), at in itertools.product(MEMBERS.items(), places):
        with pytest.raises(BundleError) as failed:
            check.verify(io.BytesIO(made.data[:at] + members + made.data[at:]))
        assert failed.value.exit_code == 4, name


def test_an_archive_without_them_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar(docker20("a"), member("good", EVIL)))
    with recognise(path) as found:
        assert verify_foreign(found).problems == ()


@pytest.mark.parametrize("name", [blob(sha256(b"other")), f"{sha256(b'other')[7:]}.tar", sha256(b"other")])
def test_content_that_its_name_does_not_state(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar({**docker20("a"), name: EVIL}))
    with recognise(path) as found, pytest.raises(BundleError, match="does not match the digest in its name"):
        verify_foreign(found)


DEEP = b"[" * 100_000
DOCUMENTS = {
    "deep": DEEP,
    "deep objects": b'{"a":' * 100_000,
    "not closed": b'[{"Config"',
    "a key twice": b'[{"Config":"a","Config":"b","Layers":[]}]',
    "not a number": b'[{"Config":NaN,"Layers":[]}]',
    "a number of a million digits": b'[{"Config":' + b"1" * MIB + b',"Layers":[]}]',
    "not UTF-8": b'["\xff"]',
    "no list": b'{"Config":"a"}',
    "no text": b'[{"Config":7,"Layers":[]}]',
    "paths as names": b'[{"Config":"../../../etc/passwd","Layers":["/etc/shadow"]}]',
    "an escape code": b'[{"Config":"\\u001b[2J","Layers":[]}]',
    "100 layers, all one": b'[{"Config":"x.json","Layers":[%s]}]' % b",".join([b'"x.json"'] * 100),
}


@pytest.mark.parametrize("name", ["manifest.json", "index.json"])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_that_are_none(document: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    files = {**oci("a"), "manifest.json": b"[]", name: document}
    path.write_bytes(tar(files))
    for work in (verify_foreign, lambda found: convert(found, tmp_path / "out.fate.tar")):
        with recognise(path) as found, pytest.raises(BundleError) as failed:
            work(found)
        assert "\x1b" not in failed.value.render()
    with recognise(path) as found:
        assert inspect_foreign(found).problems, "inspect shows what there is, and what is wrong with it"


class Zeros(io.RawIOBase):
    """A stream of a head, and then of zeros without end."""

    name = "the input"

    def __init__(self, head: bytes, then: Callable[[], bytes] = lambda: bytes(MIB)) -> None:
        self._head, self._then, self.given = head, then, 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._head or self._then()
        data, self._head = left[:size], left[size:]
        self.given += len(data)
        return data


def bounded(stream: object, limit: int = 200 << 20) -> int:
    """What reading this stream took of memory, in bytes; it must fail as an unsafe archive."""
    tracemalloc.start()
    try:
        with pytest.raises(BundleError), recognise(stream) as found:  # type: ignore[arg-type]
            if found.bundle is not None:
                check.verify(found.bundle)
            else:
                verify_foreign(found)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < limit
    return used


def test_zeros_without_end_behind_the_end() -> None:
    stream = Zeros(tar(docker20("a")))
    bounded(stream, 8 << 20)
    assert stream.given < 4 << 20


def test_names_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "MAX_MEMBERS", 1000)
    numbers = itertools.count()
    stream = Zeros(b"", lambda: b"".join(head(f"a{next(numbers)}") for _ in range(100)))
    bounded(stream, 2 << 20)
    assert stream.given < 2 << 20


def test_long_names_without_end() -> None:
    one = member("././@LongLink", bytes(MIB - 512), kind=b"L")
    stream = Zeros(b"", lambda: one)
    bounded(stream, 40 << 20)
    assert stream.given < 40 << 20


def test_metadata_without_end() -> None:
    numbers = itertools.count()
    document = b"{}" + b" " * (4 * MIB - 2)
    stream = Zeros(b"", lambda: member(f"{next(numbers)}.json", document))
    bounded(stream)
    assert stream.given < 80 << 20


def test_an_index_of_100_mb(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(head("index.json", 100 << 20))
        file.truncate(100 << 20)
    with recognise(path) as found, pytest.raises(BundleError, match=r"index.json has 104,857,600 bytes"):
        inspect_foreign(found)


@pytest.fixture
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs of the real size are in tests/e2e/test_foreign.py: they take seconds."""
    monkeypatch.setattr(compression, "SLACK", MIB)


@pytest.mark.usefixtures("small_bombs")
def test_a_bomb_as_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip_bomb(4 * MIB, 8, head("layer.tar", 1 << 32, field=b"\x80" + (1 << 32).to_bytes(11, "big"))))
    assert bounded(path, 8 << 20)


@pytest.mark.usefixtures("small_bombs")
def test_a_bomb_as_a_layer(tmp_path: Path) -> None:
    """Its digest is right, as the attacker made it; what it unpacks to is not known, and nobody waits for it."""
    path = tmp_path / "a.tar"
    path.write_bytes(tar({**docker20("a"), "a2/layer.tar": gzip_bomb(4 * MIB, 8)}))
    with recognise(path) as found, pytest.raises(BundleError, match="more than 200 bytes come out for each one"):
        verify_foreign(found)


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress])
def test_streams_with_nothing_in_them(packer: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(packer(head("layer.tar", 1 << 30)) + packer(b"") * 2000)
    with recognise(path) as found, pytest.raises(BundleError, match="hardly anything in them"):
        verify_foreign(found)


def test_a_window_of_two_gigabytes(tmp_path: Path) -> None:
    pytest.importorskip("backports.zstd" if os.sys.version_info < (3, 14) else "compression.zstd")  # type: ignore[attr-defined]
    path = tmp_path / "a.tar.zst"
    # a frame header (RFC 8878, 3.1.1.1) with a window of 2^31 bytes, then one raw block
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x01\x10\x00" + bytes(512))
    bounded(path, 8 << 20)


def test_an_xz_dictionary_of_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(tar(docker20("a")), filters=filters))
    at = data.index(b"\x21\x01")  # the filter's id, the length of its properties, and the dictionary's size
    data[at + 2] = 36  # 1 GiB (the xz file format, 5.3.1)
    size = (data[12] + 1) * 4
    data[12 + size - 4 : 12 + size] = zlib.crc32(bytes(data[12 : 12 + size - 4])).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    bounded(path, 8 << 20)


def test_json_may_be_spread_over_many_files(tmp_path: Path) -> None:
    """The bound is on all of them together, so that no real archive meets it: 2,000 images of 4 kB each are 8 MB."""
    files = {f"{n}/json": json.dumps({"id": n, "pad": "x" * 4000}).encode() for n in range(2000)}
    path = tmp_path / "a.tar"
    path.write_bytes(tar({**files, **docker20("a")}))
    with recognise(path) as found:
        assert [image.label for image in inspect_foreign(found).images] == ["fgtest/a:1.0"]
