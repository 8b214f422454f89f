"""What the checks found, for people (failures first), scripts (JSON) and CI servers (JUnit's XML)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from xml.etree import ElementTree

from generator.text import duration, one_line, table, union_length


@dataclass(frozen=True)
class Result:
    """One check of one image and platform, or of one party (which has no platform).

    ``check`` names what was looked at (``file: /opt/tool/conf``, ``port 8011``); ``where`` is the catalogue's
    ``file:line`` that asks for it. ``log`` has the container's last lines. ``seconds`` is how long the check took and
    ``begun`` its beginning (since 1970): checks run in parallel. ``next`` is the next step after a failure.
    """

    check: str
    where: str
    expected: str
    found: str
    ok: bool
    log: tuple[str, ...] = ()
    image: str = ""
    platform: str = ""
    seconds: float = 0.0
    begun: float = 0.0
    next: str = ""


def failures(results: Iterable[Result]) -> tuple[Result, ...]:
    return tuple(result for result in results if not result.ok)


def report_table(results: Sequence[Result]) -> str:
    """Each failure with what was expected and found, then a line for each image and platform."""
    rows = []
    for (image, platform), group in _by_image(results).items():
        failed, seconds = len(failures(group)), _elapsed(group)
        verdict = f"{failed} failed" if failed else "ok"
        rows.append((image, platform, str(len(group)), verdict, duration(seconds) if seconds else ""))
    head = ("IMAGE", "PLATFORM", ">CHECKS", "RESULT", ">TIME")
    columns = len(head) if any(row[-1] for row in rows) else len(head) - 1
    summary = table(head[:columns], [row[:columns] for row in rows])
    return "\n\n".join([*map(_failure, failures(results)), summary])


def report_json(results: Sequence[Result]) -> str:
    """Every result with every field, in the order of the checks."""
    return json.dumps([asdict(result) for result in results], indent=2)


def report_junit(results: Sequence[Result]) -> str:
    """JUnit's XML, as Jenkins and GitLab read it: a suite for each image and platform, a case for each check."""
    root = ElementTree.Element("testsuites", _counts(results))
    for (image, platform), group in _by_image(results).items():
        name = f"{image} {platform}".strip()
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": name, **_counts(group), "errors": "0", "skipped": "0"}
        )
        for result in group:
            case = {"classname": _xml(name), "name": _xml(result.check), "time": f"{_elapsed([result]):.3f}"}
            element = ElementTree.SubElement(suite, "testcase", case)
            if not result.ok:
                message = f"expected {result.expected}, found {result.found}"
                failure = ElementTree.SubElement(element, "failure", {"type": "contract", "message": _xml(message)})
                lines = [message, result.where, *([result.next] if result.next else []), *result.log]
                failure.text = _xml("\n".join(lines))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


REPORTS: Mapping[str, Callable[[Sequence[Result]], str]] = {
    "table": report_table,
    "json": report_json,
    "junit": report_junit,
}


def _failure(result: Result) -> str:
    where = f"  ({result.where})" if result.where else ""
    subject = f"{result.image} {result.platform}".strip()
    lines = [f"FAILED  {subject}: {one_line(result.check)}{where}"]
    lines += [f"  expected  {one_line(result.expected)}", f"  found     {one_line(result.found)}"]
    lines += [f"  next      {one_line(result.next)}"] if result.next else []
    return "\n".join([*lines, *(f"  | {one_line(line)}" for line in result.log)])


def _by_image(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.image, result.platform), []).append(result)
    return groups


def _elapsed(results: Iterable[Result]) -> float:
    """Seconds in which at least one of them ran."""
    return union_length([(result.begun, result.begun + result.seconds) for result in results])


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {"tests": str(len(results)), "failures": str(len(failures(results))), "time": f"{_elapsed(results):.3f}"}


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold (its section 2.2): a log can have any byte."""
    return "".join(char if char in "\t\n" or char.isprintable() else "?" for char in text)
