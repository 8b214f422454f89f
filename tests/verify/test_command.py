"""What ``fategen verify`` is asked for, before it looks at anything."""

from __future__ import annotations

import pytest

from generator.cli.verify import _check_held
from generator.errors import InputError
from tests.fate_plan import plan_of


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("packages", "only the build uses it"),
        ("mysql", "has no contract in the catalogue"),
        ("third-party", "has no contract in the catalogue"),
    ],
)
def test_what_no_contract_holds_is_never_called_checked(name: str, said: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: {said}"):
        _check_held(plan_of(), ["roll", name])


@pytest.mark.parametrize("name", ["all", "base", "components", "egg"])
def test_what_a_contract_holds_is_checked(name: str) -> None:
    _check_held(plan_of(), [name])
