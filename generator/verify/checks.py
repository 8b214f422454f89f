"""Contract and evidence -> results: every check that needs no start. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cache

from generator.catalogue.contract import Contract, File, Item
from generator.text import human
from generator.verify.evidence import Evidence
from generator.verify.layers import Entry
from generator.verify.results import Result

SETUID = 0o6000
SHOWN = 3
"""Paths in a result."""
ALWAYS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")
"""Directories of programs, whatever an image's PATH says."""
_INTERPRETER = re.compile(r"(?:/usr)?/lib[^/]*/ld(?:-linux|-musl|64\.so)[^/]*")
"""What the kernel starts a dynamically linked program with: of glibc, of musl, of glibc on ppc64le and s390x."""
_EMULATOR = re.compile(r".*/qemu-[^/]+-static")
"""What some arm images carry so that another machine can start them: for that machine on purpose."""
_PROGRAMS = {
    "386": "32-bit LSB machine 3",
    "ppc64le": "64-bit LSB machine 21",
    "s390x": "64-bit MSB machine 22",
    "arm": "32-bit LSB machine 40",
    "amd64": "64-bit LSB machine 62",
    "arm64": "64-bit LSB machine 183",
    "riscv64": "64-bit LSB machine 243",
}
"""Architecture of a Docker platform -> what ``elf_of`` says of its programs; arm/v7 and amd64/v3 have the same."""
_ARCHITECTURES = {elf: architecture for architecture, elf in _PROGRAMS.items()}
_UNITS = {"MB": 10**6, "GB": 10**9}
_WILD = re.compile(r"\*\*/|\*\*|\*|\?")


def check(image: str, platform: str, contract: Contract, evidence: Evidence) -> tuple[Result, ...]:
    """Every result, in the order of the contract: configuration, files, what may not be there, size; binaries."""

    def result(name: str, where: str, expected: str, found: str, ok: bool | None = None, next: str = "") -> Result:
        ok = expected == found if ok is None else ok
        return Result(image, platform, name, ok, expected, found, where, next="" if ok else next)

    def results() -> Iterator[Result]:
        settings = evidence.settings
        for name, words, actual in (
            # the entrypoint first: to set one takes the command away
            ("entrypoint", contract.entrypoint, settings.entrypoint),
            ("command", contract.command, settings.command),
        ):
            if words is not None:
                yield result(name, words.where, _quoted(words.words), _quoted(actual))
        for name, item, text in (
            ("workdir", contract.workdir, settings.workdir),
            ("user", contract.user, settings.user),
        ):
            if item is not None:
                yield result(name, item.where, item.name or "root", text or "root")
        if contract.ports:
            ports = sorted(port.name if "/" in port.name else f"{port.name}/tcp" for port in contract.ports)
            yield result("exposed ports", contract.ports[0].where, " ".join(ports), " ".join(settings.ports) or "none")
        for title, pairs, values in (
            ("label", contract.labels, settings.labels),
            ("environment", contract.environment, settings.environment),
        ):
            for pair in pairs:
                value = values.get(pair.name)
                ok = value is not None and _matches(pair.value, value)
                yield result(f"{title} {pair.name}", pair.where, pair.value, "not set" if value is None else value, ok)
        for file in contract.files:
            yield result(file.name, file.where, *_file(file, evidence))
        for pair in contract.mounted:
            mounted = File(pair.name, type=pair.value, where=pair.where)
            yield result(f"mounted over: {pair.name}", pair.where, *_file(mounted, evidence))
        for pair in contract.absent:
            present = matching(pair.name, evidence)
            expected = f"not there: {pair.value}"
            yield result(f"absent: {pair.name}", pair.where, expected, _some(present, "not there"), not present)
        if contract.setuid:
            yield result("setuid and setgid", contract.setuid[0].where, *_setuid(contract.setuid, evidence))
        if contract.size is not None:
            most, size = number_of_bytes(contract.size.name), evidence.size
            yield result("size", contract.size.where, f"at most {contract.size.name}", human(size), size <= most)
        if contract.where and (binaries := _binaries(platform, evidence)) is not None:
            yield result("binaries", contract.where, *binaries, next=_another_base(image, platform))

    return tuple(results())


def matching(pattern: str, evidence: Evidence) -> list[str]:
    """The paths that match a pattern, in order."""
    if not _WILD.search(pattern):
        return [pattern] if evidence.resolve(pattern) in evidence.files else []
    expression = _compiled(pattern)
    return sorted(path for path in evidence.files if expression.fullmatch(path))


def number_of_bytes(text: str) -> int:
    """``300 MB``, ``2GB``."""
    return int(text[:-2]) * _UNITS[text[-2:]]


