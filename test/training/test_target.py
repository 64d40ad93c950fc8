# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.training.target import fusion_target


def street() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(60, 180, (128, 160)).astype(np.float32)


def test_equal_images_give_themselves() -> None:
    image = street()
    np.testing.assert_allclose(fusion_target(image, image), image, atol=0.01)


def test_a_blind_thermal_camera_changes_nothing() -> None:
    image = street()
    target = fusion_target(image, np.full(image.shape, 20.0, np.float32))
    assert np.abs(target - image).mean() < 2.0


def test_people_stand_out_of_smoke_without_a_halo() -> None:
    smoke = np.full((128, 160), 150.0, np.float32)
    thermal = np.full((128, 160), 40.0, np.float32)
    thermal[40:90, 60:80] = 210.0
    target = fusion_target(smoke, thermal)
    assert target[45:85, 64:76].mean() > 220.0
    around = target.copy()
    around[36:94, 56:84] = 150.0
    assert around.min() > 130.0


def test_a_cold_sky_does_not_darken_a_bright_one() -> None:
    visible = np.full((128, 160), 90.0, np.float32)
    thermal = np.full((128, 160), 130.0, np.float32)
    visible[:64], thermal[:64] = 200.0, 0.0
    target = fusion_target(visible, thermal)
    assert target[:60].min() > 185.0


@pytest.mark.parametrize("brighter", [0.0, 0.5])
def test_a_dark_coat_before_a_bright_sky_stays_dark(brighter: float) -> None:
    visible = np.full((128, 160), 200.0, np.float32)
    visible[30:100, 60:90] = 40.0  # a coat, warm: as bright in thermal as the sky in visible
    thermal = np.full((128, 160), 20.0, np.float32)
    thermal[30:100, 60:90] = 200.0
    coat = fusion_target(visible, thermal, brighter)[50:80, 70:80].mean()
    at_night = fusion_target(np.minimum(visible, 40.0), thermal, brighter)[50:80, 70:80].mean()
    assert coat < 130.0
    assert at_night > 180.0


def test_brighter_comes_nearer_to_the_brighter_camera() -> None:
    visible, thermal = street(), street()[::-1]
    top = np.maximum(visible, thermal)
    plain, brighter = (np.abs(fusion_target(visible, thermal, b) - top).mean() for b in (0.0, 0.5))
    assert 0.5 * plain < brighter < 0.75 * plain  # half the way but for what contrast allows


def test_where_it_is_well_lit_the_visible_detail_wins() -> None:
    rng = np.random.default_rng(3)
    detail = rng.normal(0.0, 8.0, (128, 160)).astype(np.float32)
    other = rng.normal(0.0, 8.0, (128, 160)).astype(np.float32)

    def share(level: float) -> float:
        target = fusion_target(level + detail, level + other)
        return float(np.corrcoef(target.ravel(), detail.ravel())[0, 1])

    assert share(180.0) > 0.9
    assert share(180.0) > share(25.0) + 0.1


def test_stays_in_range() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.uniform(0, 255, (64, 96)).astype(np.float32) for _ in range(2)]
    target = fusion_target(*noise)
    assert target.dtype == np.float32
    assert target.min() >= 0.0
    assert target.max() <= 255.0
