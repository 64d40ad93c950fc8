# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from benchmarks.dds.publisher import CameraNode, PreparedImage
from benchmarks.dds.signals import Cues
from segmif_ros.images.raw import view_rgb, view_thermal


def test_a_prepared_image_carries_its_pixels_and_each_new_stamp() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    prepared = PreparedImage(pixels, "rgb8", "front")
    for stamp_ns in (1_795_355_504_227_765_744, 1):
        message = deserialize_message(prepared.stamped(stamp_ns), Image)
        stamp = message.header.stamp
        assert stamp.sec * 1_000_000_000 + stamp.nanosec == stamp_ns
        assert message.header.frame_id == "front"
        np.testing.assert_array_equal(view_rgb(message).to_rgb(), pixels)


def test_sixteen_bits_survive() -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    message = deserialize_message(PreparedImage(pixels, "mono16", "t").stamped(5), Image)
    np.testing.assert_array_equal(view_thermal(message).to_thermal(), pixels)


class _Counting:
    """A camera that records which picture was requested."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def send(self, number: int) -> int:
        self.numbers.append(number)
        return number


def test_each_rig_sends_one_picture_after_the_other() -> None:
    rigs = [{"rgb": _Counting(), "thermal": _Counting()} for _ in range(8)]
    sent = CameraNode.send(cast(CameraNode, SimpleNamespace(rigs=rigs)), 3, 100.0, Cues())
    assert sum(map(len, sent["stamps_ns"])) + sent["left_out"] == 24
    for rig in rigs:
        numbers = rig["rgb"].numbers
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= {0, 1, 2}
        assert rig["thermal"].numbers == numbers
