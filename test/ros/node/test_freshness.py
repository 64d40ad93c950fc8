# SPDX-License-Identifier: Apache-2.0
"""Frozen pictures: what counts as the same, for how long, and what a shutter is."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from segmif_ros.pairing import MILLISECOND, Stream
from segmif_ros.ros.node.freshness import Content, FreezeLimits, FrozenWatch, same_image

SHAPES = {"rgb8": ((480, 640, 3), np.uint8), "mono16": ((512, 640), np.uint16)}


def picture(seed: int, encoding: str = "mono16") -> np.ndarray:
    shape, dtype = SHAPES[encoding]
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


def states(watch: FrozenWatch, image: np.ndarray, seconds: float, hz: float = 30.0) -> list[str]:
    """What a camera says that sends one image for a while, as changes of the state."""
    said: list[str] = []
    for i in range(round(seconds * hz) + 1):
        state = watch.observe(image.copy(), round(i * 1e9 / hz)).value
        if said[-1:] != [state]:
            said.append(state)
    return said


def test_a_live_camera_is_fresh():
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))
    for i in range(90):
        assert watch.observe(picture(i % 2), i * 33 * MILLISECOND) is Content.FRESH
    assert (watch.repeated, watch.freezes) == (0, 0)


def test_a_frozen_rgb_camera_is_told_after_a_second():
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 0.9) == ["fresh", "repeated"]
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 1.1) == ["fresh", "repeated", "frozen"]
    assert watch.unchanged_ns == pytest.approx(1.1e9, rel=0.05)
    assert (watch.freezes, watch.flat) == (1, False)
    assert watch.observe(picture(1), 2_000 * MILLISECOND) is Content.FRESH
    assert (watch.unchanged_ns, watch.repeats) == (0, 0)
    assert watch.shutters == 0, "a camera without a shutter had none"


def test_a_thermal_shutter_of_three_seconds_is_no_fault():
    watch = FrozenWatch(FreezeLimits.of(Stream.THERMAL))
    assert states(watch, picture(0), 3.0) == ["fresh", "repeated", "shutter"]
    assert watch.observe(picture(1), 3_100 * MILLISECOND) is Content.FRESH
    assert (watch.shutters, watch.freezes) == (1, 0)


def test_a_thermal_camera_that_stays_the_same_is_frozen():
    watch = FrozenWatch(FreezeLimits.of(Stream.THERMAL))
    assert states(watch, picture(0), 6.0) == ["fresh", "repeated", "shutter", "frozen"]
    watch.observe(picture(1), 6_100 * MILLISECOND)
    assert (watch.shutters, watch.freezes) == (0, 1)


def test_a_slow_sensor_behind_a_fast_interface_is_fresh_enough():
    watch = FrozenWatch(FreezeLimits.of(Stream.THERMAL))
    said = [watch.observe(picture(i // 4), i * 33 * MILLISECOND) for i in range(120)]
    assert set(said) == {Content.FRESH, Content.REPEATED}


def test_few_repeats_of_a_slow_camera_are_not_frozen():
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))
    assert states(watch, picture(0), 2.0, hz=1.0) == ["fresh", "repeated"]


def test_the_limit_can_change_and_be_switched_off():
    watch = FrozenWatch(FreezeLimits(0))
    assert states(watch, picture(0), 10.0) == ["fresh", "repeated"]
    watch.limits = FreezeLimits(2_000 * MILLISECOND)
    assert watch.observe(picture(0), 10_100 * MILLISECOND) is Content.FROZEN


def test_a_covered_lens_is_flat():
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))
    states(watch, np.zeros((480, 640, 3), np.uint8), 1.5)
    assert watch.flat
    watch.observe(picture(0, "rgb8"), 2_000 * MILLISECOND)
    assert not watch.flat


def test_one_changed_bit_anywhere_is_another_picture():
    for at in ((0, 0), (8, 8), (511, 639), (300, 17)):
        other = picture(0)
        other[at] ^= 1
        assert not same_image(picture(0), other)
    assert same_image(picture(0), picture(0))


def test_other_size_type_and_padding():
    image = picture(0)
    assert not same_image(image, image[:-1])
    assert not same_image(image, image.view(np.int16))
    padded = np.zeros((512, 700), np.uint16)
    padded[:, :640] = image
    assert same_image(image, padded[:, :640]), "padding at the end of a row is no content"
    degrees = np.full((512, 640), np.nan, np.float32)
    assert same_image(degrees, degrees.copy())
    swapped = image.astype(">u2")
    assert same_image(swapped, swapped.copy())


@pytest.mark.parametrize("encoding", SHAPES)
def test_it_costs_less_than_one_copy_of_the_image(encoding):
    """A live camera pays for the grid only; a frozen one for reading both images once."""
    images = [picture(i, encoding) for i in range(8)]
    twins = [image.copy() for image in images]
    watch = FrozenWatch(FreezeLimits.of(Stream.RGB))

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
    frozen = seconds(lambda i: same_image(images[i % 8], twins[i % 8]))
    assert live < copying
    assert frozen < 4 * copying
