# SPDX-License-Identifier: Apache-2.0
"""What is compared with what: never less than the span."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.ros.diagnostics.diagnostics_input import FIVE_SECONDS_NS, Totals, TotalsHistory
from segmif_ros.ros.node.statistics import NANOSECONDS, Statistics


def test_fast_reports_still_judge_a_whole_second() -> None:
    tenth = NANOSECONDS // 10
    counts = Statistics(())
    history = TotalsHistory(Totals.of(counts), 0)
    seen = []
    for step in range(1, 31):
        counts.pairs = step
        seen.append(step - history.before(step * tenth, Totals.of(counts)).pairs)
    assert seen[:9] == list(range(1, 10))
    assert set(seen[9:]) == {9}


def test_slow_reports_judge_what_happened_since_the_last() -> None:
    counts = Statistics(())
    history = TotalsHistory(Totals.of(counts), 0)
    for step in range(1, 5):
        counts.pairs = step * 5
        before = history.before(step * 5 * NANOSECONDS, Totals.of(counts))
        assert before.pairs == (step - 1) * 5


def test_the_long_window_goes_back_five_seconds() -> None:
    counts = Statistics(())
    history = TotalsHistory(Totals.of(counts), 0, FIVE_SECONDS_NS)
    seen = []
    for step in range(1, 13):
        counts.pairs = step
        seen.append(step - history.before(step * NANOSECONDS, Totals.of(counts)).pairs)
    assert seen == [1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5]
