"""What is published has to be what the gate of ``bake --verify`` saw."""

from __future__ import annotations

import pytest

from generator.bake.phases import hold_against
from generator.errors import BuildError

SEEN = {"r/roll:1": {"linux/amd64": "sha256:a", "linux/arm64": "sha256:b"}}


@pytest.mark.parametrize(
    "pushed",
    [
        {"r/roll:1": {"linux/amd64": "sha256:a", "linux/arm64": "sha256:b"}},
        {"r/roll:1": {"": "sha256:a"}},  # an image without an index says no platform
        {},  # a registry that only the builder reaches
    ],
)
def test_the_same_configs_are_the_same_images(pushed: dict[str, dict[str, str]]) -> None:
    hold_against(SEEN, pushed)


def test_another_config_is_told_with_its_image() -> None:
    with pytest.raises(BuildError) as caught:
        hold_against(SEEN, {"r/roll:1": {"linux/amd64": "sha256:a", "linux/arm64": "sha256:c"}})
    said = "what was published is not what was verified, and the tags name it:"
    assert caught.value.message == f"{said}\n  r/roll:1: config sha256:c"


def test_without_a_gate_nothing_is_compared() -> None:
    hold_against({}, {"r/roll:1": {"linux/amd64": "sha256:c"}})
