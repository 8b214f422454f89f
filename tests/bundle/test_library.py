"""``generator.bundle`` as programs import it."""

from __future__ import annotations

import io
import types

import pytest

from generator import bundle
from tests.bundle.conftest import Made


def test_what_it_exports_are_functions_and_types_not_the_modules_of_their_names() -> None:
    for name in bundle.__all__:
        assert not isinstance(getattr(bundle, name), types.ModuleType), name
        assert getattr(bundle, name).__doc__, name


def test_progress_gets_bytes_that_grow_to_the_whole(made: Made) -> None:
    seen: list[tuple[int, int]] = []
    bundle.verify(io.BytesIO(made.data), progress=lambda _what, done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {len(made.data)}


def test_what_progress_raises_stops_the_work(made: Made) -> None:
    class Enough(Exception):
        pass

    def stop(_what: str, _done: int, _total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        bundle.verify(io.BytesIO(made.data), progress=stop)
