# SPDX-License-Identifier: Apache-2.0
"""The shutter of a thermal camera: a freeze and a jump, and what is neither."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.thermal import ShutterState, ShutterWatch

RNG = np.random.default_rng(0)
SECOND = 1_000_000_000


def live(shift: float = 0.0, dtype: type = np.uint16) -> NDArray[np.generic]:
    return RNG.normal(8000.0 + shift, 50.0, (120, 160)).astype(dtype)


def watch_film(
    freeze_s: float, *, hz: float = 30.0, jump: float = 0.0, dtype: type = np.uint16
) -> tuple[ShutterWatch, list[ShutterState]]:
    """One second of life, a freeze, two seconds of life; the states frame by frame."""
    watch, states = ShutterWatch(), []
    for number in range(round((3.0 + freeze_s) * hz)):
        seconds = number / hz
        if seconds < 1.0 or seconds > 1.0 + freeze_s:
            frame = live(0.0 if seconds < 1.0 else jump, dtype)
        states.append(watch.observe(frame.copy(), round(seconds * SECOND)))
    return watch, states


def runs(states: list[ShutterState]) -> list[str]:
    """Drop repetitions."""
    values = [state.value for state in states]
    return [b for a, b in zip(["", *values], values, strict=False) if a != b]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("hz", [9.0, 30.0, 60.0])
@pytest.mark.parametrize("freeze_s", [1.0, 2.0, 3.0])
def test_a_shutter_closes_opens_and_settles(freeze_s: float, hz: float, dtype: type) -> None:
    watch, states = watch_film(freeze_s, hz=hz, jump=120.0, dtype=dtype)
    assert runs(states) == ["open", "closed", "settling", "open"]
    assert watch.closures == 1
    assert watch.last_freeze_ns == pytest.approx(freeze_s * SECOND, abs=1.5 * SECOND / hz)
    assert watch.last_jump == pytest.approx(120.0, abs=15.0)
    assert states.count(ShutterState.SETTLING) == pytest.approx(hz, abs=2)


def test_a_slow_sensor_that_repeats_each_frame_has_no_shutter() -> None:
    watch = ShutterWatch()
    for number in range(120):  # 9 Hz behind a 30 Hz interface
        if number % 4 == 0:
            frame = live()
        assert watch.observe(frame, number * SECOND // 30) is ShutterState.OPEN
    assert watch.closures == 0


def test_longer_than_any_shutter_is_a_stalled_camera() -> None:
    watch, states = watch_film(7.0)
    assert runs(states) == ["open", "closed", "stalled", "settling", "open"]
    assert watch.closures == 0
    assert watch.facts()["shutter"] == "open"
    assert float(watch.facts()["shutter.last_freeze_ms"]) == pytest.approx(7000, abs=70)


def test_a_clock_that_goes_back_or_another_size_starts_anew() -> None:
    watch, frame = ShutterWatch(), live()
    for number in range(30):
        watch.observe(frame, SECOND + number * SECOND // 30)
    assert watch.state is ShutterState.CLOSED
    assert watch.observe(frame, 1) is ShutterState.OPEN
    for number in range(30):
        watch.observe(frame, SECOND + number * SECOND // 30)
    assert watch.observe(frame[:60], 3 * SECOND) is ShutterState.OPEN


def test_the_same_frame_seen_twice_tells_nothing() -> None:
    watch, frame = ShutterWatch(), live()
    for _ in range(100):
        assert watch.observe(frame, 5) is ShutterState.OPEN


def test_frames_without_one_finite_value_are_frozen_like_others() -> None:
    watch, empty = ShutterWatch(), np.full((120, 160), np.nan, np.float32)
    for number in range(30):
        watch.observe(empty, number * SECOND // 30)
    assert watch.state is ShutterState.CLOSED
    watch.observe(live(dtype=np.float32), 2 * SECOND)
    assert watch.state is ShutterState.SETTLING
    assert np.isfinite(watch.last_jump)
