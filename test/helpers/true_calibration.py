# SPDX-License-Identifier: Apache-2.0
"""The calibrated rig that `segmif calibrate board` should find."""

from __future__ import annotations

import numpy as np

from segmif_ros.registration import Intrinsics, RigCalibration
from segmif_ros.rig.cameras.cameras import Pinhole, Rig


def rig_calibration(rig: Rig, *, seed: int, depth_m: tuple[float, float]) -> RigCalibration:
    """Return both cameras and their mounting.

    Args:
        rig: whose geometry.
        seed: named in `source`, for people.
        depth_m: nearest and furthest depth of the scene, metres; the same twice for a plane.

    Raises:
        RegistrationError: a depth that does not lie in front of both cameras.
    """
    return RigCalibration(
        _intrinsics(rig.rgb.intrinsics),
        _intrinsics(rig.thermal.intrinsics),
        rig.thermal.rotation.T,
        np.array(rig.thermal.position_m),
        *depth_m,
        source=f"virtual rig, seed {seed}",
    )


def _intrinsics(pinhole: Pinhole) -> Intrinsics:
    return Intrinsics((pinhole.height, pinhole.width), pinhole.matrix)
