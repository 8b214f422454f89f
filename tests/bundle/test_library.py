"""``generator.bundle`` as programs import it."""

from __future__ import annotations

import types

from generator import bundle


def test_what_it_exports_are_functions_and_types_not_the_modules_of_their_names() -> None:
    for name in bundle.__all__:
        exported = getattr(bundle, name)
        assert not isinstance(exported, types.ModuleType), name
        # a dataclass without a docstring is given its signature
        assert exported.__doc__ and not exported.__doc__.startswith(f"{name}("), name
