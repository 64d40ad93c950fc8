# SPDX-License-Identifier: Apache-2.0
"""The rig's true thermal -> RGB geometry, as the calibration that the node loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segmif_ros.registration import Calibration, Intrinsics, save_calibration
from segmif_ros.registration.mounting import Mounting, Transform
from segmif_ros.rig.cameras.cameras import LIDAR_TO_RGB, Lidar, Rig

PLANE_M = 18.0
"""Distance at which the homography is exact: the middle of a street scene."""


def homography_calibration(rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> Calibration:
    """Return the homography of one plane.

    Args:
        rig: whose geometry.
        seed: named in `source`, for people.
        distance_m: the homography is exact for a plane this far in front of the RGB camera.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
    """
    rgb, thermal = rig.rgb.intrinsics, rig.thermal.intrinsics
    return Calibration(
        (rgb.height, rgb.width),
        (thermal.height, thermal.width),
        rig.thermal_to_rgb_homography(distance_m),
        f"virtual rig, seed {seed}, plane at {distance_m:g} m",
    )


def write_calibration(path: Path, rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> None:
    """Write `homography_calibration` to `path`, with the RGB camera's lens and the LiDAR's place.

    A half-written file is never seen.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
        OSError: the file cannot be written.
    """
    lidar, rgb = Lidar(), rig.rgb.intrinsics
    place = Transform(LIDAR_TO_RGB, np.array(lidar.position_m))
    lens = Intrinsics((rgb.height, rgb.width), rgb.matrix)
    found = homography_calibration(rig, seed=seed, distance_m=distance_m)
    save_calibration(found, path, Mounting(lens, place, lidar.frame_id))
