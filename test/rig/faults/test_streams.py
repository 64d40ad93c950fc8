# SPDX-License-Identifier: Apache-2.0
"""Stream faults on pure stamps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segmif_ros.rig.faults.streams import (
    RGB,
    THERMAL,
    ClockJump,
    ClockOffset,
    Drop,
    Duplicate,
    Event,
    Freeze,
    Jitter,
    Latency,
    Reorder,
    apply_all,
    schedule,
)

MS = 1_000_000
S = 1_000_000_000


@pytest.fixture
def clean() -> list[Event]:
    return schedule(duration_s=20.0, rates_hz={RGB: 30.0, THERMAL: 9.0}, start_ns=S, phase_s=0.01)


def only(events: list[Event], camera: str) -> list[Event]:
    return [event for event in events if event.camera == camera]


def sorted_by_arrival(events: list[Event]) -> bool:
    arrivals = [event.arrival_ns for event in events]
    return arrivals == sorted(arrivals)


def test_a_clean_schedule_runs_at_its_rates(clean):
    rgb, thermal = only(clean, RGB), only(clean, THERMAL)
    assert (len(rgb), len(thermal)) == (600, 180)
    assert rgb[0] == Event(RGB, 0, S, S, S)
    assert thermal[0].stamp_ns == S + 10 * MS
    assert rgb[30].stamp_ns == 2 * S
    assert [e.frame for e in thermal] == list(range(180))
    assert sorted_by_arrival(clean)


@pytest.mark.parametrize("bad", [{"duration_s": 0.0}, {"rates_hz": {RGB: 0.0}}])
def test_impossible_schedules_are_named(bad):
    with pytest.raises(ValueError, match=r"0\.0"):
        schedule(**({"duration_s": 1.0, "rates_hz": {RGB: 30.0}} | bad))


def test_drop_loses_its_share_of_one_camera_only(clean):
    faulty = Drop(RGB, 0.2, seed=4).apply(clean)
    assert only(faulty, THERMAL) == only(clean, THERMAL)
    kept = only(faulty, RGB)
    assert 0.74 < len(kept) / 600 < 0.86
    assert set(kept) < set(only(clean, RGB))
    assert Drop(RGB, 0.0).apply(clean) == clean
    assert only(Drop(RGB, 1.0).apply(clean), RGB) == []


def test_freeze_repeats_the_picture_while_stamps_go_on(clean):
    faulty = only(Freeze(THERMAL, every_s=5.0, length_s=0.5).apply(clean), THERMAL)
    assert [e.stamp_ns for e in faulty] == [e.stamp_ns for e in only(clean, THERMAL)]
    start = faulty[0].stamp_ns
    frozen = [e for e, before in zip(faulty[1:], faulty, strict=False) if e.frame == before.frame]
    assert len(frozen) == 3 * 5
    assert all((e.stamp_ns - start) % (5 * S) < 0.5 * S for e in frozen)
    after = next(e for e in faulty if e.stamp_ns - start >= 5.5 * S)
    assert after.frame == round((after.stamp_ns - start) * 9 / S)


def test_latency_delays_arrival_and_leaves_stamps(clean):
    faulty = Latency(THERMAL, 0.06).apply(clean)
    late = only(faulty, THERMAL)
    assert {e.arrival_ns - e.stamp_ns for e in late} == {60 * MS}
    assert {e.arrival_ns - e.stamp_ns for e in only(faulty, RGB)} == {0}
    assert sorted_by_arrival(faulty)


def test_jitter_is_bounded_and_keeps_the_order(clean):
    faulty = only(Jitter(RGB, 0.05, seed=2).apply(clean), RGB)
    late = np.array([e.arrival_ns - e.stamp_ns for e in faulty])
    assert late.min() >= 0
    assert late.max() < 50 * MS + 1
    assert late.std() > 5 * MS
    assert [e.frame for e in faulty] == list(range(600))


def test_clock_offset_and_jump_change_stamps_only(clean):
    ahead = ClockOffset(THERMAL, 0.25).apply(clean)
    assert {e.stamp_ns - e.arrival_ns for e in only(ahead, THERMAL)} == {250 * MS}
    assert only(ahead, RGB) == only(clean, RGB)
    jumped = ClockJump(at_s=10.0, seconds=-10.0).apply(clean)
    moved = [e for e in jumped if e.stamp_ns != e.arrival_ns]
    assert {e.stamp_ns - e.arrival_ns for e in moved} == {-10 * S}
    assert min(e.arrival_ns for e in moved) == 11 * S
    assert len(moved) == pytest.approx(len(clean) / 2, abs=2)


def test_duplicates_come_a_little_later(clean):
    faulty = Duplicate(RGB, 0.1, gap_s=0.002, seed=1).apply(clean)
    extra = len(faulty) - len(clean)
    assert 35 < extra < 90
    seen: dict[tuple[str, int], int] = {}
    for event in faulty:
        first = seen.setdefault((event.camera, event.stamp_ns), event.arrival_ns)
        assert event.arrival_ns - first in (0, 2 * MS)
    assert sorted_by_arrival(faulty)


def test_reorder_swaps_neighbours_and_loses_nothing(clean):
    faulty = Reorder(RGB, 0.1, seed=1).apply(clean)
    frames = [e.frame for e in only(faulty, RGB)]
    assert sorted(frames) == list(range(600))
    swapped = sum(b < a for a, b in pairwise(frames))
    assert 30 < swapped < 90
    assert max(abs(f - i) for i, f in enumerate(frames)) == 1
    assert sorted_by_arrival(faulty)


def test_same_seed_same_faults_and_cameras_fail_independently(clean):
    assert Drop(RGB, 0.3, seed=9).apply(clean) == Drop(RGB, 0.3, seed=9).apply(clean)
    assert Drop(RGB, 0.3, seed=9).apply(clean) != Drop(RGB, 0.3, seed=8).apply(clean)
    twins = schedule(duration_s=20.0, rates_hz={RGB: 30.0, THERMAL: 30.0})
    gone = [
        {e.frame for e in only(twins, camera)}
        - {e.frame for e in only(Drop(camera, 0.3).apply(twins), camera)}
        for camera in (RGB, THERMAL)
    ]
    assert gone[0] != gone[1]


def test_faults_add_up_in_their_order(clean):
    faults = [Latency(THERMAL, 0.1), ClockOffset(THERMAL, 1.0), Drop(RGB, 1.0)]
    faulty = apply_all(clean, faults)
    assert {e.camera for e in faulty} == {THERMAL}
    assert {e.stamp_ns - e.arrival_ns for e in faulty} == {900 * MS}
    assert apply_all(clean, []) == clean


def test_faults_of_an_empty_stream_are_harmless():
    chance = [Drop(RGB, 0.5), Duplicate(RGB, 0.5), Reorder(RGB, 0.5), Jitter(RGB, 0.1)]
    clocks = [Freeze(RGB, 5.0, 1.0), ClockJump(1.0, 1.0), Latency(RGB, 1.0), ClockOffset(RGB, 1.0)]
    faults = [*chance, *clocks]
    assert apply_all([], faults) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drop(RGB, 1.5),
        lambda: Duplicate(RGB, -0.1),
        lambda: Reorder(RGB, 2.0),
        lambda: Freeze(RGB, 1.0, 2.0),
        lambda: Latency(RGB, -1.0),
        lambda: Jitter(RGB, -1.0),
    ],
)
def test_impossible_faults_are_named(make):
    with pytest.raises(ValueError, match="expected"):
        make()
