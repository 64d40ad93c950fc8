# SPDX-License-Identifier: Apache-2.0
"""Ordinary pictures must give the rig's true geometry, and a refusal where they cannot."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rig_pictures import street_grey, street_thermal

from segmif_ros.calibration.automatic import align
from segmif_ros.calibration.points import CalibrationError, rms_between
from segmif_ros.rig.cameras.cameras import Rig

Pictures = tuple[list[NDArray[Any]], list[NDArray[Any]]]


def street(seed: int, count: int, *, aligned: bool = False) -> Pictures:
    rgb = [street_grey(seed, number) for number in range(count)]
    return rgb, [street_thermal(seed, number, aligned=aligned) for number in range(count)]


def test_the_rig_is_found_without_any_hint() -> None:
    rig = Rig.default()
    fit = align(*street(2, 2))
    # Most of this street lies about 18 m ahead.
    truth = rig.thermal_to_rgb_homography(18.0)
    assert rms_between(truth, fit.calibration.homography, fit.calibration) < 1.5
    assert fit.agreement > fit.agreement_before + 0.1
    assert "automatic from 2 pairs" in fit.calibration.source


def test_one_wrong_pair_is_outvoted() -> None:
    rig = Rig.default()
    scale = rig.rgb.intrinsics.fx / rig.thermal.intrinsics.fx
    rgb, thermal = street(2, 3)
    thermal[2] = np.ascontiguousarray(thermal[2][::-1])
    fit = align(rgb, thermal, scale=scale)
    truth = rig.thermal_to_rgb_homography(18.0)
    assert rms_between(truth, fit.calibration.homography, fit.calibration) < 2.0


def test_aligned_pictures_stay_exactly_where_they_are() -> None:
    fit = align(*street(2, 2, aligned=True), scale=1.0)
    np.testing.assert_array_equal(fit.calibration.homography, np.eye(3))
    assert 0.0 < fit.change_px < 1.0
    assert "registered already" in fit.calibration.source


def test_a_single_pair_is_enough_where_little_is_off() -> None:
    rgb, thermal = street(2, 1, aligned=True)
    off = cv2.getRotationMatrix2D((319.5, 239.5), 2.5, 0.98) + np.array([[0, 0, 17], [0, 0, -12.0]])
    moved = [np.asarray(cv2.warpAffine(thermal[0], off, (640, 480)))]
    fit = align(rgb, moved)
    truth = np.linalg.inv(np.vstack([off, [0.0, 0.0, 1.0]]))
    assert rms_between(truth, fit.calibration.homography, fit.calibration) < 3.0
    assert fit.change_px > 15.0
    assert fit.prominence > 2.0


def test_pictures_of_different_places_are_refused() -> None:
    rig = Rig.default()
    scale = rig.rgb.intrinsics.fx / rig.thermal.intrinsics.fx
    rgb, thermal = street(2, 1)[0], street(7, 1)[1]
    with pytest.raises(CalibrationError, match="no reliable alignment"):
        align(rgb, thermal, scale=scale)


def test_noise_is_refused() -> None:
    random = np.random.default_rng(0)
    rgb, thermal = random.integers(0, 256, (2, 2, 240, 320)).astype(np.uint8)
    with pytest.raises(CalibrationError, match="no reliable alignment"):
        align(list(rgb), list(thermal), scale=1.0)


def test_flat_pictures_are_refused() -> None:
    flat = [np.full((240, 320), 90, np.uint8)]
    with pytest.raises(CalibrationError, match="no edges"):
        align(flat, flat, scale=1.0)


BIG, SMALL = np.zeros((64, 64), np.uint8), np.zeros((32, 64), np.uint8)


@pytest.mark.parametrize(
    ("rgb", "thermal", "named"),
    [
        ([], [], "0 RGB"),
        ([BIG], [BIG, BIG], "1 RGB and 2 thermal"),
        ([BIG, SMALL], [BIG, BIG], "one size"),
        ([np.zeros((64, 64, 3), np.uint8)], [BIG], "grey"),
        ([BIG], [np.zeros((8, 8), np.uint8)], "32 pixels"),
    ],
)
def test_what_is_no_set_of_pairs_is_refused(rgb: Any, thermal: Any, named: str) -> None:
    with pytest.raises(CalibrationError, match=named):
        align(rgb, thermal)
