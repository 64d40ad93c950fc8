# SPDX-License-Identifier: Apache-2.0
"""Stream faults on pure stamps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segmif_ros.rig.faults.requests import KINDS, RGB, THERMAL, Event, parse_fault
from segmif_ros.rig.faults.timeline import Timeline

MS = 1_000_000
S = 1_000_000_000


def cameras(thermal_hz: float = 9.0) -> list[Event]:
    """What two free cameras send in 20 s."""
    rates = {RGB: 30.0, THERMAL: thermal_hz}
    return Timeline(rates, start_ns=S, phase_s=0.01).take(21 * S - 1)


@pytest.fixture
def clean() -> list[Event]:
    return cameras()


def spoilt(events: list[Event], *faults: str, seed: int = 0) -> list[Event]:
    """The messages after faults, one after the other."""
    for text in faults:
        for request in parse_fault(text):
            events = request.apply(events, Event.clean(request.camera, 0, S), seed=seed)
    return events


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


def test_drop_loses_its_share_of_one_camera_only(clean):
    faulty = spoilt(clean, "rgb:drop=0.2", seed=4)
    assert only(faulty, THERMAL) == only(clean, THERMAL)
    kept = only(faulty, RGB)
    assert 0.74 < len(kept) / 600 < 0.86
    assert set(kept) < set(only(clean, RGB))
    assert spoilt(clean, "rgb:drop=0") == clean
    assert only(spoilt(clean, "rgb:drop=1"), RGB) == []


def test_latency_delays_arrival_and_leaves_stamps(clean):
    faulty = spoilt(clean, "thermal:late=0.06")
    late = only(faulty, THERMAL)
    assert {e.arrival_ns - e.stamp_ns for e in late} == {60 * MS}
    assert {e.arrival_ns - e.stamp_ns for e in only(faulty, RGB)} == {0}
    assert sorted_by_arrival(faulty)


def test_jitter_is_bounded_and_keeps_the_order(clean):
    faulty = only(spoilt(clean, "rgb:jitter=0.05", seed=2), RGB)
    late = np.array([e.arrival_ns - e.stamp_ns for e in faulty])
    assert late.min() >= 0
    assert late.max() < 50 * MS + 1
    assert late.std() > 5 * MS
    assert [e.frame for e in faulty] == list(range(600))


def test_a_clock_that_is_ahead_changes_stamps_only(clean):
    ahead = spoilt(clean, "thermal:clock=0.25")
    assert {e.stamp_ns - e.arrival_ns for e in only(ahead, THERMAL)} == {250 * MS}
    assert only(ahead, RGB) == only(clean, RGB)


def test_duplicates_come_a_little_later(clean):
    faulty = spoilt(clean, "rgb:duplicate=0.1", seed=1)
    extra = len(faulty) - len(clean)
    assert 35 < extra < 90
    seen: dict[tuple[str, int], int] = {}
    for event in faulty:
        first = seen.setdefault((event.camera, event.stamp_ns), event.arrival_ns)
        assert event.arrival_ns - first in (0, MS)
    assert sorted_by_arrival(faulty)


def test_reorder_swaps_neighbours_and_loses_nothing(clean):
    faulty = spoilt(clean, "rgb:reorder=0.1", seed=1)
    frames = [e.frame for e in only(faulty, RGB)]
    assert sorted(frames) == list(range(600))
    swapped = sum(b < a for a, b in pairwise(frames))
    assert 30 < swapped < 90
    assert max(abs(f - i) for i, f in enumerate(frames)) == 1
    assert sorted_by_arrival(faulty)


def test_same_seed_same_faults_and_cameras_fail_independently(clean):
    nine = spoilt(clean, "rgb:drop=0.3", seed=9)
    assert nine == spoilt(clean, "rgb:drop=0.3", seed=9)
    assert nine != spoilt(clean, "rgb:drop=0.3", seed=8)
    twins = cameras(thermal_hz=30.0)
    gone = [
        {e.frame for e in only(twins, camera)}
        - {e.frame for e in only(spoilt(twins, f"{camera}:drop=0.3"), camera)}
        for camera in (RGB, THERMAL)
    ]
    assert gone[0] != gone[1]


def test_faults_add_up_in_their_order(clean):
    faulty = spoilt(clean, "thermal:late=0.1", "thermal:clock=1", "rgb:drop=1")
    assert {e.camera for e in faulty} == {THERMAL}
    assert {e.stamp_ns - e.arrival_ns for e in faulty} == {900 * MS}


@pytest.mark.parametrize("kind", KINDS)
def test_faults_of_an_empty_stream_are_harmless(kind):
    value = {"": "", "share": "=0.5", "seconds": "=1", "Hz": "=9"}[KINDS[kind].value]
    assert spoilt([], f"rgb:{kind}{value}") == []


@pytest.mark.parametrize(
    "text", ["drop=1.5", "duplicate=-0.1", "reorder=2", "late=-1", "jitter=-1", "rate=-1"]
)
def test_impossible_faults_are_named(text):
    with pytest.raises(ValueError, match="expected"):
        parse_fault(f"rgb:{text}")
