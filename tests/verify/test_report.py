"""Results as a table, as JSON and as JUnit's XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from generator.verify.results import Result, report_json, report_junit, report_table

GOOD = Result("workdir", "c.yaml:3", "/app", "/app", True, image="roll", platform="linux/amd64")
BAD = replace(GOOD, image="egg", check="port 7888", where="c.yaml:9", expected="accepts", found="nothing listens",
              ok=False, log=("boom", "\x1b[2J"), seconds=1.5)  # fmt: skip


def test_failures_come_first_with_expected_found_line_next_step_and_log() -> None:
    assert report_table([GOOD, replace(BAD, next="ask it again")]).splitlines() == [
        "FAILED  egg linux/amd64: port 7888  (c.yaml:9)",
        "  expected  accepts",
        "  found     nothing listens",
        "  next      ask it again",
        "  | boom",
        "  | ?[2J",
        "",
        "IMAGE  PLATFORM     CHECKS  RESULT     TIME",
        "roll   linux/amd64       1  ok",
        "egg    linux/amd64       1  1 failed  1.5 s",
    ]


def test_checks_beside_each_other_take_no_longer_than_the_longest() -> None:
    first, beside, later = (replace(BAD, begun=begun) for begun in (100.0, 100.5, 200.0))
    assert report_table([first, beside, later]).splitlines()[-1].endswith(" 3.5 s")
    assert ElementTree.fromstring(report_junit([first, beside, later])).attrib["time"] == "3.500"


def test_a_column_or_a_line_in_which_nothing_would_stand_is_left_out() -> None:
    assert report_table([GOOD]).splitlines()[0] == "IMAGE  PLATFORM     CHECKS  RESULT"
    assert "next  " not in report_table([BAD]) and "c.yaml:9\nboom" in report_junit([BAD])


def test_json_has_every_field_of_every_result_in_ascii() -> None:
    said = report_json([replace(BAD, found="/usr/caf\udce9 é")])
    assert said.isascii() and json.loads(said) == [
        {
            "image": "egg", "platform": "linux/amd64", "check": "port 7888", "ok": False, "expected": "accepts",
            "found": "/usr/caf\udce9 é", "where": "c.yaml:9", "log": ["boom", "\x1b[2J"], "seconds": 1.5,
            "begun": 0.0, "next": "",
        }
    ]  # fmt: skip


def test_junit_has_a_suite_for_each_image_and_is_xml_whatever_a_log_holds() -> None:
    root = ElementTree.fromstring(report_junit([GOOD, replace(BAD, next="ask it again")]))
    assert (root.attrib["tests"], root.attrib["failures"]) == ("2", "1")
    assert [(suite.attrib["name"], suite.attrib["failures"]) for suite in root] == [
        ("roll linux/amd64", "0"), ("egg linux/amd64", "1")
    ]  # fmt: skip
    failure = root[1][0][0]
    assert failure.attrib["message"] == "expected accepts, found nothing listens"
    assert (failure.text or "").splitlines()[1:] == ["c.yaml:9", "ask it again", "boom", "?[2J"]
