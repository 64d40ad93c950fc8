# SPDX-License-Identifier: Apache-2.0
"""Frozen pictures and shutters: what counts as the same, for how long, and what is neither."""

from __future__ import annotations

from time import process_time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segmif_ros.frames import PictureState
from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.thermal import FreezeLimits, FreezeWatch
from segmif_ros.thermal.freeze import same_picture

RNG = np.random.default_rng(0)
SECOND = 1_000_000_000


SHAPES = {"rgb8": ((480, 640, 3), np.uint8), "mono16": ((512, 640), np.uint16)}


def picture(seed: int, encoding: str = "mono16") -> np.ndarray:
    shape, dtype = SHAPES[encoding]
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def states(watch: FreezeWatch, image: np.ndarray, seconds: float, hz: float = 30.0) -> list[str]:
    """What a camera says that sends one image for a while, as changes of the state."""
    said: list[str] = []
    for i in range(round(seconds * hz) + 1):
        state = watch.observe(image.copy(), round(i * 1e9 / hz)).value
        if said[-1:] != [state]:
            said.append(state)
    return said


def test_a_live_camera_is_fresh():
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))
    for i in range(90):
        assert watch.observe(picture(i % 2), i * 33 * MILLISECOND) is PictureState.FRESH
    assert (watch.repeated, watch.freezes) == (0, 0)


def test_a_frozen_rgb_camera_is_reported_after_a_second():
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 0.9) == ["fresh", "repeated"]
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 1.1) == ["fresh", "repeated", "frozen"]
    assert watch.unchanged_ns == pytest.approx(1.1e9, rel=0.05)
    assert (watch.freezes, watch.flat) == (1, False)
    assert watch.observe(picture(1), 2_000 * MILLISECOND) is PictureState.FRESH
    assert (watch.unchanged_ns, watch.repeats) == (0, 0)
    assert watch.closures == 0, "a camera without a shutter had none"


def test_a_thermal_shutter_of_three_seconds_is_no_fault():
    watch = FreezeWatch(FreezeLimits.of(Stream.THERMAL))
    assert states(watch, picture(0), 3.0) == ["fresh", "repeated", "shutter"]
    assert watch.observe(picture(1), 3_100 * MILLISECOND) is PictureState.SETTLING
    assert (watch.closures, watch.freezes) == (1, 0)


def test_a_thermal_camera_that_stays_the_same_is_frozen():
    watch = FreezeWatch(FreezeLimits.of(Stream.THERMAL))
    assert states(watch, picture(0), 6.0) == ["fresh", "repeated", "shutter", "frozen"]
    watch.observe(picture(1), 6_100 * MILLISECOND)
    assert (watch.closures, watch.freezes) == (0, 1)


def test_a_slow_sensor_behind_a_fast_interface_is_fresh_enough():
    watch = FreezeWatch(FreezeLimits.of(Stream.THERMAL))
    said = [watch.observe(picture(i // 4), i * 33 * MILLISECOND) for i in range(120)]
    assert set(said) == {PictureState.FRESH, PictureState.REPEATED}


def test_few_repeats_of_a_slow_camera_are_not_frozen():
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 2.0, hz=1.0) == ["fresh", "repeated"]


def test_the_limit_can_change_and_be_switched_off():
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB, detect=False))
    assert states(watch, picture(0), 10.0) == ["fresh", "repeated"]
    watch.limits = FreezeLimits(2_000 * MILLISECOND)
    assert watch.observe(picture(0), 10_100 * MILLISECOND) is PictureState.FROZEN


def test_a_covered_lens_is_flat():
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))
    states(watch, np.zeros((480, 640, 3), np.uint8), 1.5)
    assert watch.flat
    watch.observe(picture(0, "rgb8"), 2_000 * MILLISECOND)
    assert not watch.flat


def test_one_changed_bit_of_the_picture_makes_another_one():
    for at in ((110, 0), (256, 320), (400, 639), (300, 17)):
        other = picture(0)
        other[at] ^= 1
        assert not same_picture(picture(0), other)
    assert same_picture(picture(0), picture(0))


def burnt_in(image: np.ndarray, number: int, where: str) -> np.ndarray:
    """What cameras and recorders draw over a picture, or send beside it, and count up."""
    image = image.copy()
    if where == "telemetry rows":
        image[-3:] = number
    elif where == "counter row":
        image[0, :64] = number
    else:
        line = 30 if where == "clock above" else image.shape[0] - 20
        text = f"17:28:{number // 10:02d}.{number % 10}"
        ink = np.zeros(image.shape[:2], np.uint8)
        cv2.putText(ink, text, (10, line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
        image[ink > 0] = 255
    return image


@pytest.mark.parametrize("where", ["telemetry rows", "counter row", "clock above", "clock below"])
@pytest.mark.parametrize(("encoding", "stream"), [("mono16", Stream.THERMAL), ("rgb8", Stream.RGB)])
def test_a_frozen_picture_with_something_that_counts_is_frozen(where, encoding, stream):
    watch = FreezeWatch(FreezeLimits.of(stream))
    for i in range(180):
        state = watch.observe(burnt_in(picture(0, encoding), i, where), i * 33 * MILLISECOND)
    assert state is PictureState.FROZEN
    assert (watch.freezes, watch.closures, watch.flat) == (1, 0, False)
    live = FreezeWatch(FreezeLimits.of(stream))
    for i in range(180):
        state = live.observe(burnt_in(picture(i % 4, encoding), 0, where), i * 33 * MILLISECOND)
        assert state is PictureState.FRESH


def test_a_lepton_of_60_rows_with_telemetry():
    rng = np.random.default_rng(0)
    still = rng.integers(7000, 8000, (63, 80)).astype(np.uint16)
    watch = FreezeWatch(FreezeLimits.of(Stream.THERMAL))
    for i in range(60):
        still[60:] = i
        state = watch.observe(still.copy(), i * 111 * MILLISECOND)
    assert state is PictureState.FROZEN


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (4, 4), (5, 3)])
def test_pictures_of_a_few_pixels_are_compared_whole_enough(size):
    image = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size)
    assert same_picture(image, image.copy())
    assert not same_picture(image, image + 1)


