"""Gets a small file out of a bundle: its bytes, to be printed, never a path that an archive names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from generator.bundle.check import read_record
from generator.bundle.format.archive import BLOCK, Reads, header, padding
from generator.bundle.format.small_files import FOLDER
from generator.bundle.format.source import opened
from generator.bundle.format.walk import take
from generator.errors import BundleError, InputError, Problem, did_you_mean


def extract(source: Path | Reads, name: str) -> bytes:
    """The content of ``fategen/NAME``, checked against the record; what stands behind it is not read.

    InputError: the bundle has no such file; BundleError: it is not a bundle, or damaged up to there.
    """
    with opened(source) as (stream, where, _):
        plan = read_record(stream, where)
        names = [file.name for file in plan.index.files]
        if name not in names:
            wrong = f"is not in {where}{did_you_mean(name, names)}"
            raise InputError(Problem(name, wrong), hint=f"it holds {', '.join(names) or 'images only'}")
        for member in plan.members[1:]:
            data = take(stream, BLOCK + member.size + padding(member.size), where)
            content = data[BLOCK : BLOCK + member.size]
            if member.name == FOLDER + name:
                break
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if data[:BLOCK] != header(member.name, member.size) or found != member.digest:
        message = f"{where} is damaged: {member.name}, bytes {member.offset:,}-{member.end - 1:,} of the file"
        raise BundleError(message, hint="copy that range again, or the whole file")
    return content
