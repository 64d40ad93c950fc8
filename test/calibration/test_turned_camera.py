# SPDX-License-Identifier: Apache-2.0
"""A turned camera must give the homography that geometry says it has."""

from __future__ import annotations

import numpy as np
import pytest

from segmif_ros.calibration.points import rms_between
from segmif_ros.calibration.turned_camera import Placement, TurnedCamera, climb
from segmif_ros.registration import Calibration
from segmif_ros.rig.cameras.cameras import Rig

RIG = Rig.default()
SIZES = ((480, 640), (512, 640))
FRAME = Calibration(*SIZES, np.eye(3))


def test_the_rig_is_a_turned_camera_and_no_mere_shift() -> None:
    truth = RIG.thermal_to_rgb_homography(1e6)
    off = []
    for turned in (1.0, 0.0):
        camera = TurnedCamera(*SIZES, RIG.rgb.intrinsics.fx, turned)
        found, _ = climb(
            lambda matrix: -rms_between(truth, matrix, FRAME), camera, camera.placement(truth), 1.0
        )
        off.append(rms_between(truth, camera.matrix(found), FRAME))
    assert off[0] < 0.2
    assert off[1] > 0.9


@pytest.mark.parametrize("turned", [0.0, 0.5, 1.0])
def test_a_placement_survives_the_way_there_and_back(turned: float) -> None:
    camera = TurnedCamera(*SIZES, 554.0, turned)
    place = Placement(1.17, 0.03, 9.0, -4.0)
    assert camera.placement(camera.matrix(place)) == pytest.approx(place, rel=2e-3, abs=2e-3)


def test_the_centre_is_moved_by_the_shift() -> None:
    camera = TurnedCamera(*SIZES, 554.0, 1.0)
    shown = camera.matrix(Placement(1.1, 0.1, 30.0, -20.0)) @ [319.5, 255.5, 1.0]
    np.testing.assert_allclose(shown[:2] / shown[2], [319.5 + 30.0, 239.5 - 20.0], atol=1e-9)
