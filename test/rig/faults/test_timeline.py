# SPDX-License-Identifier: Apache-2.0
"""Endless schedules with faults that come and go, on pure times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from segmif_ros.rig.faults.requests import (
    KINDS,
    RGB,
    THERMAL,
    Damage,
    Event,
    FaultRequest,
    parse_fault,
    parse_faults,
)
from segmif_ros.rig.faults.timeline import Timeline

MS = 1_000_000
S = 1_000_000_000
START = 1_700_000_000 * S


def run(timeline: Timeline, start_ns: int, end_ns: int) -> list[Event]:
    """Take messages as a publisher does: whenever the next one is due."""
    events: list[Event] = []
    now = start_ns
    while now < end_ns:
        events += timeline.take(now)
        following = timeline.next_ns()
        assert following > now
        now = following
    return events


def only(events: list[Event], camera: str) -> list[Event]:
    return [event for event in events if event.camera == camera]


def timeline(faults: str = "", **rates: float) -> Timeline:
    rates_hz = {RGB: 30.0, THERMAL: 30.0} | rates
    return Timeline(rates_hz, start_ns=START, phase_s=0.004, faults=parse_faults(faults))


def test_without_faults_every_frame_comes_once_and_on_time() -> None:
    events = run(timeline(thermal=9.0), START, START + 10 * S)
    rgb, thermal = only(events, RGB), only(events, THERMAL)
    assert [e.frame for e in rgb] == list(range(300))
    assert [e.frame for e in thermal] == list(range(90))
    assert all(e.stamp_ns == e.arrival_ns == e.taken_ns for e in events)
    assert thermal[9].stamp_ns == START + 4 * MS + S
    arrivals = [e.arrival_ns for e in events]
    assert arrivals == sorted(arrivals)


def test_a_pause_of_the_publisher_loses_no_message() -> None:
    line = timeline()
    assert len(line.take(START + 5 * S - 1)) == 300


def test_a_fault_lasts_as_long_as_requested() -> None:
    events = run(timeline("thermal:stop@2+3"), START, START + 8 * S)
    assert len(only(events, RGB)) == 240
    gap = [e.taken_ns for e in only(events, THERMAL)]
    longest = max(b - a for a, b in pairwise(gap))
    assert longest == pytest.approx(3 * S, abs=40 * MS)
    assert not [t for t in gap if START + 2 * S <= t < START + 5 * S]


def test_a_frozen_camera_keeps_its_picture_for_good() -> None:
    events = only(run(timeline("rgb:freeze@1"), START, START + 6 * S), RGB)
    frozen = [e for e in events if e.stamp_ns >= START + S]
    assert {(e.frame, e.taken_ns) for e in frozen} == {(30, START + S)}
    assert len({e.stamp_ns for e in frozen}) == 150


def test_another_rate_keeps_an_even_distance_across_the_seconds() -> None:
    events = only(run(timeline("thermal:rate=90"), START, START + 5 * S), THERMAL)
    steps = np.diff([e.stamp_ns for e in events])
    np.testing.assert_allclose(steps, S / 90, atol=600)
    assert len({e.frame for e in events}) == len(events)
    assert 449 <= len(events) <= 451


def test_clocks_jump_there_and_back() -> None:
    events = run(timeline("both:clock=3600@1+1"), START, START + 3 * S)
    offsets = {
        (e.stamp_ns - e.taken_ns) // S for e in events if START + S <= e.taken_ns < START + 2 * S
    }
    assert offsets == {3600}
    assert all(e.stamp_ns == e.taken_ns for e in events if e.taken_ns >= START + 2 * S)


def test_losses_differ_from_second_to_second_and_hit_their_share() -> None:
    events = only(run(timeline("rgb:drop=0.1"), START, START + 60 * S), RGB)
    assert 1560 < len(events) < 1680
    seconds = {tuple(e.frame % 30 for e in events if e.frame // 30 == n) for n in range(60)}
    assert len(seconds) > 40


def test_late_messages_cross_the_second_in_order() -> None:
    events = run(timeline("thermal:late=0.08"), START, START + 3 * S)
    late = only(events, THERMAL)
    assert {e.arrival_ns - e.stamp_ns for e in late} == {80 * MS}
    assert [e.frame for e in late] == list(range(len(late)))
    arrivals = [e.arrival_ns for e in events]
    assert arrivals == sorted(arrivals)


def test_faults_are_switched_while_it_runs() -> None:
    line = timeline()
    before = run(line, START, START + S)
    line.switch(parse_faults("rgb:stop thermal:step"), START + S)
    during = run(line, START + S, START + 2 * S)
    line.switch([], START + 2 * S)
    after = run(line, START + 2 * S, START + 3 * S)
    assert len(only(before, RGB)) == len(only(after, RGB)) == 30
    assert not only(during, RGB)
    assert {e.damage for e in during} == {Damage.STEP}
    assert {e.damage for e in after} == {None}
    frames = [e.frame for e in only(before + during + after, THERMAL)]
    assert frames == list(range(90))


def test_a_camera_without_messages_does_not_stop_the_rest() -> None:
    events = run(timeline("both:stop@0+3"), START, START + 4 * S)
    assert len(events) == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thermal:stop", [FaultRequest(THERMAL, "stop")]),
        ("rgb:drop=0.1@5", [FaultRequest(RGB, "drop", 0.1, 5.0)]),
        ("rgb:clock=-2.5@5+0.5", [FaultRequest(RGB, "clock", -2.5, 5.0, 0.5)]),
        ("both:stop", [FaultRequest(RGB, "stop"), FaultRequest(THERMAL, "stop")]),
    ],
)
def test_faults_are_read_as_written(text: str, expected: list[FaultRequest]) -> None:
    assert parse_fault(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("thermal", "CAMERA:KIND"),
        ("lidar:stop", "'lidar'"),
        ("rgb:sulk", "'sulk'"),
        ("rgb:drop", "takes =SHARE"),
        ("rgb:stop=3", "no value"),
        ("rgb:drop=2", "between 0 and 1"),
        ("rgb:rate=0", "above 0"),
        ("rgb:late=soon", "'soon'"),
        ("rgb:late=-1", "0 or more"),
        ("rgb:stop@-1", "out of range"),
        ("rgb:clock=inf", "out of range"),
        ("rgb:stop@1+x", "'x'"),
    ],
)
def test_what_is_no_fault_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="fault") as caught:
        parse_fault(text)
    assert words in str(caught.value)


def test_every_kind_can_be_made_and_changes_something() -> None:
    for name, kind in KINDS.items():
        value = "=0.5" if kind.value == "share" else "=45" if kind.value == "Hz" else "=0.2"
        text = f"rgb:{name}{value if kind.value else ''}"
        spoilt = run(timeline(text), START, START + 2 * S)
        clean = run(timeline(), START, START + 2 * S)
        assert spoilt != clean, name
        assert only(spoilt, THERMAL) == only(clean, THERMAL), name
