# SPDX-License-Identifier: Apache-2.0
"""The motion of a picture, also where some of its pixels are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segmif_ros.sync.clock_offset import MotionMeter


def seen(shift: int) -> np.ndarray:
    wall = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 1, (140, 200)), (0, 0), 3.0)
    return np.asarray(20.0 + 40.0 * wall[10:130, 20 - shift : 180 - shift], np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_broken_pixel_neither_hides_the_motion_nor_holds_it_still(value: float) -> None:
    meter = MotionMeter()
    for shift in (0, 4):
        picture = seen(shift)
        picture[30:34, 40:44] = value
        moved, same = meter.add(picture)
    assert not same
    assert moved == pytest.approx([4 / 160, 0.0], abs=0.5 / 160)


@pytest.mark.parametrize("value", [np.nan, 0.0, 20.3])
def test_a_flat_picture_does_not_change(value: float) -> None:
    meter = MotionMeter()
    meter.add(seen(0))
    for picture in (np.full((120, 160), value, np.float32),) * 2:
        moved, _ = meter.add(picture)
        assert moved.tolist() == [0.0, 0.0]
