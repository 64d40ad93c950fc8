# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import torch

from segmif_ros.guidance import guidance, saliency_table
from segmif_ros.network.guidance import guidance as torch_guidance


def pair(seed: int, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, size, np.uint8),
        rng.integers(40, 90, size, np.uint8),
    )


def test_the_torch_form_equals_the_definition() -> None:
    thermal, luma = pair(0)
    got = torch_guidance(
        torch.from_numpy(thermal)[None, None] / 255.0, torch.from_numpy(luma)[None, None] / 255.0
    )
    np.testing.assert_allclose(got[0, 0].numpy() * 255.0, guidance(thermal, luma, 4), atol=2e-3)


def test_the_table_equals_a_sum_over_pixels() -> None:
    image = pair(1)[0]
    direct = np.array([np.abs(image.astype(float) - level).mean() for level in range(256)])
    np.testing.assert_allclose(saliency_table(image), direct / direct.max(), rtol=1e-12)


def test_a_hot_spot_wins_over_a_flat_visible_image() -> None:
    thermal = np.full((32, 32), 30, np.uint8)
    thermal[8:12, 8:12] = 240
    luma = np.full((32, 32), 150, np.uint8)
    mixed = guidance(thermal, luma)
    assert mixed[9, 9] > 230
    assert 80 < mixed[0, 0] < 100


def test_a_flat_pair_stays_finite() -> None:
    flat = np.full((8, 8), 7, np.uint8)
    assert np.allclose(guidance(flat, flat), 7.0)
