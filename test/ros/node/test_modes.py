# SPDX-License-Identifier: Apache-2.0
"""Which cameras the node works with: decisions over made-up time, without ROS."""

from __future__ import annotations

import pytest

from segmif_ros.pairing import Stream
from segmif_ros.ros.node.modes import (
    MAY_GO_ON,
    RECOVERY_PAIRS,
    Mode,
    ModePolicy,
    ModeTracker,
    Problem,
    StampGate,
)

MS = 1_000_000
TICK = 40
ANY = ModePolicy("any", 1_000 * MS)


class Cameras:
    """Two cameras at 25 Hz, every tick one image of each that runs; times in milliseconds."""

    def __init__(self, policy: ModePolicy = ANY) -> None:
        self.now_ms = 1_000_000
        self.policy = policy
        self.modes = ModeTracker(self.now_ms * MS)
        self.changes: list[tuple[int, Mode, str]] = []

    def run(
        self,
        milliseconds: int,
        *streams: Stream,
        pairs: bool | None = None,
        trouble: dict[Stream, Problem] | None = None,
    ) -> Mode:
        """Let time go by; `pairs` says whether images of both make pairs (default: they do)."""
        for _ in range(milliseconds // TICK):
            self.now_ms += TICK
            now = self.now_ms * MS
            for stream in streams:
                self.modes.image(stream, now)
            for stream, problem in (trouble or {}).items():
                self.modes.trouble(stream, problem, now)
            if len(streams) == 2 and pairs is not False:
                self.modes.pair(now)
            if self.modes.decide(self.policy, now):
                mode_status = self.modes.status
                self.changes.append((self.now_ms, mode_status.mode, mode_status.reason))
        return self.modes.status.mode

    def modes_passed(self) -> list[Mode]:
        return [mode for _, mode, _ in self.changes]


RGB, THERMAL = Stream.RGB, Stream.THERMAL
MODE_OF = {RGB: Mode.RGB_ONLY, THERMAL: Mode.THERMAL_ONLY}


def test_it_waits_and_the_first_pair_is_enough():
    cameras = Cameras()
    assert cameras.run(20_000) is Mode.WAITING
    assert cameras.changes == []
    assert cameras.run(TICK, RGB, THERMAL) is Mode.FUSED


@pytest.mark.parametrize(("lost", "left"), [(THERMAL, RGB), (RGB, THERMAL)])
def test_a_lost_camera_is_left_behind_after_the_set_time_and_comes_back(lost, left):
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    lost_at = cameras.now_ms
    alone = {RGB: Mode.RGB_ONLY, THERMAL: Mode.THERMAL_ONLY}[left]
    assert cameras.run(1_000, left) is Mode.FUSED
    assert cameras.run(TICK, left) is alone
    changed, _, reason = cameras.changes[-1]
    assert changed - lost_at == 1_000 + TICK
    assert reason == f"no {lost.value} image any more"
    cameras.run(5_000, left)
    assert cameras.run(TICK * (RECOVERY_PAIRS - 1), RGB, THERMAL) is alone
    assert cameras.run(TICK, RGB, THERMAL) is Mode.FUSED
    assert cameras.modes_passed() == [Mode.FUSED, alone, Mode.FUSED]


@pytest.mark.parametrize("absent", list(Stream))
def test_a_camera_that_is_absent_from_the_start(absent):
    cameras = Cameras()
    cameras.run(3_000)
    assert cameras.run(1_000, absent.other) is Mode.WAITING
    mode = cameras.run(2 * TICK, absent.other)
    assert mode is {RGB: Mode.RGB_ONLY, THERMAL: Mode.THERMAL_ONLY}[absent.other]
    assert cameras.modes.status.reason == f"no {absent.value} image yet"


@pytest.mark.parametrize("allowed", list(MAY_GO_ON))
@pytest.mark.parametrize("left", list(Stream))
def test_only_an_allowed_camera_goes_on(allowed, left):
    cameras = Cameras(ModePolicy(allowed, 1_000 * MS))
    cameras.run(2_000, RGB, THERMAL)
    mode = cameras.run(1_500, left)
    if left in MAY_GO_ON[allowed]:
        assert mode.value == f"{left.value}_only"
    else:
        assert mode is Mode.STOPPED
        assert cameras.modes.status.reason.endswith(f"; degraded_mode is {allowed}")
    assert cameras.run(10 * TICK, RGB, THERMAL) is Mode.FUSED


def test_both_lost_stop_it_and_one_of_them_back_continues_alone():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.run(1_200) is Mode.STOPPED
    assert cameras.modes.status.reason == "no rgb image any more; no thermal image any more"
    assert cameras.run(1_000, THERMAL) is Mode.STOPPED, "the other one still has time to come"
    assert cameras.run(2 * TICK, THERMAL) is Mode.THERMAL_ONLY


def test_both_back_within_the_set_time_need_no_detour():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    cameras.run(3_000)
    cameras.run(800, RGB)
    cameras.run(TICK, RGB, THERMAL)
    assert cameras.modes_passed() == [Mode.FUSED, Mode.STOPPED, Mode.FUSED]


def test_the_other_camera_takes_over_at_once():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    cameras.run(2_000, RGB)
    assert cameras.run(1_040, THERMAL) is Mode.THERMAL_ONLY
    assert cameras.modes_passed()[-2:] == [Mode.RGB_ONLY, Mode.THERMAL_ONLY]


def test_a_frozen_camera_is_lost_at_once_and_said_to_be_frozen():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.run(TICK, RGB, trouble={THERMAL: Problem.FROZEN}) is Mode.RGB_ONLY
    assert cameras.modes.status.reason == "the thermal camera repeats one picture"
    cameras.run(4_000, RGB, trouble={THERMAL: Problem.FROZEN})
    assert cameras.run(RECOVERY_PAIRS * TICK, RGB, THERMAL) is Mode.FUSED
    assert cameras.modes_passed() == [Mode.FUSED, Mode.RGB_ONLY, Mode.FUSED]


def test_refused_images_are_a_lost_camera():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.run(1_040, RGB, trouble={THERMAL: Problem.UNUSABLE}) is Mode.RGB_ONLY
    assert cameras.modes.status.reason.startswith("no usable thermal image")


def test_a_few_refused_images_among_good_ones_change_nothing():
    cameras = Cameras()
    for _ in range(50):
        cameras.run(2 * TICK, RGB, trouble={THERMAL: Problem.UNUSABLE})
        cameras.run(TICK, RGB, THERMAL)
    assert cameras.modes_passed() == [Mode.FUSED]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("any", Mode.RGB_ONLY),
        ("rgb", Mode.RGB_ONLY),
        ("thermal", Mode.THERMAL_ONLY),
        ("none", Mode.STOPPED),
    ],
)
def test_two_cameras_whose_stamps_do_not_pair(allowed, expected):
    cameras = Cameras(ModePolicy(allowed, 1_000 * MS))
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.run(1_200, RGB, THERMAL, pairs=False) is expected
    assert "stamps do not make pairs" in cameras.modes.status.reason
    assert cameras.run(20_000, RGB, THERMAL, pairs=False) is expected
    assert len(cameras.changes) == 2


