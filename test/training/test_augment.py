# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segmif_ros.datasets.sample import Sample
from segmif_ros.training.augment import Augmentation, make_example

PLAIN = Augmentation(
    crop=(64, 96), darkness=0, smoke=0, glare=0, drop_visible=0, drop_thermal=0, shift_px=0
)


def sample() -> Sample:
    bars = (np.arange(160) // 20 * 36).astype(np.uint8)
    return Sample(
        np.repeat(np.tile(bars, (120, 1))[..., None], 3, axis=2),
        np.tile(bars[::-1], (120, 1)),
        np.tile(np.arange(160, dtype=np.uint8) // 16, (120, 1)),
        "bars",
    )


@pytest.mark.parametrize("seed", range(8))
def test_shapes_and_ranges_hold_for_every_draw(seed: int) -> None:
    example = make_example(sample(), Augmentation(crop=(64, 96)), np.random.default_rng(seed))
    assert example.rgb.shape == (64, 96, 3)
    assert example.thermal.shape == example.labels.shape == example.target.shape == (64, 96)
    for image in (example.rgb, example.thermal, example.target):
        assert image.dtype == np.float32
        assert 0.0 <= image.min() <= image.max() <= 255.0
    assert set(np.unique(example.labels)) <= set(range(10))


def test_the_same_seed_gives_the_same_example() -> None:
    a, b = (make_example(sample(), Augmentation(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.target, b.target)


def test_a_dropped_camera_is_blind_but_for_its_noise() -> None:
    blind = make_example(sample(), replace(PLAIN, drop_visible=1.0), np.random.default_rng(1))
    assert blind.rgb.std() < 8.0
    assert blind.thermal.std() > 20.0
    blind = make_example(sample(), replace(PLAIN, drop_thermal=1.0), np.random.default_rng(1))
    assert blind.thermal.std() < 8.0
    assert blind.rgb.std() > 20.0


def test_darkness_darkens_and_keeps_the_labels() -> None:
    day = make_example(sample(), PLAIN, np.random.default_rng(2))
    night = make_example(sample(), replace(PLAIN, darkness=1.0), np.random.default_rng(2))
    assert night.rgb.mean() < 0.6 * day.rgb.mean()
    assert np.array_equal(night.labels, day.labels)
    assert night.labels.shape == (64, 96)
