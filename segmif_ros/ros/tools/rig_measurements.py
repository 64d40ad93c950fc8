# SPDX-License-Identifier: Apache-2.0
"""What the rig's LiDAR and depth camera publish, and the true objects."""

from __future__ import annotations

import array

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header, String

from segmif_ros.objects.regions import DetectedObject, objects_json
from segmif_ros.pairing import stamp_of
from segmif_ros.rig.cameras.cameras import Lidar
from segmif_ros.rig.draw.footage import Measured
from segmif_ros.rig.scene.scene import Label
from segmif_ros.ros.images import to_message

_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("true_label", "u1"), ("", "V3")])


class Measurements:
    """Topics `points`, `depth/image_raw` and `objects`; made with the first measurement."""

    def __init__(self, node: Node, rgb_rate_hz: float) -> None:
        """Publish nothing yet.

        Args:
            node: owner of the topics.
            rgb_rate_hz: of the frames that measurements come with.
        """
        self._node = node
        self._every = max(1, round(rgb_rate_hz / Lidar().rate_hz))
        self._topics: dict[type, object] = {}

    def publish(self, measured: Measured, frame: int, header: Header) -> None:
        """Send what belongs to one RGB frame; points only as often as the LiDAR turns."""
        objects = [
            DetectedObject(
                each.label, Label(each.label).name.lower(), each.box, each.area,
                ((each.box[0] + each.box[2]) / 2, (each.box[1] + each.box[3]) / 2), 1.0,
                id=each.id,
            )
            for each in measured.objects
        ]  # fmt: skip
        stamp_ns = stamp_of(header)
        text = objects_json(objects, stamp_ns, header.frame_id, "")
        self._send("objects", String(data=text))
        self._send("depth/image_raw", to_message(measured.depth_mm, "16UC1", header))
        if frame % self._every == 0:
            self._send("points", _cloud(measured, header))

    def _send(self, topic: str, message: object) -> None:
        kind = type(message)
        if kind not in self._topics:
            self._topics[kind] = self._node.create_publisher(kind, topic, qos_profile_sensor_data)
        self._topics[kind].publish(message)  # type: ignore[attr-defined]


def _cloud(measured: Measured, header: Header) -> PointCloud2:
    points = np.zeros(len(measured.points), _POINT)
    for place, axis in enumerate("xyz"):
        points[axis] = measured.points[:, place]
    points["true_label"] = measured.point_labels
    message = PointCloud2(header=Header(stamp=header.stamp, frame_id=Lidar().frame_id), height=1)
    message.width, message.point_step = len(points), _POINT.itemsize
    message.row_step, message.is_dense = points.nbytes, True
    message.fields = [
        *(PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")),
        PointField(name="true_label", offset=12, datatype=2, count=1),
    ]
    data = array.array("B")
    data.frombytes(points.tobytes())
    message.data = data
    return message