@pytest.mark.parametrize(("lost", "left"), [(THERMAL, RGB), (RGB, THERMAL)])
def test_a_camera_whose_last_images_were_in_no_pair_is_the_one_that_is_lost(lost, left):
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    cameras.run(2 * TICK, RGB, THERMAL, pairs=False)
    cameras.run(2_000, left, trouble={lost: Problem.UNUSABLE})
    assert cameras.modes_passed() == [Mode.FUSED, MODE_OF[left]]


def test_a_loose_cable_does_not_flap():
    """Thermal images for 120 ms in every second and a half: never five pairs in a row."""
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    for _ in range(40):
        cameras.run(1_400, RGB)
        cameras.run(120, RGB, THERMAL)
    assert cameras.modes_passed() == [Mode.FUSED, Mode.RGB_ONLY]


def test_a_slow_camera_within_the_set_time_stays_fused():
    cameras = Cameras()
    for _ in range(30):
        cameras.run(TICK, RGB, THERMAL)
        cameras.run(880, RGB)
    assert cameras.modes_passed() == [Mode.FUSED]


@pytest.mark.parametrize(
    ("period_ms", "passed"),
    [
        (1_000, [Mode.FUSED]),
        (2_000, [Mode.FUSED]),
        (4_000, [Mode.FUSED, Mode.STOPPED, Mode.FUSED]),
    ],
)
def test_cameras_slower_than_the_set_time_are_not_lost_between_two_images(period_ms, passed):
    cameras = Cameras()
    for _ in range(20):
        cameras.run(TICK, RGB, THERMAL)
        cameras.run(period_ms - TICK)
    assert cameras.modes_passed() == passed, "a period must be seen once to be known"
    assert cameras.run(3 * period_ms) is Mode.STOPPED, "two and a half periods end it"


