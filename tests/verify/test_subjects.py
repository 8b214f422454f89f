"""Results are kept by the image's digest, and made again where image, contract or platform is another."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from generator.catalogue.contract import Contract, File, Item
from generator.verify.engine_images import list_layers
from generator.verify.kept import Kept, Parts
from generator.verify.layers import Entry
from generator.verify.subjects import Subject, check_unstarted
from tests.bundle.layouts import tar_of

ONE = Subject("one", "one:1", "linux/amd64", "sha256:1", Contract(workdir=Item("/", "c.yaml:1")))
FILE = Entry("file", 0o644, 0, 0, 5, "")


class Source:
    """Counts what it is asked for."""

    def __init__(self, kept: Kept) -> None:
        self.kept, self.asked = kept, list[tuple[str, str]]()

    def __call__(self, wanted: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Parts]:
        self.asked += wanted
        self.kept.put_layer("sha256:l", {"/etc/a": FILE})
        found = {key: Parts(b"{}", ("sha256:l",)) for key in wanted if key[1] == "linux/amd64"}
        for key, parts in found.items():
            self.kept.put_image(*key, parts)
        return found


def test_an_image_that_was_met_is_not_read_again(tmp_path: Path) -> None:
    first = Source(Kept(tmp_path))
    results = check_unstarted([ONE], first, first.kept)
    again = Source(Kept(tmp_path))
    assert check_unstarted([ONE], again, again.kept) == results
    assert (first.asked, again.asked) == ([("sha256:1", "linux/amd64")], [])


def test_another_contract_is_checked_without_reading_the_image_again(tmp_path: Path) -> None:
    check_unstarted([ONE], Source(Kept(tmp_path)), Kept(tmp_path))
    source = Source(Kept(tmp_path))
    other = replace(ONE, contract=Contract(files=(File("/etc/b", "", "", "", "", "c.yaml:2"),)))
    (results,) = check_unstarted([other], source, source.kept).values()
    assert source.asked == [] and not results[0].ok


def test_another_digest_is_read(tmp_path: Path) -> None:
    check_unstarted([ONE], Source(Kept(tmp_path)), Kept(tmp_path))
    source = Source(Kept(tmp_path))
    check_unstarted([replace(ONE, id="sha256:2")], source, source.kept)
    assert source.asked == [("sha256:2", "linux/amd64")]


def test_a_platform_that_the_image_has_not_is_a_failure(tmp_path: Path) -> None:
    source = Source(Kept(tmp_path))
    (results,) = check_unstarted([replace(ONE, platform="linux/arm64")], source, source.kept).values()
    assert [(r.check, r.ok, r.found) for r in results] == [("platform", False, "the image has it not")]


def test_a_file_that_is_not_what_was_kept_is_made_again(tmp_path: Path) -> None:
    check_unstarted([ONE], Source(Kept(tmp_path)), Kept(tmp_path))
    for path in tmp_path.glob("*/*.json"):
        path.write_text('{"torn":', encoding="utf-8")
    source = Source(Kept(tmp_path))
    (results,) = check_unstarted([ONE], source, source.kept).values()
    assert source.asked and results[0].ok


def saved(layer: bytes) -> tuple[io.BytesIO, str]:
    """The stream of a ``docker save``, and the name of its only layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for content in (json.dumps({"layers": []}).encode(), layer):
            info = tarfile.TarInfo(f"blobs/sha256/{hashlib.sha256(content).hexdigest()}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return io.BytesIO(out.getvalue()), "sha256:" + hashlib.sha256(layer).hexdigest()


def test_of_an_engine_s_stream_layers_are_listed_and_documents_kept(tmp_path: Path) -> None:
    stream, name = saved(gzip.compress(tar_of({"etc/a": b"12345"}), mtime=0))
    found = list_layers(stream, Kept(tmp_path))
    assert found.layers == {name: {"/etc/a": FILE}}
    assert list(found.documents.values()) == [b'{"layers": []}']


def test_a_layer_that_was_met_goes_by(tmp_path: Path) -> None:
    stream, name = saved(tar_of({"etc/a": b"12345"}))
    kept = Kept(tmp_path)
    kept.put_layer("sha256:d", {"/etc/a": FILE})
    kept.put_blob(name, "sha256:d")
    assert list_layers(stream, kept).layers == {}
