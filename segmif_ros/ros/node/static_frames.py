# SPDX-License-Identifier: Apache-2.0
"""Frames: the calibration's geometry on /tf_static, and headers that disagree.

tf2 has no wheel: without tf2_msgs nothing is published and `segmif calibrate` prints the commands.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from segmif_ros.error_codes import brief
from segmif_ros.frames import Frame, Pair
from segmif_ros.pairing import Stream
from segmif_ros.parameters import Settings
from segmif_ros.registration import Geometry, RigCalibration
from segmif_ros.registration.calibration import Mounting, Transform
from segmif_ros.ros.qos import latched


class StaticFrames:
    """Publishes once, when the first pair has brought the frame ids."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        calibration: Geometry | None,
        mounting: Mounting | None,
    ) -> None:
        """Make the publisher where tf2_msgs is installed and there is something to publish."""
        self._logger = node.get_logger()
        self._expected = {Stream.RGB: settings.rgb_frame, Stream.THERMAL: settings.thermal_frame}
        self._seen: dict[Stream, str] = {}
        self._places: dict[str, Transform] = {}
        if isinstance(calibration, RigCalibration):
            self._places[""] = Transform(calibration.rotation, calibration.translation_m)
        if mounting is not None and mounting.lidar is not None and mounting.lidar_frame:
            self._places[mounting.lidar_frame] = mounting.lidar
        self._node, self._publisher = node, None
        if self._places and settings.publish_tf:
            self._publisher = _publisher(node)

    def observe(self, pair: Pair) -> None:
        """Compare the frame ids of a pair with the parameters, and publish when both are known."""
        for stream, image in ((Stream.RGB, pair.rgb), (Stream.THERMAL, pair.thermal)):
            if not isinstance(image, Frame) or stream in self._seen:
                continue
            found, expected = str(image.header.frame_id), self._expected[stream]
            self._seen[stream] = expected or found
            if expected and found != expected:
                self._logger.warning(
                    f"{stream.value} images have frame_id '{brief(found)}', "
                    f"{stream.value}_frame is {expected!r}; correct the driver or the parameter"
                )
            if len(self._seen) == len(Stream) and self._publisher is not None:
                self._publish(pair)

    def close(self) -> None:
        """Remove the topic."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def _publish(self, pair: Pair) -> None:
        from tf2_msgs.msg import TFMessage

        rgb, thermal = self._seen[Stream.RGB], self._seen[Stream.THERMAL]
        transforms = [
            _stamped(place, pair.header.stamp, rgb, child or thermal)
            for child, place in self._places.items()
            if (child or thermal) != rgb
        ]
        assert self._publisher is not None
        self._publisher.publish(TFMessage(transforms=transforms))


def _publisher(node: Node) -> Any:
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return node.create_publisher(TFMessage, "/tf_static", latched())


def _stamped(place: Transform, stamp: Any, parent: str, child: str) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.stamp, message.header.frame_id = stamp, parent
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = (float(v) for v in place.translation_m)
    rotation.x, rotation.y, rotation.z, rotation.w = place.quaternion
    return message
