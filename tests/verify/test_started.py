"""What is told from what an engine says of a container: who listens, how long an end took, where a stack trace is."""

from __future__ import annotations

import pytest

from generator.verify.started import TRACE, listeners, traces

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F4B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:24A2 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:24A3 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0000000000000000FFFF00000100007F:24A4 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   3: 0200007F:24A5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   4: 0100007F:24A6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   5: 00000000:24A6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   6: 0100007F:24A6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
"""


def test_the_kernel_s_table_says_what_listens_and_for_whom() -> None:
    loopback, both = dict.fromkeys((8080, 9379, 9380, 9381), False), {9382: True}
    assert listeners(TABLE) == {8011: True, 9378: True, **loopback, **both}


@pytest.mark.parametrize(
    ("line", "is_trace"),
    [
        ("\tat com.webank.ai.fate.driver.Federation.main(Federation.java:31)", True),
        ("    at java.base/java.lang.Thread.run(Thread.java:834)", True),
        ('Exception in thread "main" java.lang.NullPointerException', True),
        ("Traceback (most recent call last):", True),
        ("2026 INFO started at port 8011 (roll)", False),
        ("no Exception in thread", False),
        ("  at your service", False),
    ],
)
def test_a_stack_trace_is_known_by_its_lines(line: str, is_trace: bool) -> None:
    assert bool(TRACE.match(line)) == is_trace


LOG = [
    "ERROR cannot connect",
    "com.mysql.Failed: no database",
    "\tat com.mysql.Connection.connect(Connection.java:1)",
    "Caused by: java.net.ConnectException",
    "\t... 4 more",
    "INFO goes on",
    'Exception in thread "main" java.lang.NullPointerException',
    "\tat fate.Board.main(Board.java:2)",
]


@pytest.mark.parametrize(("allowed", "found"), [("", [2, 6]), (r"com\.mysql", [6])])
def test_every_stack_trace_counts_unless_the_contract_allows_it(allowed: str, found: list[int]) -> None:
    assert list(traces(LOG, allowed)) == found
