"""``generator.bundle`` as programs import it."""

from __future__ import annotations

import types

from generator import bundle


def test_what_it_exports_are_functions_and_types_not_the_modules_of_their_names() -> None:
    for name in bundle.__all__:
        assert not isinstance(getattr(bundle, name), types.ModuleType), name
        assert getattr(bundle, name).__doc__, name
