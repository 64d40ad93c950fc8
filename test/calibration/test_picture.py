# SPDX-License-Identifier: Apache-2.0
"""The picture must show edges where the calibration puts them."""

from __future__ import annotations

import numpy as np

from segmif_ros.calibration.picture import before_after
from segmif_ros.registration import Calibration


def test_edges_move_by_what_the_calibration_says() -> None:
    rgb = np.full((120, 160, 3), 90, np.uint8)
    thermal = np.zeros((120, 160), np.uint8)
    thermal[:, 60:] = 200
    shift = np.array([[1.0, 0, 30], [0, 1, 0], [0, 0, 1]])
    picture = before_after(rgb, thermal, Calibration((120, 160), (120, 160), shift))
    assert picture.shape == (120, 320, 3)
    marked = (picture[60:] != 90).any(axis=(0, 2))
    before, after = np.flatnonzero(marked[:160]), np.flatnonzero(marked[160:])
    assert abs(before.mean() - 59.5) < 1.0
    assert abs(after.mean() - 89.5) < 1.0


def test_a_flat_thermal_image_has_no_edges() -> None:
    rgb = np.full((120, 160, 3), 90, np.uint8)
    flat = np.full((120, 160), 90, np.uint8)
    picture = before_after(rgb, flat, Calibration((120, 160), (120, 160), np.eye(3)))
    assert (picture[60:] == 90).all()
