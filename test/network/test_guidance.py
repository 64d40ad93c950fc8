# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from segmif_ros.network.guidance import guidance


def pair(seed: int, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, size, np.uint8),
        rng.integers(40, 90, size, np.uint8),
    )


def mixed(thermal: np.ndarray, luma: np.ndarray, stride: int = 1) -> np.ndarray:
    tensors = (torch.from_numpy(each)[None, None] / 255.0 for each in (thermal, luma))
    return guidance(*tensors, stride)[0, 0].numpy() * 255.0


def saliency(image: np.ndarray, stride: int) -> np.ndarray:
    """By its definition: the mean distance of each grey level from the pixels of the image."""
    counted = image[::stride, ::stride].astype(float)
    table = np.array([np.abs(counted - level).mean() for level in range(256)])
    return (table / table.max())[image]


@pytest.mark.parametrize("stride", [1, 4])
def test_it_equals_the_sum_over_pixels_that_defines_it(stride: int) -> None:
    thermal, luma = pair(0)
    weight = 0.5 + 0.5 * (saliency(thermal, stride) - saliency(luma, stride))
    wanted = weight * thermal + (1.0 - weight) * luma
    np.testing.assert_allclose(mixed(thermal, luma, stride), wanted, atol=2e-3)


def test_a_hot_spot_wins_over_a_flat_visible_image() -> None:
    thermal = np.full((32, 32), 30, np.uint8)
    thermal[8:12, 8:12] = 240
    image = mixed(thermal, np.full((32, 32), 150, np.uint8))
    assert image[9, 9] > 230
    assert 80 < image[0, 0] < 100


def test_a_flat_pair_stays_finite() -> None:
    flat = np.full((8, 8), 7, np.uint8)
    assert np.allclose(mixed(flat, flat), 7.0)
