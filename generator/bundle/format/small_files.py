"""Small files that travel in a bundle beside its images: a compose file, charts, ``.env``, a release's record.

They are members ``fategen/NAME`` right behind the record, which has their digests, so that the root digest covers them.
Loaders ignore them (seen on Docker 20.10 to 28 and containerd). Nothing writes them to a path by their names: whoever
wants one gets its bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.errors import InputError, Problem
from generator.images.strictjson import Malformed, digest, fields, items, size, text

FOLDER = "fategen/"
MAX_FILE = 16 << 20
"""bytes that one file may have: it is held in memory"""
MAX_FILES = 64

# as archive.MEMBER has it
_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TAKEN = frozenset({"bundle.json", "sha256sums"})


@dataclass(frozen=True)
class SmallFile:
    name: str
    digest: str
    size: int


def small_file(name: str, data: bytes) -> SmallFile:
    return SmallFile(name, "sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def wrong_name(name: str) -> str:
    """Why a file cannot have this name in a bundle; "" where it can."""
    if not _NAME.fullmatch(name):
        return f"{name[:80]!r} cannot be a file's name in a bundle (letters, digits, '.', '_', '-', at most 63)"
    return f"{name} is the bundle's own" if name.lower() in _TAKEN else ""


def open_files(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files to put into a bundle, by the last part of their path. InputError lists all that cannot go in."""
    problems: list[Problem] = []
    found: dict[str, bytes] = {}
    for path in paths:
        data = b""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
        if wrong := wrong_name(path.name):
            problems.append(Problem(str(path), wrong))
        if len(data) > MAX_FILE:
            problems.append(Problem(str(path), f"has more than {MAX_FILE:,} bytes; carry it beside the bundle"))
        if path.name.lower() in (name.lower() for name in found):
            problems.append(Problem(str(path), f"a bundle holds one {path.name} only"))
        found[path.name] = data
    if len(found) > MAX_FILES:
        problems.append(Problem("--file", f"{len(found)} files, a bundle holds at most {MAX_FILES}: make an archive"))
    if problems:
        raise InputError(problems)
    return found


def file_json(file: SmallFile) -> dict[str, object]:
    return {"name": file.name, "digest": file.digest, "size": file.size}


def read_files(value: object) -> tuple[SmallFile, ...]:
    """The record's ``files``; ``Malformed`` where they are not what ``file_json`` makes, sorted and each name once."""
    found = []
    for number, entry in enumerate(items(value, "files")):
        where = f"files[{number}]"
        one = fields(entry, where, ("name", "digest", "size"), closed=True)
        file = SmallFile(text(one["name"], where), digest(one["digest"], where), size(one["size"], where))
        if wrong := wrong_name(file.name):
            raise Malformed(f"{where}: {wrong}")
        if file.size > MAX_FILE:
            raise Malformed(f"{where} has {file.size:,} bytes, at most {MAX_FILE:,} are read")
        found.append(file)
    names = [file.name for file in found]
    if not 0 < len(found) <= MAX_FILES or names != sorted(names) or len({name.lower() for name in names}) < len(names):
        raise Malformed(f"files are not a sorted list of 1 to {MAX_FILES} names")
    return tuple(found)
