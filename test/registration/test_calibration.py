# SPDX-License-Identifier: Apache-2.0
"""Transforms as ROS writes them, and what a calibration file says about a LiDAR."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segmif_ros.registration import RegistrationError
from segmif_ros.registration.calibration import Transform
from segmif_ros.registration.calibration_file import load_mounting, rotation_matrix

HOMOGRAPHY = "thermal: {width: 64, height: 48}\nhomography: [[1,0,0],[0,1,0],[0,0,1]]\n"
SIZE = "rgb: {width: 64, height: 48}\n"


@pytest.mark.parametrize("axis", [(0, 0, 0), (3.1, 0, 0), (0, 3.1, 0), (0, 0, 3.1), (0.3, -1, 2)])
def test_a_quaternion_is_the_rotation_it_was_made_of(axis: tuple[float, float, float]) -> None:
    turn, _ = cv2.Rodrigues(np.array(axis, float))
    found = Transform(turn, np.zeros(3)).quaternion
    assert found[3] >= 0.0
    np.testing.assert_allclose(rotation_matrix(np.array(found)), turn, atol=1e-9)


def test_the_command_for_tf_static_names_both_frames() -> None:
    line = Transform(np.eye(3), np.array([-0.09, 0.01, 0.0])).publisher_line("rgb", "thermal")
    assert "--x -0.090000 --y 0.010000 --z 0.000000" in line
    assert "--qw 1.00000000 --frame-id rgb --child-frame-id thermal" in line


def test_lidar_and_depth_camera_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        SIZE.replace("48}", "48, k: [60,0,31.5,0,60,23.5,0,0,1]}")
        + HOMOGRAPHY
        + "lidar: {frame_id: top, rotation: [0,0,0,1], translation_m: [0,-0.3,0]}\n"
        + "depth:\n  camera: {width: 32, height: 24, k: [30,0,15.5,0,30,11.5,0,0,1]}\n"
        + "  extrinsic: {rotation: [0,0,0,1], translation_m: [0.05,0,0]}\n"
    )
    found = load_mounting(path)
    assert found.lidar_frame == "top"
    assert found.lidar is not None
    np.testing.assert_array_equal(found.lidar.rotation, np.eye(3))
    assert found.depth is not None
    assert found.depth.size == (24, 32)
    assert found.rgb is not None
    path.write_text(SIZE + HOMOGRAPHY)
    bare = load_mounting(path)
    assert bare.rgb is bare.lidar is bare.depth is None


@pytest.mark.parametrize(
    "lidar",
    [
        "{rotation: [0,0,0,2], translation_m: [0,0,0]}",
        "{rotation: [[1,0,0],[0,2,0],[0,0,1]], translation_m: [0,0,0]}",
        "{rotation: [0,0,0,1], translation_m: [0,0]}",
        "{rotation: [0,0,0,1], translation_m: [0,0,.nan]}",
        "{translation_m: [0,0,0]}",
        "{rotation: [0,0,0,1], translation_m: [0,0,0], frame: top}",
    ],
)
def test_a_mounting_that_is_none_is_refused_with_the_file(tmp_path: Path, lidar: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SIZE + HOMOGRAPHY + f"lidar: {lidar}\n")
    with pytest.raises(RegistrationError, match=r"c\.yaml"):
        load_mounting(path)
