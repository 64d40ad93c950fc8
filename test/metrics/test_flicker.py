# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest

from segmif_ros.metrics.flicker import Flicker, MaskFlicker


def texture(seed: int = 0, size: tuple[int, int] = (96, 128), cell: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 180, (size[0] // cell, size[1] // cell)).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def flicker_of(frames: list[np.ndarray]) -> float:
    flicker = Flicker()
    for frame in frames:
        flicker.add(frame)
    assert flicker.value is not None
    return flicker.value


def test_the_definition_by_hand() -> None:
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (40, 50)).astype(np.uint8) for _ in range(5)]
    blocks = [(slice(r, r + 16), slice(c, c + 16)) for r in (0, 16) for c in (0, 16, 32)]
    means = np.array([[frame[block].mean() for block in blocks] for frame in frames])
    expected = np.abs(means[:-2] - 2 * means[1:-1] + means[2:]).mean() / 2
    assert flicker_of(frames) == pytest.approx(expected, abs=1e-9)


def test_brightness_that_jumps_costs_its_height() -> None:
    scene = texture()
    assert flicker_of([scene + 6 * (i % 2) for i in range(8)]) == pytest.approx(6.0)


def test_a_step_costs_its_height_once() -> None:
    scene = texture()
    flicker = Flicker()
    values = [flicker.add(scene + (10 if i >= 4 else 0)) for i in range(8)]
    assert values == [None, None, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0]


def test_steady_change_costs_nothing() -> None:
    scene = texture()
    assert flicker_of([scene] * 3) == 0.0
    assert flicker_of([scene + 2 * i for i in range(10)]) == 0.0


def test_a_pan_costs_far_less_than_a_small_jump() -> None:
    wide = texture(size=(96, 512), cell=32)
    pan = [wide[:, 2 * i : 2 * i + 128] for i in range(40)]
    jumps = [frame + 4 * (i % 2) for i, frame in enumerate(pan)]
    change = np.mean([np.abs(b.astype(float) - a).mean() for a, b in itertools.pairwise(pan)])
    assert flicker_of(pan) < 0.1 * change
    assert flicker_of(pan) < 0.3 * flicker_of(jumps)


def test_colour_is_looked_at_as_luma() -> None:
    grey = [texture(i) for i in range(4)]
    assert flicker_of([cv2.cvtColor(g, cv2.COLOR_GRAY2RGB) for g in grey]) == flicker_of(grey)


def test_a_new_video_has_no_neighbours_in_the_old_one() -> None:
    dark, bright = np.zeros((32, 32), np.uint8), np.full((32, 32), 200, np.uint8)
    one = Flicker()
    for frame in [dark] * 4:
        one.add(frame)
    one.restart()
    for frame in [bright] * 4:
        one.add(frame)
    assert (one.value, one.state()) == (0.0, {"mean": [4, 0]})
    assert one.add(np.full((48, 32), 7, np.uint8)) is None  # another size


def test_videos_combine() -> None:
    clips = [[texture(10 * c + i) for i in range(4 + c)] for c in range(2)]
    together = Flicker()
    parts = []
    for clip in clips:
        together.restart()
        part = Flicker()
        for frame in clip:
            together.add(frame)
            part.add(frame)
        parts.append(Flicker.from_state(json.loads(json.dumps(part.state()))))
    parts[1].merge(parts[0])
    assert parts[1].state() == together.state()
    assert Flicker().value is None


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(15, 20\) is smaller than a block"):
        Flicker().add(np.zeros((15, 20), np.uint8))


def test_pixels_that_come_back_are_counted_once() -> None:
    steady, other = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    other[:5] = 3
    flicker = MaskFlicker()
    for mask in (steady, other, steady, steady):
        flicker.add(mask)
    assert flicker.summary() == {"mask_share": 0.125, "mask_worst_share": 0.25}
    again = MaskFlicker(*flicker.state())
    again.merge(MaskFlicker())
    assert again.summary() == flicker.summary()


def test_an_edge_that_moves_on_does_not_flicker() -> None:
    flicker = MaskFlicker()
    for column in range(10):
        mask = np.zeros((20, 20), np.uint8)
        mask[:, :column] = 3
        flicker.add(mask)
    assert flicker.summary() == {"mask_share": 0.0, "mask_worst_share": 0.0}
    flicker.add(np.zeros((30, 20), np.uint8))
    assert MaskFlicker().summary()["mask_share"] is None
