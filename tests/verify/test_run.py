"""Results are remembered by the image's digest, and made again where image, contract or platform is another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from generator.catalogue.contract import Contract, File, Item
from generator.progress import Progress, quiet
from generator.verify.layers import Content, Entry, content_of
from generator.verify.origins import Origin, Subject
from generator.verify.run import REMEMBERED, check_unstarted

ONE = Subject("one", "one:1", "linux/amd64", "sha256:1", Contract(workdir=Item("/", "c.yaml:1")))
FILE = Entry("file", 0o644, 0, 0, 5, "")


def run(cache: Path, subject: Subject) -> tuple[list[tuple[str, bool, str]], list[Subject]]:
    """(check, ok, found) of each result of a subject; what had to be read for them."""
    read: list[Subject] = []

    def reader(subjects: Collection[Subject], _: Progress) -> Mapping[Subject, Content]:
        read.extend(subjects)
        return {s: content_of(b"{}", [{"/etc/a": FILE}]) for s in subjects if s.platform == "linux/amd64"}

    (results,) = check_unstarted(Origin((subject,), reader, None), cache / "results.json", quiet).values()
    return [(result.check, result.ok, result.found) for result in results], read


def test_an_image_is_not_read_again(tmp_path: Path) -> None:
    assert run(tmp_path, ONE) == ([("workdir", True, "/")], [ONE])
    assert run(tmp_path, ONE) == ([("workdir", True, "/")], [])


@pytest.mark.parametrize(
    ("other", "result"),
    [
        (replace(ONE, contract=Contract(files=(File("/etc/b", "", "", "", "", "c.yaml:2"),))),
         ("file: /etc/b", False, "not there")),
        (replace(ONE, id="sha256:2"), ("workdir", True, "/")),
        (replace(ONE, platform="linux/arm64"), ("platform", False, "the image does not have it")),
    ],
    ids=["contract", "digest", "platform, which the image lacks"],
)  # fmt: skip
def test_what_is_another_is_read(tmp_path: Path, other: Subject, result: tuple[str, bool, str]) -> None:
    run(tmp_path, ONE)
    assert run(tmp_path, other) == ([result], [other])


def test_a_file_that_is_torn_is_made_again(tmp_path: Path) -> None:
    run(tmp_path, ONE)
    (tmp_path / "results.json").write_text('{"torn":', encoding="utf-8")
    assert run(tmp_path, ONE) == ([("workdir", True, "/")], [ONE])


def test_results_that_cannot_be_remembered_count_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "results.json").mkdir()
    assert run(tmp_path, ONE)[0] == [("workdir", True, "/")]


def test_the_last_results_are_remembered_and_no_others(tmp_path: Path) -> None:
    subjects, new = [replace(ONE, id=str(number)) for number in range(REMEMBERED)], replace(ONE, id="new")
    asked = (*subjects, subjects[0], new, subjects[0], subjects[1])
    assert [read for subject in asked for read in run(tmp_path, subject)[1]] == [*subjects, new, subjects[1]]


def test_an_image_of_which_nothing_is_asked_has_no_result(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(tmp_path, replace(ONE, contract=Contract()))[0] == []
