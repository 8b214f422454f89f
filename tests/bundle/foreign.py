"""Reads, checks and converts archives of other tools, for their tests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from generator.bundle import check
from generator.bundle.foreign.convert import convert
from generator.bundle.foreign.recognise import recognise
from generator.bundle.foreign.survey import Survey, inspect_foreign, verify_foreign
from generator.images.oci import Layers

Files = Mapping[str, bytes | str]


def look(source: Path | io.BytesIO) -> Survey:
    with recognise(source) as found:
        return inspect_foreign(found)


def verify(source: Path) -> Survey:
    with recognise(source) as found:
        return verify_foreign(found)


def bundle(source: Path, layers: Layers = "keep", *rename: str) -> bytes:
    output = source.with_name("out") / "x.fate.tar"
    output.parent.mkdir(exist_ok=True)
    with recognise(source) as found:
        convert(found, output, layers=layers, rename=rename)
    assert {path.name for path in output.parent.iterdir()} == {"x.fate.tar", "x.fate.tar.sha256"}, "no spool is left"
    check.verify(output)
    return output.read_bytes()
