# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.sync.timing import stream_timing

MS = 1_000_000
START = 1_700_000_000_000 * MS


def even(count: int, period_ms: float) -> np.ndarray:
    return START + np.rint(np.arange(count) * period_ms * MS).astype(np.int64)


def test_a_clean_camera() -> None:
    stamps = even(90, 1e3 / 30)
    timing = stream_timing(stamps, stamps + 12 * MS, [False] * 90)
    assert timing.rate_hz == pytest.approx(30.0, abs=0.01)
    assert timing.jitter_ms < 0.01
    assert timing.delay_ms == pytest.approx(12.0)
    assert (timing.dropped, timing.out_of_order, timing.zero_stamps) == (0, 0, 0)


def test_missing_frames_are_counted_and_do_not_look_like_jitter() -> None:
    stamps = np.delete(even(100, 50.0), [10, 11, 12, 40, 77])
    timing = stream_timing(stamps, stamps, [False] * 95)
    assert timing.dropped == 5
    assert timing.rate_hz == pytest.approx(20.0)
    assert timing.longest_gap_ms == pytest.approx(200.0)
    assert timing.jitter_ms < 0.01


def test_jitter_is_that_of_the_gaps() -> None:
    rng = np.random.default_rng(0)
    stamps = even(400, 100.0) + (rng.uniform(-5, 5, 400) * MS).astype(np.int64)
    timing = stream_timing(stamps, stamps, [False] * 400)
    assert 5.0 < timing.jitter_ms < 10.0
    assert timing.dropped == 0


def test_disorder_is_recognised() -> None:
    stamps = even(20, 100.0)
    stamps[5], stamps[6] = stamps[6], stamps[5]
    stamps[10] = stamps[9]
    stamps[15] = 0
    timing = stream_timing(stamps, stamps, [False] * 20)
    assert (timing.out_of_order, timing.repeated_stamps, timing.zero_stamps) == (1, 1, 1)


def test_a_freeze_is_as_long_as_its_stamps() -> None:
    stamps = even(30, 100.0)
    frozen = [False] * 10 + [True] * 7 + [False] * 13
    timing = stream_timing(stamps, stamps, frozen)
    assert timing.frozen_frames == 7
    assert timing.longest_freeze_ms == pytest.approx(700.0)


def test_a_freeze_is_not_counted_from_a_stamp_that_was_never_set() -> None:
    stamps = even(30, 100.0)
    stamps[8:12] = 0
    frozen = [False] * 10 + [True] * 7 + [False] * 13
    timing = stream_timing(stamps, stamps, frozen)
    assert timing.longest_freeze_ms == pytest.approx(400.0)


def test_an_uptime_clock_has_no_delay() -> None:
    stamps = even(10, 100.0)
    assert stream_timing(stamps - START, stamps, [False] * 10).delay_ms is None


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_frames_have_no_rate(count: int) -> None:
    stamps = even(count, 100.0)
    timing = stream_timing(stamps, stamps, [False] * count)
    assert timing.frames == count
    assert timing.rate_hz == 0.0
    assert timing.period_ms == 0.0
