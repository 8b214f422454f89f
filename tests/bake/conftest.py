from __future__ import annotations

import pytest

from generator.plan.plan import Plan
from tests.fate_plan import plan_of


@pytest.fixture(scope="session")
def plan() -> Plan:
    return plan_of()
