"""inspect, verify and load as commands, which ``fategen bundle`` and ``fategen-load.pyz`` have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from generator.bundle import report
from generator.bundle.engines import engine_from_name
from generator.bundle.load import load as load_bundle
from generator.bundle.reader import extract, file_or_stdin
from generator.bundle.reader import inspect as inspect_bundle
from generator.bundle.reader import verify as verify_bundle
from generator.bundle.signature import signature_check
from generator.errors import InputError, Problem
from generator.progress import Bar, say
from generator.stdio import show, stdout_bytes


def inspect(file: Path, name: str, output_format: str) -> None:
    """Print the contents of a bundle, or with ``name`` that small file of it."""
    if name:
        stdout_bytes().write(extract(file_or_stdin(file), name))
        return
    inspection = inspect_bundle(file_or_stdin(file))
    show(output_format, report.bundle_json(inspection.index, inspection.size), report.inspected(inspection))
    if warning := report.inspected_warning(inspection):
        say(warning)


def verify(file: Path, key: Path | None, output_format: str, quiet: bool) -> None:
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        result = verify_bundle(file_or_stdin(file), approve=signature_check(key) if key else None, progress=bar)
    checked = {"blobs": result.blobs, "whole": True, "signer": result.signer}
    document = {**report.bundle_json(result.index, result.size), **checked}
    show(output_format, document, report.verified(result, time.monotonic() - start))


def load(
    file: Path,
    bases: Sequence[Path],
    into: str,
    key: Path | None,
    output_format: str,
    quiet: bool,
    **options: Any,
) -> None:
    """``options`` are those of ``bundle.load``: ``only``, ``platform``, ``retag``."""
    approve = signature_check(key) if key else None
    if [str(each) for each in (file, *bases)].count("-") > 1:
        raise InputError(Problem("-", "standard input can be read only once"), hint="pass paths for the other files")
    sources = [file_or_stdin(each) for each in (file, *bases)]
    with Bar("loading", quiet) as bar:
        engine = engine_from_name(into)
        result = load_bundle(sources[0], engine, bases=sources[1:], approve=approve, progress=bar, **options)
    images = [{**asdict(image), "state": image.state} for image in result.images]
    document = {"root": result.index.root, "platform": result.platform, "signer": result.signer, "images": images}
    show(output_format, document, report.loaded(result))
