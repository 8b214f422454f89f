"""What ``fategen bundle inspect`` and ``verify`` say of archives of other tools."""

from __future__ import annotations

import json
import time

import click

from generator.bundle.foreign.recognise import Recognised
from generator.bundle.foreign.report import as_json, rows
from generator.bundle.foreign.survey import Survey, damaged, inspect_foreign, verify_foreign
from generator.bundle.report import COLUMNS
from generator.errors import BundleError
from generator.progress import Bar
from generator.text import human, table


def show(found: Recognised, form: str) -> None:
    """``inspect`` of another tool's archive; BundleError, as of ``verify``, where no image is in it."""
    with Bar("reading", quiet=form == "json") as bar:
        seen = inspect_foreign(found, bar)
    if form == "json":
        click.echo(json.dumps(as_json(seen), indent=2))
    elif seen.images:
        _report(seen)
    if not seen.images:
        raise damaged(seen.name, list(seen.problems))


def _report(seen: Survey) -> None:
    packed = f", {seen.compression}-compressed" if seen.compression else ""
    click.echo(f"{seen.name}: {seen.format}{packed}, {human(seen.size)}\n")
    click.echo(table(COLUMNS, rows(seen)) + "\n")
    if seen.problems:
        click.echo("damaged, so that it loads nowhere as it should:")
        click.echo("".join(f"  {problem}\n" for problem in seen.problems))
    click.echo(table(("LOADER", "", ""), [(v.loader, "takes it" if v.takes else "no", v.why) for v in seen.loaders]))
    _notes(seen)


def check(found: Recognised, form: str, quiet: bool, *, signed: bool) -> None:
    """``verify`` of another tool's archive; BundleError where it should be ``signed``, which only bundles are."""
    if signed:
        message = f"{found.name} has no signature: it is another tool's archive, not a bundle"
        raise BundleError(message, hint="fategen bundle convert makes a bundle of it, and bundle sign signs that")
    start = time.monotonic()
    with Bar("checking", quiet) as bar:
        seen = verify_foreign(found, bar)
    if form == "json":
        click.echo(json.dumps({**as_json(seen), "files": seen.files, "whole": True}, indent=2))
        return
    images = len(seen.images)
    click.echo(
        f"{seen.name} is whole: {seen.format}, {images} image{'s' * (images > 1)}, {seen.files} files, "
        f"{human(seen.size)}, {time.monotonic() - start:.1f} s\n"
        "it has no root digest: nothing in it tells whether it is the one that was sent"
    )
    _notes(seen)


def _notes(seen: Survey) -> None:
    for note in seen.notes:
        click.echo(f"note: {note}", err=True)
