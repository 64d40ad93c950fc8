# SPDX-License-Identifier: Apache-2.0
"""Writes the rig's true thermal -> RGB geometry as the calibration file that the node loads."""

from __future__ import annotations

from pathlib import Path

import yaml

from segmif_ros.rig.cameras import Rig

PLANE_M = 18.0
"""Distance at which the homography is exact: the middle of a street scene."""


def calibration_yaml(rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> str:
    """Return the text of the calibration file.

    Args:
        rig: whose geometry.
        seed: named in `source`, for people.
        distance_m: the homography is exact for a plane this far in front of the RGB camera.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
    """
    homography = rig.thermal_to_rgb_homography(distance_m)
    content = {
        "rgb": {"width": rig.rgb.intrinsics.width, "height": rig.rgb.intrinsics.height},
        "thermal": {"width": rig.thermal.intrinsics.width, "height": rig.thermal.intrinsics.height},
        "homography": homography.tolist(),
        "source": f"virtual rig, seed {seed}, plane at {distance_m:g} m",
    }
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return text


def write_calibration(path: Path, rig: Rig, *, seed: int, distance_m: float = PLANE_M) -> None:
    """Write `calibration_yaml` to `path`; folders are made, a half-written file is never seen.

    Raises:
        ValueError: the plane does not lie in front of both cameras.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(calibration_yaml(rig, seed=seed, distance_m=distance_m), encoding="utf-8")
    part.replace(path)
