# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import yaml

from segmif_ros.registration import Registration, load_calibration
from segmif_ros.rig.calibration import calibration_yaml, write_calibration
from segmif_ros.rig.cameras import Rig


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


def test_the_format_is_plain():
    raw = yaml.safe_load(calibration_yaml(Rig.aligned(), seed=1, distance_m=12.5))
    assert raw["rgb"] == raw["thermal"] == {"width": 640, "height": 480}
    np.testing.assert_allclose(raw["homography"], np.eye(3), atol=1e-9)
    assert raw["source"].endswith("12.5 m")


def test_an_impossible_plane_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"0\.0 m"):
        write_calibration(tmp_path / "rig.yaml", Rig.default(), seed=1, distance_m=0.0)
    assert list(tmp_path.iterdir()) == []
