# SPDX-License-Identifier: Apache-2.0
"""Images that are well formed and still of no use to the worker."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from segmif_ros.images.raw import ImageView, Refusal, objection
from segmif_ros.pairing import Stream
from segmif_ros.registration import Calibration

RGB, THERMAL = Stream.RGB, Stream.THERMAL
CALIBRATION = Calibration((20, 30), (10, 15), np.eye(3))


def judge(stream, pixels, encoding, mode="auto", calibration=None):
    view = ImageView(pixels, encoding)
    return objection(stream, view, thermal_mode=mode, calibration=calibration)


def test_only_thermal_of_the_size_of_the_calibration_can_be_used():
    assert judge(THERMAL, np.zeros((10, 15), np.uint8), "mono8", calibration=CALIBRATION) is None
    other = np.zeros((11, 15), np.uint8)
    assert judge(THERMAL, other, "mono8") is None
    found = judge(THERMAL, other, "mono8", calibration=CALIBRATION)
    assert found.reason is Refusal.SIZE
    assert "15x11 pixels" in str(found)
    assert "is for 15x10" in str(found)
    rgb = np.zeros((21, 30, 3), np.uint8)
    assert judge(RGB, rgb, "rgb8", calibration=CALIBRATION) is None, "it continues alone"


def test_passthrough_takes_eight_bits():
    counts = np.zeros((9, 9), np.uint16)
    assert judge(THERMAL, counts, "mono16", "percentile") is None
    assert judge(THERMAL, counts.astype(np.uint8), "mono8", "passthrough") is None
    found = judge(THERMAL, counts, "mono16", "passthrough")
    assert found.reason is Refusal.ENCODING
    assert "set it to 'auto'" in str(found)


@pytest.mark.parametrize("order", ["<f4", ">f4"])
def test_a_float_image_needs_one_value(order):
    image = np.full((40, 40), np.nan, order)
    assert judge(THERMAL, image, "32FC1").reason is Refusal.NO_VALUES
    image[:] = np.inf
    assert judge(THERMAL, image, "32FC1").reason is Refusal.NO_VALUES
    image[3, 5] = 21.0
    assert judge(THERMAL, image, "32FC1") is None
