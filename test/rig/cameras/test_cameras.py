# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from true_calibration import rig_calibration

from segmif_ros.registration import Registration, RegistrationError, load_calibration
from segmif_ros.registration.calibration_file import load_mounting
from segmif_ros.rig.cameras.cameras import (
    Lidar,
    Pinhole,
    Rig,
    homography_calibration,
    place,
    write_calibration,
)


def mapped(homography: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    q = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], axis=-1) @ homography.T
    return q[..., :2] / q[..., 2:]


def test_field_of_view_reaches_the_image_borders():
    camera = Pinhole.from_hfov(640, 480, 60.0)
    assert (camera.cx, camera.cy) == (319.5, 239.5)
    edge = math.degrees(math.atan(320.0 / camera.fx))
    assert edge == pytest.approx(30.0)


@pytest.mark.parametrize("bad", [(8, 480, 60.0), (640, 480, 0.0), (640, 480, 180.0)])
def test_impossible_cameras_are_named(bad):
    with pytest.raises(ValueError, match=str(bad[0])):
        Pinhole.from_hfov(*bad)


@pytest.mark.parametrize("distance", [12.0, 18.0, 30.0])
def test_homography_agrees_with_projected_points_on_its_plane(distance):
    rig = Rig.default()
    yaw, pitch = 0.12, 0.05
    rgb = place(rig.rgb, (1.7, 1.5, 0.0), yaw, pitch)
    thermal = place(rig.thermal, (1.7, 1.5, 0.0), yaw, pitch)
    rng = np.random.default_rng(1)
    across = rng.uniform(-0.5, 0.5, (200, 2)) * distance
    optical = np.column_stack([across, np.full(200, distance)])
    points = optical @ rgb.rotation + rgb.centre
    pixels = mapped(rig.thermal_to_rgb_homography(distance), thermal.project(points))
    assert np.abs(pixels - rgb.project(points)).max() < 1e-6


def test_off_the_plane_the_homography_is_wrong_by_the_parallax():
    rig = Rig.default()
    rgb, thermal = (place(c, (0.0, 1.5, 0.0), 0.0, 0.0) for c in (rig.rgb, rig.thermal))
    point = np.array([[0.0, 1.5, 6.0]])
    error = mapped(rig.thermal_to_rgb_homography(18.0), thermal.project(point)) - rgb.project(point)
    expected = rig.rgb.intrinsics.fx * 0.09 * (1 / 6.0 - 1 / 18.0)
    assert abs(error[0, 0]) == pytest.approx(expected, rel=0.03)


def test_aligned_rig_needs_no_registration():
    rig = Rig.aligned()
    np.testing.assert_allclose(rig.thermal_to_rgb_homography(10.0), np.eye(3), atol=1e-9)
    assert rig.thermal.intrinsics == rig.rgb.intrinsics


def test_thermal_image_covers_the_rgb_image():
    rig = Rig.default()
    k = rig.thermal.intrinsics
    corners = np.array([[0.0, 0.0], [639.0, 0.0], [639.0, 479.0], [0.0, 479.0]])
    back = mapped(np.linalg.inv(rig.thermal_to_rgb_homography(18.0)), corners)
    assert (back > 0).all()
    assert (back[:, 0] < k.width - 1).all()
    assert (back[:, 1] < k.height - 1).all()


def test_plane_behind_the_camera_is_refused():
    with pytest.raises(ValueError, match="-3"):
        Rig.default().thermal_to_rgb_homography(-3.0)


def test_resizing_keeps_the_field_of_view_and_alignment():
    small = Rig.aligned().with_size(320, 240)
    assert small.rgb.intrinsics.fx == pytest.approx(Rig.aligned().rgb.intrinsics.fx / 2)
    assert small.thermal.intrinsics == small.rgb.intrinsics
    assert Rig.default().with_size(320, 240).thermal == Rig.default().thermal


def test_looking_right_and_down_moves_the_world_left_and_up():
    camera = Rig.default().rgb
    ahead = np.array([[0.0, 1.5, 20.0]])
    straight = place(camera, (0.0, 1.5, 0.0), 0.0, 0.0).project(ahead)[0]
    right = place(camera, (0.0, 1.5, 0.0), 0.1, 0.0).project(ahead)[0]
    down = place(camera, (0.0, 1.5, 0.0), 0.0, 0.1).project(ahead)[0]
    assert right[0] < straight[0] - 50
    assert down[1] < straight[1] - 50


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
