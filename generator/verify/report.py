"""Results as people, scripts and a CI server read them: failures first, as JSON, as JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from xml.etree import ElementTree

from generator.text import duration, one_line, table, union_length
from generator.verify.results import Result, failures


def report_table(results: Sequence[Result]) -> str:
    """Each failure with what was expected and found, then a line for each image and platform."""
    parts = [_failure(result) for result in failures(results)]
    rows = []
    for (image, platform), group in _grouped(results):
        bad = len(failures(group))
        took = _elapsed(group)
        said = f"{bad} failed" if bad else "ok"
        rows.append((image, platform, str(len(group)), said, duration(took) if took else ""))
    shown = table(("IMAGE", "PLATFORM", ">CHECKS", "RESULT", ">STARTED FOR"), rows)
    if not any(row[-1] for row in rows):
        shown = table(("IMAGE", "PLATFORM", ">CHECKS", "RESULT"), [row[:-1] for row in rows])
    return "\n\n".join([*parts, shown])


def report_json(results: Sequence[Result]) -> str:
    """Every result with every field, in the order of the checks."""
    return json.dumps([asdict(result) for result in results], indent=2)


def report_junit(results: Sequence[Result]) -> str:
    """JUnit's XML, as Jenkins and GitLab read it: a suite for each image and platform, a case for each check."""
    root = ElementTree.Element(
        "testsuites", tests=str(len(results)), failures=str(len(failures(results))), time=_seconds(results)
    )
    for (image, platform), group in _grouped(results):
        name = f"{image} {platform}".strip()
        suite = ElementTree.SubElement(
            root, "testsuite", name=name, tests=str(len(group)), failures=str(len(failures(group))),
            errors="0", skipped="0", time=_seconds(group),
        )  # fmt: skip
        for result in group:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(name), name=_xml(result.check), time=_seconds([result])
            )
            if not result.ok:
                said = f"expected {result.expected}, found {result.found}"
                failure = ElementTree.SubElement(case, "failure", type="contract", message=_xml(said))
                failure.text = _xml(
                    "\n".join([said, result.where, *([result.next] if result.next else []), *result.log])
                )
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _failure(result: Result) -> str:
    where = f"  ({result.where})" if result.where else ""
    subject = f"{result.image} {result.platform}".strip()
    lines = [f"FAILED  {subject}: {one_line(result.check)}{where}"]
    lines += [f"  expected  {one_line(result.expected)}", f"  found     {one_line(result.found)}"]
    lines += [f"  next      {one_line(result.next)}"] if result.next else []
    return "\n".join([*lines, *(f"  | {one_line(line)}" for line in result.log)])


def _grouped(results: Iterable[Result]) -> list[tuple[tuple[str, str], list[Result]]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.image, result.platform), []).append(result)
    return list(groups.items())


def _elapsed(results: Iterable[Result]) -> float:
    """Seconds while one of them or more were under way."""
    return union_length([(result.begun, result.begun + result.seconds) for result in results])


def _seconds(results: Iterable[Result]) -> str:
    return f"{_elapsed(results):.3f}"


def _xml(text: str) -> str:
    """Without what XML 1.0 cannot hold (its section 2.2): a log can have any byte."""
    kept = (char if char in "\t\n" or char.isprintable() else "?" for char in text)
    return "".join(kept)
