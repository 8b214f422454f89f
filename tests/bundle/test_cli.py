"""The commands that need no engine: what they print, and their exit codes; what the library exports."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest

from generator import bundle
from generator.bundle.index import short_root
from generator.bundle.report import images_table
from generator.config.reference import familiar, normalize, short
from tests.bundle.conftest import Made
from tests.conftest import Run


def test_inspect(made: Made, file: Path, fategen: Run) -> None:
    code, out, err = fategen("bundle", "inspect", file)
    assert (code, err) == (0, "")
    assert re.search(r"^fgtest/a:1.0 +\d.* B$", out, re.M) and images_table(made.index) in out
    assert short_root(made.index.root) in out


def test_inspect_as_json(made: Made, file: Path, fategen: Run) -> None:
    found = json.loads(fategen("bundle", "inspect", file, "--format", "json")[1])
    assert found["root"] == made.index.root
    assert [i["name"] for i in found["images"]] == ["a", "b", "m"]
    assert all(i["size"] == i["unique"] + i["shared"] for i in found["images"])
    shared = made.index.images[0].platform_images[0].layers[0].blob
    assert [i["shared"] for i in found["images"]] == [shared.size, shared.size, 0]


def test_inspect_sees_a_wrong_size(made: Made, file: Path, fategen: Run) -> None:
    for data, said in ((made.data[:-100], "cut short"), (made.data + b"x", "is too long by 1 B")):
        file.write_bytes(data)
        code, _, err = fategen("bundle", "inspect", file)
        assert (code, said in err) == (0, True)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_standard_input_that_was_closed_from_the_start(
    fategen: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = fategen("bundle", command, "-")
    assert (code, err.splitlines()[0]) == (2, "error: -: standard input is closed")


def test_the_table_tells_an_index_from_its_platforms(made: Made) -> None:
    lines = images_table(made.index).splitlines()
    for image in made.index.images:
        digests = [("index", image.target.digest)] * image.nested + [*image.manifests.items()]
        first = next(n for n, line in enumerate(lines) if line.startswith(f"{familiar(image.references[0])} "))
        below = lines[first + len(image.references) : first + len(image.references) + len(digests)]
        assert [tuple(line.split()) for line in below] == [(what, f"{digest[:15]}…") for what, digest in digests]


def test_verify(made: Made, file: Path, fategen: Run) -> None:
    code, out, _ = fategen("bundle", "verify", file)
    assert (code, "is intact: 3 images, 15 blobs" in out) == (0, True)
    file.write_bytes(made.flipped(made.member("layer:b").start))
    code, out, err = fategen("bundle", "verify", file)
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {file} is damaged: ") and "next: copy bytes " in err


@pytest.mark.parametrize(
    ("reference", "full", "shown", "last"),
    [
        ("mysql:8", "docker.io/library/mysql:8", "mysql:8", "mysql"),
        ("federatedai/egg", "docker.io/federatedai/egg:latest", "federatedai/egg:latest", "egg"),
        ("10.0.0.5:8443/a/b/egg:1", "10.0.0.5:8443/a/b/egg:1", "10.0.0.5:8443/a/b/egg:1", "egg"),
        ("localhost/x:1", "localhost/x:1", "localhost/x:1", "x"),
        ("index.docker.io/x/y:1", "docker.io/x/y:1", "x/y:1", "y"),
        ("docker.io/library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1", "b"),
    ],
)
def test_names(reference: str, full: str, shown: str, last: str) -> None:
    assert normalize(reference) == full
    assert familiar(full) == shown
    assert normalize(shown) == full
    assert short(full) == last


def test_what_it_exports_are_functions_and_types_not_the_modules_of_their_names() -> None:
    for name in bundle.__all__:
        exported = getattr(bundle, name)
        assert not isinstance(exported, types.ModuleType), name
        # a dataclass without a docstring is given its signature
        assert exported.__doc__ and not exported.__doc__.startswith(f"{name}("), name
