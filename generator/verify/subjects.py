"""What is verified, and the checks that need no start: subjects and a source of images -> results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.catalogue.contract import Contract
from generator.verify.checks import check
from generator.verify.evidence import Evidence, overlaid, parse_settings
from generator.verify.kept import Kept, Parts
from generator.verify.results import Result


@dataclass(frozen=True)
class Subject:
    """One platform of one image. ``id`` is the digest that its source knows it by."""

    image: str
    reference: str
    platform: str
    id: str
    contract: Contract


Read = Callable[[Collection[tuple[str, str]]], Mapping[tuple[str, str], Parts]]
"""(id, platform) of images that were not met before -> their parts, whose layers are kept then. Perhaps of none."""


def check_unstarted(subjects: Sequence[Subject], read: Read, kept: Kept) -> dict[Subject, tuple[Result, ...]]:
    """The results of each subject, from what is kept where nothing changed: neither image, contract nor checks."""
    found = {subject: kept.results(*_key(subject)) for subject in subjects}
    new = [subject for subject, results in found.items() if results is None]
    parts = {(s.id, s.platform): kept.image(s.id, s.platform) for s in new}
    parts |= read([one for one, there in parts.items() if there is None])
    for subject in new:
        there = parts[subject.id, subject.platform]
        if there is None:
            missing = "the image has it not"
            found[subject] = (
                Result(subject.image, subject.platform, "platform", False, subject.platform, missing, ""),
            )  # fmt: skip
            continue
        results = check(subject.image, subject.platform, subject.contract, evidence(there, kept))
        kept.put_results(results, *_key(subject))
        found[subject] = results
    return {subject: found[subject] or () for subject in subjects}


def evidence(parts: Parts, kept: Kept) -> Evidence:
    """The image that these parts make."""
    layers = [kept.layer(diff_id) or {} for diff_id in parts.layers]
    size = sum(entry.size for layer in layers for entry in layer.values())
    return Evidence(parse_settings(parts.config), overlaid(layers), size)


def _key(subject: Subject) -> tuple[str, ...]:
    return (subject.id, subject.image, subject.platform, repr(subject.contract), _code())


def _code() -> str:
    """The checks themselves: what another version of them found says nothing of this one."""
    sha = hashlib.sha256()
    for name in ("checks.py", "evidence.py", "layers.py", "results.py", "../images/compression.py"):
        sha.update((Path(__file__).parent / name).read_bytes())
    return sha.hexdigest()