def test_other_size_type_and_padding():
    image = picture(0)
    assert not same_picture(image, image[:-1])
    assert not same_picture(image, image.view(np.int16))
    padded = np.zeros((512, 700), np.uint16)
    padded[:, :640] = image
    assert same_picture(image, padded[:, :640]), "padding at the end of a row is no content"
    degrees = np.full((512, 640), np.nan, np.float32)
    assert same_picture(degrees, degrees.copy())
    swapped = image.astype(">u2")
    assert same_picture(swapped, swapped.copy())


@pytest.mark.parametrize("encoding", SHAPES)
def test_it_costs_less_than_one_copy_of_the_image(encoding):
    """A live camera pays for the grid only; a frozen one for reading both images once."""
    images = [picture(i, encoding) for i in range(8)]
    twins = [image.copy() for image in images]
    watch = FreezeWatch(FreezeLimits.of(Stream.RGB))

    def seconds(action) -> float:
        best = np.inf
        for _ in range(7):
            started = process_time()
            for i in range(64):
                action(i)
            best = min(best, process_time() - started)
        return float(best)

    copying = seconds(lambda i: bytes(images[i % 8]))
    live = seconds(lambda i: watch.observe(images[i % 8], i))
    frozen = seconds(lambda i: same_picture(images[i % 8], twins[i % 8]))
    assert live < copying
    assert frozen < 4 * copying


def live(shift: float = 0.0, dtype: type = np.uint16) -> NDArray[np.generic]:
    return RNG.normal(8000.0 + shift, 50.0, (120, 160)).astype(dtype)


def thermal_watch() -> FreezeWatch:
    return FreezeWatch(FreezeLimits.of(Stream.THERMAL))


def watch_film(
    freeze_s: float, *, hz: float = 30.0, jump: float = 0.0, dtype: type = np.uint16
) -> tuple[FreezeWatch, list[PictureState]]:
    """One live second, a freeze, two live seconds; the states frame by frame."""
    watch, states = thermal_watch(), []
    for number in range(round((3.0 + freeze_s) * hz)):
        seconds = number / hz
        if seconds < 1.0 or seconds > 1.0 + freeze_s:
            frame = live(0.0 if seconds < 1.0 else jump, dtype)
        states.append(watch.observe(frame.copy(), round(seconds * SECOND)))
    return watch, states


def runs(states: list[PictureState]) -> list[str]:
    """Drop repetitions."""
    words = {"fresh": "open", "repeated": "open", "shutter": "closed", "frozen": "stalled"}
    values = [words.get(state.value, state.value) for state in states]
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
    assert states.count(PictureState.SETTLING) == pytest.approx(hz, abs=2)


def test_a_slow_sensor_that_repeats_each_frame_has_no_shutter() -> None:
    watch = thermal_watch()
    for number in range(120):  # 9 Hz behind a 30 Hz interface
        if number % 4 == 0:
            frame = live()
        assert watch.observe(frame, number * SECOND // 30).is_settled
    assert watch.closures == 0


def test_longer_than_any_shutter_is_a_stalled_camera() -> None:
    watch, states = watch_film(7.0)
    assert runs(states) == ["open", "closed", "stalled", "settling", "open"]
    assert watch.closures == 0
    assert watch.facts()["shutter"] == "open"
    assert float(watch.facts()["shutter.last_freeze_ms"]) == pytest.approx(7000, abs=70)


def test_a_clock_that_goes_back_or_another_size_starts_again() -> None:
    watch, frame = thermal_watch(), live()
    for number in range(30):
        watch.observe(frame, SECOND + number * SECOND // 30)
    assert watch.state is PictureState.SHUTTER
    assert watch.observe(frame, 1) is PictureState.FRESH
    for number in range(30):
        watch.observe(frame, SECOND + number * SECOND // 30)
    assert watch.observe(frame[:60], 3 * SECOND) is PictureState.FRESH


def test_the_same_frame_taken_twice_is_no_evidence() -> None:
    watch, frame = thermal_watch(), live()
    for _ in range(100):
        assert watch.observe(frame, 5) is PictureState.FRESH


def test_frames_without_one_finite_value_are_frozen_like_others() -> None:
    watch, empty = thermal_watch(), np.full((120, 160), np.nan, np.float32)
    for number in range(30):
        watch.observe(empty, number * SECOND // 30)
    assert watch.state is PictureState.SHUTTER
    watch.observe(live(dtype=np.float32), 2 * SECOND)
    assert watch.state is PictureState.SETTLING
    assert np.isfinite(watch.last_jump)
