"""Text for one line of a terminal."""

from __future__ import annotations

import pytest

from generator.text import cells, duration, human, one_line, shorten, table, timestamp, union_length


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("RUN --mount=type=cache,id=a \\\n   --mount=type=secret,id=b   make  all", "RUN \\ make all"),
        ("RUN printf \x1b[2J", "RUN printf ?[2J"),
        ("RUN <<'EOF' (# compile storage-service...)", "compile storage-service"),
        ("RUN --mount=type=cache,target=/x <<-EOF (#pip install (all)...)", "pip install (all)"),
        ("RUN <<EOF (# one line)", "one line"),
        ("RUN <<'EOF' (set -eu...)", "RUN <<'EOF' (set -eu...)"),
        ("COPY <<'EOF' /bin/x (# x...)", "COPY <<'EOF' /bin/x (# x...)"),
    ],
)
def test_a_step_is_named_in_one_line_and_a_script_by_the_comment_that_begins_it(step: str, name: str) -> None:
    assert one_line(step) == name


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"),
     ("日本語", 6, "日本語"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"), ("abc", 0, ""),
     ("e\u0301tude", 5, "e\u0301tude")],
)  # fmt: skip
def test_text_is_cut_to_the_columns_of_a_terminal(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short
    assert cells(short) <= width


def test_times_and_sizes_are_for_people() -> None:
    assert [duration(s) for s in (4.26, 59.94, 59.96, 62, 3725)] == ["4.3 s", "59.9 s", "1m00s", "1m02s", "1h02m"]
    assert (human(84_499_999), human(1_250_000), human(999)) == ("84 MB", "1.2 MB", "999 B")
    assert [human(size) for size in (0, 1000, 999_600, 12 * 10**12)] == ["0 B", "1.0 kB", "1.0 MB", "12,000 GB"]


def test_time_that_spans_cover_together_counts_once() -> None:
    assert union_length([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert union_length([]) == 0


def test_a_time_of_go_is_read_with_its_fraction_and_its_zone() -> None:
    begin, end = timestamp("2026-11-24T22:00:00Z"), timestamp("2026-11-24T23:00:01.123456789+01:00")
    assert end - begin == pytest.approx(1.123456789)
    assert timestamp("") == timestamp("None") == 0


def test_a_table_is_wrapped_between_words_where_the_fewest_rows_need_it() -> None:
    rows = [("egg", "linux/amd64", "base-image, packages, jre"), *[("roll", "linux/amd64 linux/arm64", "jre")] * 2]
    assert table(("", "PLATFORMS", "FROM"), rows, 42).splitlines() == [
        "      PLATFORMS                FROM",
        "egg   linux/amd64              base-image,",
        "                               packages,",
        "                               jre",
        "roll  linux/amd64 linux/arm64  jre",
        "roll  linux/amd64 linux/arm64  jre",
    ]


def test_a_word_that_is_longer_than_a_table_is_whole() -> None:
    assert table(("A", "B"), [("x" * 90, "b b")], 80).splitlines()[1:] == ["x" * 90 + "  b", " " * 92 + "b"]