def _file(file: File, evidence: Evidence) -> tuple[str, str, bool]:
    """(expected, found, whether that is the same) of one path, or of all that match a pattern."""
    kind = file.type or ("link" if file.target else "")
    parts = [kind or "there"]
    parts += [f"mode {int(file.mode, 8):o}"] if file.mode else []
    parts += [f"owner {file.owner}"] if file.owner else []
    parts += [f"to {file.target}"] if file.target else []
    expected = ", ".join(parts)
    paths = matching(file.name, evidence)
    if not paths:
        return expected, "not there", False
    for path in paths:
        entry = evidence.find(path, follow=kind != "link")
        if (difference := _difference(file, kind, entry, evidence, path)) is not None:
            return expected, f"{path}: {difference}" if _WILD.search(file.name) else difference, False
    return expected, expected, True


def _difference(file: File, kind: str, entry: Entry | None, evidence: Evidence, path: str) -> str | None:
    """What an entry is, where it is not what is asked for."""
    if entry is None:
        link = evidence.find(path, follow=False)
        return f"a link to {link.target}, which does not exist" if link else "not there"
    wrong = (
        (kind and entry.type != kind)
        or (file.mode and entry.mode != int(file.mode, 8))
        or (file.owner and f"{entry.uid}:{entry.gid}" != file.owner)
        or (file.target and not _compiled(file.target).fullmatch(entry.target))
    )
    if not wrong:
        return None
    parts = [entry.type]
    parts += [f"mode {entry.mode:o}"] if file.mode else []
    parts += [f"owner {entry.uid}:{entry.gid}"] if file.owner else []
    parts += [f"to {entry.target}"] if entry.type == "link" else []
    return ", ".join(parts)


def _setuid(allowed: Sequence[Item], evidence: Evidence) -> tuple[str, str, bool]:
    expressions = [_compiled(item.name) for item in allowed]
    others = [
        f"{path} (mode {entry.mode:o}, owner {entry.uid}:{entry.gid})"
        for path, entry in sorted(evidence.files.items())
        if entry.mode & SETUID and entry.type == "file" and not any(e.fullmatch(path) for e in expressions)
    ]
    expected = "only the allowed ones"
    return expected, _some(others, expected), not others


def _binaries(platform: str, evidence: Evidence) -> tuple[str, str, bool] | None:
    """Whether the image's programs are for its platform; None where it has none, or the platform is unknown.

    A second interpreter beside the platform's own is for 32-bit programs, which the platform runs as well.
    """
    system, _, architecture = platform.partition("/")
    own = _PROGRAMS.get(architecture.partition("/")[0], "") if system == "linux" else ""
    programs, interpreters = _programs(evidence), _interpreters(evidence)
    if not own or not (programs or interpreters):
        return None
    wrong = {path: elf for path, elf in programs.items() if elf != own and not _EMULATOR.fullmatch(path)}
    if own not in interpreters.values():
        wrong |= interpreters
    expected = f"ELF for {architecture}"
    shown = [f"{path} ({_ARCHITECTURES.get(elf, elf)})" for path, elf in wrong.items()]
    return expected, _some(shown, expected), not wrong


def _programs(evidence: Evidence) -> dict[str, str]:
    """Path -> ELF of the programs that are in a directory of the image's PATH, in its order."""
    places = [*evidence.settings.environment.get("PATH", "").split(":"), *ALWAYS]
    directories = dict.fromkeys(evidence.resolve(f"{place}/.") for place in places if place.startswith("/"))
    order = {directory: number for number, directory in enumerate(directories)}
    programs = [
        (order[posixpath.dirname(path)], path, entry.elf)
        for path, entry in evidence.files.items()
        if entry.elf and posixpath.dirname(path) in order
    ]
    return {path: elf for _, path, elf in sorted(programs)}


def _interpreters(evidence: Evidence) -> dict[str, str]:
    """Path -> ELF: commonly a link to a file that has its version in its name."""
    paths = sorted(path for path in evidence.files if "/ld" in path and _INTERPRETER.fullmatch(path))
    entries = ((path, evidence.find(path)) for path in paths)
    return {path: entry.elf for path, entry in entries if entry is not None and entry.elf}


def _another_base(image: str, platform: str) -> str:
    return (
        f"most likely a base image has no {platform}, and BuildKit used its only platform instead: "
        f"fategen images {image} --external lists the names and the key of each (<NAME>_IMAGE or BASE_REGISTRY), "
        "docker buildx imagetools inspect REFERENCE lists the platforms of one, if it has more than one"
    )


def _some(paths: Sequence[str], none: str) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more if paths else none


def _quoted(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False) if words else "none"


def _matches(pattern: str, value: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), value, re.DOTALL) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stand for no ``/``; ``**`` for anything; ``**/`` for directories, also none."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    literal = _WILD.split(pattern)
    wild = [signs[sign] for sign in _WILD.findall(pattern)]
    joined = "".join(re.escape(text) + sign for text, sign in zip(literal, [*wild, ""], strict=True))
    return re.compile(joined, re.DOTALL)
