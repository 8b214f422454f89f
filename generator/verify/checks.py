"""The checks that need no start: an image's content against its contract."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from generator.catalogue.contract import Contract, File
from generator.text import human
from generator.verify.layers import MACHINES, Content
from generator.verify.results import Result

SHOWN = 3
"""Paths in a result."""
ALWAYS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin")
"""Directories of programs, whatever an image's PATH says."""
_INTERPRETER = re.compile(r"(?:/usr)?/lib[^/]*/ld(?:-linux|-musl|64\.so)[^/]*")
"""What the kernel starts a dynamically linked program with: of glibc, of musl, of glibc on ppc64le and s390x."""
_EMULATOR = re.compile(r".*/qemu-[^/]+-static")
"""What some arm images carry so that another machine can start them: for that machine on purpose."""
_WILD = re.compile(r"\*\*/|\*\*|\*|\?")


def check(image: str, platform: str, contract: Contract, content: Content) -> tuple[Result, ...]:
    """Every result, in the order of the contract: configuration, files, what may not be there, size; binaries."""
    binaries = _binaries(image, contract, platform, content)
    results = (*_settings(contract, content), *_files(contract, content), *binaries)
    return tuple(replace(result, image=image, platform=platform) for result in results)


def _settings(contract: Contract, content: Content) -> Iterator[Result]:
    """Without image and platform, as the others."""
    settings = content.settings
    # the entrypoint first: to set one takes the command away
    for name, words, actual in (
        ("entrypoint", contract.entrypoint, settings.entrypoint),
        ("command", contract.command, settings.command),
    ):
        if words is not None:
            yield Result(name, words.where, _quoted(words.value), _quoted(actual), words.value == actual)
    for name, item, value in (("workdir", contract.workdir, settings.workdir), ("user", contract.user, settings.user)):
        if item is not None:
            expected, found = item.name or "root", value or "root"
            yield Result(name, item.where, expected, found, expected == found)
    if contract.ports is not None:
        ports = sorted(port.name if "/" in port.name else f"{port.name}/tcp" for port in contract.ports.value)
        expected, found = " ".join(ports) or "none", " ".join(settings.ports) or "none"
        yield Result("exposed ports", contract.ports.where, expected, found, expected == found)
    for title, pairs, values in (
        ("label", contract.labels, settings.labels),
        ("environment", contract.environment, settings.environment),
    ):
        for pair in pairs:
            pattern = ".*".join(map(re.escape, pair.value.split("*")))
            ok = pair.name in values and re.fullmatch(pattern, values[pair.name], re.DOTALL) is not None
            yield Result(f"{title} {pair.name}", pair.where, pair.value, values.get(pair.name, "not set"), ok)


def _files(contract: Contract, content: Content) -> Iterator[Result]:
    files = [("file", file) for file in contract.files]
    files += [("mounted over", File(pair.name, type=pair.value, where=pair.where)) for pair in contract.mounted]
    for asked, file in files:
        kind = file.type or ("link" if file.target else "there")
        expected = _described(file, kind, file.mode, file.owner, file.target)
        found = _difference(file, content)
        yield Result(f"{asked}: {file.name}", file.where, expected, found or expected, not found)
    for pair in contract.absent:
        present = matching(pair.name, content)
        if pair.name.endswith("/**"):
            # an empty directory is no leftover: Java makes one in /tmp when it is tried in a base
            present = [path for path in present if content.files[path].type != "directory"]
        yield Result(
            f"absent: {pair.name}", pair.where, f"not there: {pair.value}", _some(present, "not there"), not present
        )
    if contract.setuid is not None:
        allowed = [_compiled(item.name) for item in contract.setuid.value]
        others = [
            f"{path} (mode {entry.mode:o}, owner {entry.uid}:{entry.gid})"
            for path, entry in sorted(content.files.items())
            if entry.mode & 0o6000 and entry.type == "file" and not any(e.fullmatch(path) for e in allowed)
        ]
        expected = "only the allowed ones" if allowed else "none"
        yield Result("setuid and setgid", contract.setuid.where, expected, ", ".join(others) or expected, not others)
    if contract.size is not None:
        size = contract.size
        most = int(size.name[:-2]) * {"MB": 10**6, "GB": 10**9}[size.name[-2:]]
        yield Result("size", size.where, f"at most {size.name}", human(content.size), content.size <= most)


