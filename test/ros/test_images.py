# SPDX-License-Identifier: Apache-2.0
"""Arrays become messages that read back as they were."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from std_msgs.msg import Header

from segmif_ros.images.raw import view_rgb, view_thermal
from segmif_ros.ros.images import to_message


@pytest.mark.parametrize(("encoding", "channels"), [("mono8", 1), ("rgb8", 3), ("mono16", 1)])
def test_message_round_trip_keeps_pixels_and_header(encoding, channels):
    shape = (5, 8) if channels == 1 else (5, 8, channels)
    kind = np.uint16 if encoding == "mono16" else np.uint8
    array = np.random.default_rng(3).integers(0, 256, shape, kind)
    header = Header(frame_id="camera_optical")
    header.stamp.sec, header.stamp.nanosec = 12, 345
    out = to_message(array, encoding, header)
    assert (out.header.frame_id, out.header.stamp.sec, out.header.stamp.nanosec) == (
        "camera_optical",
        12,
        345,
    )
    assert (out.height, out.width, out.encoding) == (5, 8, encoding)
    assert out.step == 8 * channels * array.itemsize
    back = view_rgb(out).to_rgb() if channels == 3 else view_thermal(out).to_thermal()
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("array", "encoding"),
    [
        (np.zeros((4, 4, 3), np.float32), "rgb8"),
        (np.zeros((4, 4), np.uint8), "rgb8"),
        (np.zeros((4, 4, 3), np.uint8), "mono8"),
        (np.zeros((4, 8, 3), np.uint8)[:, ::2], "rgb8"),
    ],
)
def test_an_array_that_does_not_fit_is_an_error_of_ours(array, encoding):
    with pytest.raises(ValueError, match="expected contiguous uint8"):
        to_message(array, encoding, Header())
