# SPDX-License-Identifier: Apache-2.0
"""What a spoilt message is refused for by the node's own check."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the ROS 2 wheels: pip install 'segmif_ros[ros]'")

from std_msgs.msg import Header

from segmif_ros.images.raw import ImageRefused, Refusal, view_rgb, view_thermal
from segmif_ros.rig.faults.requests import Damage
from segmif_ros.ros.images import to_message
from segmif_ros.ros.tools.rig_faults import spoil


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Damage.ENCODING, Refusal.ENCODING),
        (Damage.STEP, Refusal.STEP),
        (Damage.DATA, Refusal.DATA_LENGTH),
    ],
)
def test_the_node_refuses_what_the_rig_spoils(damage: Damage, reason: Refusal) -> None:
    for view, array, encoding in (
        (view_rgb, np.zeros((48, 64, 3), np.uint8), "rgb8"),
        (view_thermal, np.zeros((48, 64), np.uint8), "mono8"),
    ):
        message = to_message(array, encoding, Header())
        assert view(message).pixels.shape == array.shape
        spoil(message, damage)
        with pytest.raises(ImageRefused) as refused:
            view(message)
        assert refused.value.reason is reason


def test_another_size_leaves_the_message_sound() -> None:
    message = to_message(np.zeros((24, 32), np.uint8), "mono8", Header())
    spoil(message, Damage.SIZE)
    assert view_thermal(message).pixels.shape == (24, 32)