def matching(pattern: str, content: Content) -> list[str]:
    """The paths that match a pattern, in order."""
    if not _WILD.search(pattern):
        return [pattern] if content.resolve(pattern) in content.files else []
    # the directory before the first sign may be a link, as /bin is in Debian
    head = _WILD.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    expression = _compiled((content.resolve(f"{head}/.") if head else "") + pattern[len(head) :])
    return sorted(path for path in content.files if expression.fullmatch(path))


def _difference(file: File, content: Content) -> str:
    """What is there instead of a file, or of the first that matches its pattern and is another; "" for none."""
    kind = file.type or ("link" if file.target else "")
    paths = matching(file.name, content)
    for path in paths:
        entry = content.find(path, follow=kind != "link")
        if entry is None:
            link = content.find(path, follow=False)
            found = f"a link to {link.target}, which does not exist" if link else "not there"
        elif (
            (kind and entry.type != kind)
            or (file.mode and entry.mode != int(file.mode, 8))
            or (file.owner and f"{entry.uid}:{entry.gid}" != file.owner)
            or (file.target and not _compiled(file.target).fullmatch(entry.target))
        ):
            found = _described(file, entry.type, f"{entry.mode:o}", f"{entry.uid}:{entry.gid}", entry.target)
        else:
            continue
        return f"{path}: {found}" if _WILD.search(file.name) else found
    return "" if paths else "not there"


def _described(file: File, kind: str, mode: str, owner: str, target: str) -> str:
    """In words, of what a contract asks of a file: ``file, mode 644, owner 0:0``."""
    parts = [kind]
    parts += [f"mode {int(mode, 8):o}"] if file.mode else []
    parts += [f"owner {owner}"] if file.owner else []
    parts += [f"to {target}"] if kind == "link" and target else []
    return ", ".join(parts)


def _binaries(image: str, contract: Contract, platform: str, content: Content) -> Iterator[Result]:
    """Whether the image's programs are for its platform; nothing if it has none, or the platform is unknown.

    A second interpreter beside the platform's own is for 32-bit programs, which the platform runs as well.
    """
    system, _, architecture = platform.partition("/")
    own = architecture.partition("/")[0]
    programs, interpreters = _programs(content), _interpreters(content)
    if not contract.where or system != "linux" or own not in MACHINES.values() or not (programs or interpreters):
        return
    wrong = {path: other for path, other in programs.items() if other != own and not _EMULATOR.fullmatch(path)}
    if own not in interpreters.values():
        wrong |= interpreters
    expected = f"ELF for {architecture}"
    shown = [f"{path} ({other})" for path, other in wrong.items()]
    hint = (
        f"most likely a base image has no {platform}, and BuildKit used its only platform instead: "
        f"fategen images {image} --external lists the names and the key of each (<NAME>_IMAGE or BASE_REGISTRY), "
        "docker buildx imagetools inspect REFERENCE lists the platforms of one, if it has more than one"
    )
    found = _some(shown, expected)
    yield Result("binaries", contract.where, expected, found, not wrong, next=hint if wrong else "")


def _programs(content: Content) -> dict[str, str]:
    """Path -> architecture of the programs that are in a directory of the image's PATH, in its order."""
    places = [*content.settings.environment.get("PATH", "").split(":"), *ALWAYS]
    directories = dict.fromkeys(content.resolve(f"{place}/.") for place in places if place.startswith("/"))
    order = {directory: number for number, directory in enumerate(directories)}
    programs = [
        (order[posixpath.dirname(path)], path, entry.elf)
        for path, entry in content.files.items()
        if entry.elf and posixpath.dirname(path) in order
    ]
    return {path: elf for _, path, elf in sorted(programs)}


def _interpreters(content: Content) -> dict[str, str]:
    """Path -> architecture: commonly a link to a file that has its version in its name."""
    paths = sorted(path for path in content.files if "/ld" in path and _INTERPRETER.fullmatch(path))
    return {path: entry.elf for path in paths if (entry := content.find(path)) and entry.elf}


def _some(paths: Sequence[str], none: str) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more if paths else none


def _quoted(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False) if words else "none"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stand for no ``/``; ``**`` for anything; ``**/`` for directories, also none."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    literal = _WILD.split(pattern)
    wild = [signs[sign] for sign in _WILD.findall(pattern)]
    joined = "".join(re.escape(text) + sign for text, sign in zip(literal, [*wild, ""], strict=True))
    return re.compile(joined, re.DOTALL)
