# SPDX-License-Identifier: Apache-2.0
"""camera_info goes out as it came in, and one of another camera is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from true_calibration import rig_calibration

from segmif_ros.registration import Intrinsics, RegistrationError, lens
from segmif_ros.rig.cameras.cameras import Rig, homography_calibration
from segmif_ros.ros.node.camera_infos import (
    CameraInfoWatch,
    check_camera_info,
    output_camera_info,
)
from segmif_ros.ros.tools.rig_node import camera_info

RIG = Rig.default()
CALIBRATION = rig_calibration(RIG, seed=1, depth_m=(18.0, 18.0))
BENT = replace(
    CALIBRATION,
    rgb=Intrinsics(
        CALIBRATION.rgb.size, CALIBRATION.rgb.matrix, "plumb_bob", (-0.3, 0.1, 0.001, 0.0, 0.0)
    ),
)


def info(**fields: object) -> CameraInfo:
    out = camera_info(RIG.rgb)
    for name, value in fields.items():
        setattr(out, name, value)
    return out


def test_the_lens_is_read():
    bent = lens.intrinsics_of(info(distortion_model="equidistant", d=[0.01, 0.0, 0.0, 0.0]))
    assert (bent.size, bent.model, bent.coefficients[0]) == ((480, 640), "equidistant", 0.01)
    np.testing.assert_allclose(bent.matrix, RIG.rgb.intrinsics.matrix)
    assert lens.intrinsics_of(info(distortion_model="", d=[])).model == "plumb_bob"


def test_the_output_keeps_the_lens_and_takes_the_header_of_the_frame():
    message = info(d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    message.header.frame_id = "of the message"
    header = Header(frame_id="rgb_optical_frame")
    header.stamp.sec = 17
    out = output_camera_info(message, header, (480, 640))
    assert out.header == header
    assert message.header.frame_id == "of the message"
    for name in ("height", "width", "distortion_model", "binning_x", "roi"):
        assert getattr(out, name) == getattr(message, name)
    for name in ("d", "k", "r", "p"):
        assert list(getattr(out, name)) == list(getattr(message, name))


def test_the_camera_of_the_calibration_passes():
    check_camera_info(info(), None)
    check_camera_info(info(), (480, 640), CALIBRATION)
    check_camera_info(camera_info(RIG.thermal), (512, 640), CALIBRATION, "thermal")
    check_camera_info(info(), (480, 640), homography_calibration(RIG, seed=1))
    check_camera_info(info(d=[-0.3, 0.1, 0.001, 0.0, 0.0]), None, BENT)
    rounded = [round(value, 2) for value in RIG.rgb.intrinsics.matrix.ravel()]
    check_camera_info(info(k=rounded), None, CALIBRATION)


def test_a_calibration_for_the_rectified_image_passes():
    """image_proc publishes one camera_info for both: K and D of the raw image, P of the other."""
    k = RIG.rgb.intrinsics.matrix
    both = info(d=[-0.3, 0.1, 0.0, 0.0, 0.0], k=[float(v) for v in (0.9 * k).ravel()])
    both.k[8] = 1.0
    check_camera_info(both, None, CALIBRATION)


@pytest.mark.parametrize(
    ("message", "size", "calibration", "words"),
    [
        (info(width=1280, height=960), (480, 640), None, "1280x960 pixels, the images .* 640x480"),
        (info(k=[0.0] * 9), (480, 640), None, r"K\[0\] = 0: the camera is not calibrated"),
        (info(width=320, height=240), (240, 320), CALIBRATION, "320x240.*for 640x480; calibrate"),
        (info(), None, BENT, r"differ by up to \d+\.\d px; .*calibrate the rig again"),
        (info(distortion_model="thin"), None, CALIBRATION, "'thin', expected plumb_bob"),
        (info(d=[0.1]), None, CALIBRATION, r"rgb: d is \[0.1\], expected 5"),
        (info(binning_x=2), None, CALIBRATION, r"binning is \[2, 0\]"),
    ],
)
def test_another_camera_is_refused_with_one_line(message, size, calibration, words):
    with pytest.raises(RegistrationError, match=words) as caught:
        check_camera_info(message, size, calibration)
    assert "\n" not in str(caught.value)


def test_a_cropped_image_is_refused():
    message = info()
    message.roi.x_offset, message.roi.width, message.roi.height = 16, 320, 240
    with pytest.raises(RegistrationError, match=r"roi is \[16, 0, 320, 240\]"):
        check_camera_info(message, None, CALIBRATION)


def test_outputs_get_no_camera_info_of_another_size():
    with pytest.raises(RegistrationError, match="640x480 pixels, the images have 320x240"):
        output_camera_info(info(), Header(), (240, 320))


def test_a_camera_info_is_compared_once_and_again_when_it_changes(monkeypatch):
    compared = []

    def counted(*arguments):
        compared.append(arguments)
        return difference_px(*arguments)

    difference_px = lens.difference_px
    monkeypatch.setattr(lens, "difference_px", counted)
    watch = CameraInfoWatch()
    assert watch.problem(None, CALIBRATION, "rgb") == ""
    for _ in range(5):
        assert watch.problem(info(), CALIBRATION, "rgb") == ""
    assert len(compared) == 1
    for _ in range(5):
        assert "differ by up to" in watch.problem(info(), BENT, "rgb")
    assert "K[0] = 0" in watch.problem(info(k=[0.0] * 9), BENT, "rgb")
    assert watch.problem(info(d=[-0.3, 0.1, 0.001, 0.0, 0.0]), BENT, "rgb") == ""


def test_without_a_rig_calibration_an_uncalibrated_camera_is_left_alone():
    watch = CameraInfoWatch()
    assert watch.problem(info(k=[0.0] * 9), None, "rgb") == ""
    assert watch.problem(info(k=[0.0] * 9), homography_calibration(RIG, seed=1), "rgb") == ""
