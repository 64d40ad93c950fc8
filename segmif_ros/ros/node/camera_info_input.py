# SPDX-License-Identifier: Apache-2.0
"""The camera_info beside an image topic, looked at when it is needed.

A driver sends it with every image and it hardly ever changes. Waking the executor for each one
costs more than everything else that is done with it, so the newest is fetched from the middleware
once a second.
"""

from __future__ import annotations

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from segmif_ros.pairing import Stream
from segmif_ros.ros.node.image_receiver import ReceiverGroup
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.qos import CAMERA_INFO_INPUTS, INPUT_TOPICS, camera_info_input, overridable
from segmif_ros.ros.rclpy_private import take_message

_LOOK_EVERY_NS = NANOSECONDS


class CameraInfoInput:
    """The newest camera_info of one camera.

    Attributes:
        topic: full name that is subscribed to.
        newest: the newest message that `look` found, None before the first.
    """

    def __init__(self, node: Node, stream: Stream) -> None:
        """Subscribe to `camera_info_topic`."""
        self._node = node
        self.newest: CameraInfo | None = None
        self._looked_ns = -_LOOK_EVERY_NS
        self._subscription = node.create_subscription(
            CameraInfo,
            camera_info_topic(node, stream),
            lambda _: None,
            camera_info_input(),
            callback_group=ReceiverGroup(),
            qos_overriding_options=overridable(),
            # As in `ImageInput`: they would wake the executor for every message.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self.topic = str(self._subscription.topic_name)

    def look(self, now_ns: int) -> None:
        """Take what has come: at every call until the first message, then once a second."""
        if self.newest is not None and now_ns - self._looked_ns < _LOOK_EVERY_NS:
            return
        self._looked_ns = now_ns
        self.newest = take_message(self._subscription) or self.newest

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)


def camera_info_topic(node: Node, stream: Stream) -> str:
    """Return the topic of a camera's camera_info.

    A remapping of `~/input/<camera>/camera_info` decides. Without one it is the camera_info beside
    the image when that is remapped, as image_transport has it: /front/image_raw and
    /front/camera_info.
    """
    own, image = CAMERA_INFO_INPUTS[stream], INPUT_TOPICS[stream]
    resolved = str(node.resolve_topic_name(own))
    image_resolved = str(node.resolve_topic_name(image))
    remapped = resolved != node.resolve_topic_name(own, only_expand=True)
    if remapped or image_resolved == node.resolve_topic_name(image, only_expand=True):
        return resolved
    return image_resolved.rpartition("/")[0] + "/camera_info"
