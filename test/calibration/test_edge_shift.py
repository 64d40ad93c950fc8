# SPDX-License-Identifier: Apache-2.0
"""A known shift or roll is measured; what shows nothing stands out no more than chance."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from edge_scenes import both_views, moved
from numpy.typing import NDArray

from segmif_ros.calibration.alignment_watch import LEAST_PROMINENCE
from segmif_ros.calibration.edge_shift import TileScores, best_shift, tile_scores


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (7.0, -5.0), (-40.0, 30.0), (1.0, 0.0)])
def test_a_shift_is_measured(dx: float, dy: float) -> None:
    rgb, thermal = both_views(1)
    found = best_shift(tile_scores(rgb, moved(thermal, dx, dy)))
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.5)
    assert found.roll_deg == 0.0
    assert found.rms_px == pytest.approx(np.hypot(dx, dy), abs=0.5)
    assert found.prominence > 2 * LEAST_PROMINENCE


@pytest.mark.parametrize(("dx", "dy"), [(66.0, 0.0), (-84.0, 50.0), (0.0, -90.0)])
def test_a_shift_beyond_the_reach_of_the_tiles_is_measured_coarsely(dx: float, dy: float) -> None:
    rgb, thermal = both_views(9)
    found = best_shift(tile_scores(rgb, moved(thermal, dx, dy)))
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=2.0)
    assert found.prominence > 2 * LEAST_PROMINENCE
    assert found.loss > LEAST_PROMINENCE


@pytest.mark.parametrize("roll_deg", [-2.0, 3.0])
def test_a_roll_is_measured_with_the_shift(roll_deg: float) -> None:
    rgb, thermal = both_views(2)
    found = best_shift(tile_scores(rgb, moved(thermal, 6.0, 4.0, roll_deg)))
    assert found.roll_deg == pytest.approx(roll_deg, abs=0.3)
    assert (found.dx, found.dy) == pytest.approx((6.0, 4.0), abs=1.5)
    # 231 px is the RMS distance from the middle of a 640x480 picture.
    turned = np.radians(roll_deg) * 231
    assert found.rms_px == pytest.approx(np.hypot(turned, np.hypot(6.0, 4.0)), abs=1.5)


def test_agreement_is_the_share_of_the_best_score() -> None:
    rgb, thermal = both_views(3)
    assert best_shift(tile_scores(rgb, thermal)).agreement == 1.0
    off = best_shift(tile_scores(rgb, moved(thermal, 10.0, 0.0)))
    assert off.agreement < 0.5
    assert off.loss > 3.0


@pytest.mark.parametrize("size", [(960, 1280), (241, 333), (64, 48)])
def test_shifts_are_pixels_of_the_picture_whatever_its_size(size: tuple[int, int]) -> None:
    rgb, thermal = both_views(4, size)
    shift = round(size[1] * 0.04)
    found = best_shift(tile_scores(rgb, moved(thermal, shift, 0.0)))
    assert found.dx == pytest.approx(shift, abs=max(1.0, size[1] / 400))


def test_what_thermal_does_not_cover_is_left_out() -> None:
    rgb, thermal = both_views(5)
    valid = np.zeros(thermal.shape, np.uint8)
    valid[60:420, 100:540] = 255
    shown = np.where(valid, moved(thermal, 9.0, 0.0), 0).astype(np.uint8)
    assert best_shift(tile_scores(rgb, shown, valid)).dx == pytest.approx(9.0, abs=0.5)


FLAT = np.full((480, 640), 90, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8)


@pytest.mark.parametrize("thermal", [FLAT, np.zeros_like(FLAT), NOISE, both_views(8)[1]])
def test_what_shows_nothing_does_not_stand_out(thermal: NDArray[Any]) -> None:
    for rgb in (both_views(6)[0], cv2.merge([FLAT] * 3), cv2.merge([NOISE[::-1].copy()] * 3)):
        found = best_shift(tile_scores(np.asarray(rgb, np.uint8), thermal))
        assert found.prominence < LEAST_PROMINENCE
        assert 0.0 <= found.agreement <= 1.0


def test_several_pairs_outvote_a_wrong_one() -> None:
    scores = [tile_scores(both_views(n)[0], moved(both_views(n)[1], 8.0, 0.0)) for n in (11, 12)]
    wrong = tile_scores(both_views(13)[0], both_views(14)[1])
    found = best_shift(TileScores.mean([scores[0], wrong, scores[1]]))
    assert (found.dx, found.dy) == pytest.approx((8.0, 0.0), abs=0.5)


def test_likeness_distinguishes_places() -> None:
    rgb, thermal = both_views(21)
    noise = np.random.default_rng(1).normal(0, 6, rgb.shape)
    again = tile_scores(np.clip(rgb + noise, 0, 255).astype(np.uint8), thermal)
    assert again.likeness(tile_scores(rgb, thermal)) > 0.6
    assert abs(again.likeness(tile_scores(*both_views(22)))) < 0.25


def test_pictures_of_two_sizes_are_refused() -> None:
    rgb, thermal = both_views(1)
    with pytest.raises(ValueError, match="expected one size"):
        tile_scores(rgb, thermal[::2])
    with pytest.raises(ValueError, match="expected one size"):
        tile_scores(thermal, thermal)


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (640, 1), (8, 5000)])
def test_pictures_of_a_few_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="too small to compare"):
        tile_scores(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))


def test_the_smallest_pictures_can_be_compared() -> None:
    size = (24, 24)
    found = tile_scores(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))
    assert best_shift(found).prominence < LEAST_PROMINENCE
