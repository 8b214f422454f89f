"""inspect, verify and load as commands, which ``fategen bundle`` and ``fategen-load.pyz`` have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from generator.bundle.engines import engine_from_name
from generator.bundle.index import short_root
from generator.bundle.load import load as load_bundle
from generator.bundle.reader import extract, file_or_stdin
from generator.bundle.reader import inspect as inspect_bundle
from generator.bundle.reader import verify as verify_bundle
from generator.bundle.report import bundle_json, delta_note, images_table, summary
from generator.bundle.signature import signature_check
from generator.config.reference import familiar
from generator.errors import InputError, Problem
from generator.progress import Bar, say
from generator.stdio import show, stdout_bytes
from generator.text import human, table, without


def inspect(file: Path, name: str, output_format: str) -> None:
    """Print the contents of a bundle, or with ``name`` that small file of it."""
    if name:
        stdout_bytes().write(extract(file_or_stdin(file), name))
        return
    result = inspect_bundle(file_or_stdin(file))
    index, size, file_size = result.index, result.size, result.file_size
    text = f"{images_table(index)}\n\n{summary(index.name, index, size)}\nin full {index.root}"
    show(output_format, bundle_json(index, size), f"{text}\n{delta_note(index)}" if index.bases else text)
    if file_size is not None and file_size > size:
        say(f"warning: {result.name} is too long by {file_size - size:,} B; copy it again")
    elif file_size is not None and file_size < size:
        has = f"it has {file_size:,} of {size:,} bytes"
        say(f"warning: {result.name} is cut short: {has}; copy bytes {file_size}-{size - 1} again")


def verify(file: Path, key: Path | None, output_format: str, quiet: bool) -> None:
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        result = verify_bundle(file_or_stdin(file), approve=signature_check(key) if key else None, progress=bar)
    index, size, seconds = result.index, result.size, time.monotonic() - start
    document = {**bundle_json(index, size), "blobs": result.blobs, "whole": True, "signer": result.signer}
    count = f"{len(index.images)} image{'s' * (len(index.images) > 1)}, {result.blobs} blobs"
    signed = f", signed by {result.signer}" if result.signer else ""
    text = f"{result.name} is intact: {count}, {human(size)}, {seconds:.1f} s{signed}"
    text += f"\nroot digest {short_root(index.root)}: compare it with the sender's"
    show(output_format, document, f"{text}\n{delta_note(index)}" if index.bases else text)


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
    rows = []
    for image in result.images:
        # an ID as docker prints it
        identity, before = (without("sha256:", value)[:12] for value in (image.id, image.before))
        state = {"new": "new", "same": "was there", "replaced": f"replaced {before}"}[image.state]
        rows.append((familiar(image.reference), " ".join(image.platforms), identity, state))
    show(output_format, document, table(("IMAGE", "PLATFORMS", "ID", ""), rows))
