"""Times that overlap."""

from __future__ import annotations

from collections.abc import Sequence


def union_length(spans: Sequence[tuple[float, float]]) -> float:
    """The length that intervals cover together."""
    total, end = 0.0, float("-inf")
    for begin, finish in sorted(spans):
        total += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return total
