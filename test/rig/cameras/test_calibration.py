# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import yaml
from true_calibration import rig_calibration

from segmif_ros.registration import Registration, RegistrationError, load_calibration
from segmif_ros.registration.calibration_file import load_mounting
from segmif_ros.rig.cameras.calibration import (
    homography_calibration,
    write_calibration,
)
from segmif_ros.rig.cameras.cameras import Lidar, Rig


def test_the_node_reads_what_the_rig_writes(tmp_path):
    path = tmp_path / "new" / "rig.yaml"
    rig = Rig.default()
    write_calibration(path, rig, seed=7)
    calibration = load_calibration(path)
    assert calibration.rgb_size == (480, 640)
    assert calibration.thermal_size == (512, 640)
    np.testing.assert_allclose(calibration.homography, rig.thermal_to_rgb_homography(18.0))
    assert calibration.source == "virtual rig, seed 7, plane at 18 m"
    assert [p.name for p in path.parent.iterdir()] == ["rig.yaml"]
    area = Registration(calibration).valid_area((512, 640), (480, 640))
    assert (area == 255).all()


def test_the_format_is_plain(tmp_path):
    write_calibration(tmp_path / "rig.yaml", Rig.aligned(), seed=1, distance_m=12.5)
    raw = yaml.safe_load((tmp_path / "rig.yaml").read_text())
    assert raw["thermal"] == {"width": 640, "height": 480}
    assert (raw["rgb"]["width"], raw["rgb"]["height"], raw["rgb"]["d"]) == (640, 480, [])
    mounting = load_mounting(tmp_path / "rig.yaml")
    assert mounting.lidar is not None
    assert mounting.lidar_frame == "lidar"
    np.testing.assert_allclose(mounting.lidar.translation_m, Lidar().position_m)
    np.testing.assert_allclose(raw["homography"], np.eye(3), atol=1e-9)
    assert raw["source"].endswith("12.5 m")


def test_an_impossible_plane_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"0\.0 m"):
        write_calibration(tmp_path / "rig.yaml", Rig.default(), seed=1, distance_m=0.0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RegistrationError, match="0 to 0 m"):
        rig_calibration(Rig.default(), seed=1, depth_m=(0.0, 0.0))


@pytest.mark.parametrize("distance", [3.0, 18.0, 200.0])
def test_both_forms_are_one_geometry_at_the_plane(distance):
    """Two derivations that share nothing but the cameras."""
    rig = Rig.default()
    grid = np.stack(np.meshgrid(np.linspace(0, 639, 9), np.linspace(0, 479, 7)), -1).reshape(-1, 2)
    cameras = rig_calibration(rig, seed=1, depth_m=(distance, distance)).to_thermal(grid)
    plane = homography_calibration(rig, seed=1, distance_m=distance).to_thermal(grid)
    assert cameras[1].all()
    assert plane[1].all()
    np.testing.assert_allclose(cameras[0], plane[0], atol=1e-6)