def test_one_slow_camera_continues_alone_without_a_break():
    cameras = Cameras()
    for _ in range(30):
        cameras.run(TICK, RGB)
        cameras.run(1_500 - TICK)
    assert cameras.modes_passed() == [Mode.RGB_ONLY]


def test_the_own_process_standing_still_is_no_silent_camera():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    cameras.now_ms += 30_000
    cameras.run(TICK)
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.modes_passed() == [Mode.FUSED]
    cameras.now_ms += 30_000
    assert cameras.run(1_200, RGB) is Mode.RGB_ONLY, "silence after the stall counts"


def test_the_reason_outlives_a_stall_of_the_node_itself():
    cameras = Cameras()
    cameras.run(2_000, RGB, trouble={THERMAL: Problem.UNUSABLE})
    reason = cameras.modes.status.reason
    assert reason == "no usable thermal image (refused, or its stamp is)"
    cameras.now_ms += 4_000
    cameras.run(1_500, RGB)  # a second for which it holds, and a part of that of the next one
    assert cameras.modes.status.reason == reason


def test_a_live_change_of_the_policy_acts_at_once():
    cameras = Cameras(ModePolicy("none", 1_000 * MS))
    cameras.run(2_000, RGB, THERMAL)
    assert cameras.run(2_000, RGB) is Mode.STOPPED
    cameras.policy = ANY
    assert cameras.run(TICK, RGB) is Mode.RGB_ONLY
    cameras.policy = ModePolicy("thermal", 1_000 * MS)
    assert cameras.run(TICK, RGB) is Mode.STOPPED


def test_the_reason_follows_when_it_lasts():
    cameras = Cameras()
    cameras.run(2_000, RGB, THERMAL)
    cameras.run(2_000, RGB)
    cameras.run(TICK, RGB, trouble={THERMAL: Problem.UNUSABLE})
    cameras.run(400, RGB)
    assert len(cameras.changes) == 2
    cameras.run(3_000, RGB, trouble={THERMAL: Problem.UNUSABLE})
    assert [(mode, reason.split(" (")[0]) for _, mode, reason in cameras.changes[2:]] == [
        (Mode.RGB_ONLY, "no usable thermal image")
    ]


def test_the_gate_lets_every_stamp_through_once_and_in_order():
    gate = StampGate()
    start = 1_700_000_000_000 * MS
    assert gate.passes(start)
    assert not gate.passes(start)
    assert not gate.passes(start - 900 * MS)
    assert gate.passes(start + 1)
    hour = 3_600_000 * MS
    assert gate.passes(start - hour), "a clock that was set back begins a new time"
    assert not gate.passes(start - hour)
    assert gate.passes(start - hour + 33 * MS)
    gate.reset()
    assert gate.passes(start - hour)
