# SPDX-License-Identifier: Apache-2.0
"""Clocks that cannot be right, in pure numbers."""

from __future__ import annotations

import pytest

from segmif_ros.ros.node.statistics import ClockState, ClockWatch, StampWatch

S = 1_000_000_000
MS = 1_000_000
T0 = 1_700_000_000 * S


def watch_of(stamps_ms: list[float], steady_ms: list[float] | None = None) -> StampWatch:
    watch = StampWatch()
    for stamp, steady in zip(stamps_ms, steady_ms or stamps_ms, strict=True):
        watch.observe(T0 + int(stamp * MS), T0 + int(stamp * MS) + 5 * MS, int(steady * MS))
    return watch


def test_good_stamps():
    watch = watch_of([i * 33.3 for i in range(100)])
    assert (watch.zero, watch.future, watch.jumps) == (0, 0, 0)


@pytest.mark.parametrize("stamp_ns", [0, -5])
def test_stamps_that_were_not_set(stamp_ns):
    watch = StampWatch()
    watch.observe(stamp_ns, T0, 0)
    assert (watch.zero, watch.future, watch.jumps) == (1, 0, 0)


def test_a_clock_that_is_ahead():
    watch = StampWatch()
    watch.observe(T0 + 99 * MS, T0, 0)
    assert watch.future == 0
    watch.observe(T0 + 133 * MS, T0 + 33 * MS, 33 * MS)
    assert watch.future == 1


def test_before_simulated_time_begins_nothing_lies_in_the_future():
    watch = StampWatch()
    watch.observe(T0, 0, 0)
    assert watch.future == 0


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, -1.1, 1.1])
def test_a_jump_is_counted_once(jump_s):
    after = jump_s * 1e3
    watch = watch_of([0, 33, 66, 100 + after, 133 + after], [0, 33, 66, 100, 133])
    assert watch.jumps == 1
    assert watch.last_jump_ns == pytest.approx(jump_s * 1e9 + 34 * MS, abs=MS)


def test_lost_frames_reordered_frames_and_a_paused_bag_are_no_jumps():
    assert watch_of([0, 33, 5_000, 5_033]).jumps == 0
    assert watch_of([0, 66, 33, 100]).jumps == 0
    assert watch_of([0, 33, 66], [0, 33, 20_000]).jumps == 0


def seen(clock: ClockWatch, simulated: bool, now: float, steady: float) -> ClockState:
    return clock.observe(simulated=simulated, now_ns=int(now * S), steady_ns=int(steady * S))


def test_the_system_clock():
    clock = ClockWatch()
    for second in range(5):
        assert seen(clock, False, 1000 + second, second) is ClockState.SYSTEM
        assert clock.jump_ns == 0
    seen(clock, False, 4605, 5)
    assert clock.jump_ns == 3600 * S
    seen(clock, False, 4606, 6)
    assert clock.jump_ns == 0
    seen(clock, False, 1007, 7)
    assert clock.jump_ns == -3600 * S


def test_simulated_time_that_never_comes():
    clock = ClockWatch()
    for second in range(4):
        assert seen(clock, True, 0, second) is ClockState.MISSING
    assert clock.still_ns == 3 * S


def test_simulated_time_may_start_anywhere_run_at_any_speed_and_stop():
    clock = ClockWatch()
    seen(clock, True, 0, 0)
    assert seen(clock, True, 500_000, 1) is ClockState.RUNNING
    assert clock.jump_ns == 0
    assert seen(clock, True, 500_010, 2) is ClockState.RUNNING
    assert clock.jump_ns == 0
    assert seen(clock, True, 500_010, 3) is ClockState.STOPPED
    assert seen(clock, True, 500_010, 5) is ClockState.STOPPED
    assert clock.still_ns == 3 * S
    assert seen(clock, True, 500_011, 6) is ClockState.RUNNING
    assert clock.still_ns == 0


def test_a_looped_bag_takes_simulated_time_back():
    clock = ClockWatch()
    seen(clock, True, 500, 0)
    seen(clock, True, 490, 1)
    assert clock.jump_ns == -10 * S
