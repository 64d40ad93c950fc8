# SPDX-License-Identifier: Apache-2.0
"""What the node publishes: images with the RGB header, and what the class ids mean."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from segmif_ros import render
from segmif_ros.buffers import Buffers
from segmif_ros.bundle import Manifest
from segmif_ros.frames import Image8, Perception
from segmif_ros.labels import labels_json
from segmif_ros.ros.images import to_jpeg, to_message
from segmif_ros.ros.node.modes import Mode, Standing
from segmif_ros.ros.node.parameters import Settings
from segmif_ros.ros.qos import (
    CAMERA_INFO_TOPIC,
    COMPRESSED_TOPIC,
    IMAGE_TOPICS,
    LABEL_INFO_TOPIC,
    LABELS_TOPIC,
    MODE_TOPIC,
    OUTPUTS,
    image_output,
    latched,
    overridable,
)


class Publishers:
    """The output topics. Nothing is computed or copied for a topic that nobody subscribes to."""

    def __init__(self, node: LifecycleNode, manifest: Manifest) -> None:
        """Create the topics and latch the labels, so that they are there before the first mask."""
        self._node = node
        self._table = render.palette(manifest.classes)
        topics = {name: (Image, topic) for name, (topic, _) in IMAGE_TOPICS.items()}
        topics["compressed"] = (CompressedImage, COMPRESSED_TOPIC)
        topics["camera_info"] = (CameraInfo, CAMERA_INFO_TOPIC)
        self._publishers = {
            name: node.create_lifecycle_publisher(
                *topics[name], image_output(), qos_overriding_options=overridable()
            )
            for name in OUTPUTS
        }
        self._latched = [self._latch(String, LABELS_TOPIC, String(data=labels_json(manifest)))]
        label_info = label_info_message(manifest)
        if label_info is not None:
            self._latched.append(self._latch(type(label_info), LABEL_INFO_TOPIC, label_info))
        self._buffers = Buffers()
        self._messages: dict[str, Image] = {}
        self._mode: Mode | None = None
        self._mode_since: Any = None
        self._modes = self._latch(String, MODE_TOPIC)
        self._latched.append(self._modes)

    def wanted(self) -> tuple[str, ...]:
        """Return the names of the outputs that somebody subscribes to, in publishing order."""
        return tuple(
            name for name, pub in self._publishers.items() if pub.get_subscription_count() > 0
        )

    def publish(
        self, perception: Perception, header: Any, wanted: Iterable[str], settings: Settings
    ) -> None:
        """Publish the wanted images with the header of the RGB frame.

        Args:
            perception: what to publish.
            header: std_msgs/Header of the RGB message.
            wanted: names from `wanted`; the camera_info goes by `publish_camera_info`.
            settings: parameter values that the result was made with.
        """
        for name in wanted:
            if name == "camera_info":
                continue
            if name == "compressed":
                message: Any = to_jpeg(perception.fused, settings.jpeg_quality, header)
            else:
                message = self._message(name, self._image(perception, name, settings), header)
            self._publishers[name].publish(message)

    def publish_camera_info(self, info: CameraInfo) -> None:
        """Publish the camera_info of one result."""
        self._publishers["camera_info"].publish(info)

    def announce(self, standing: Standing) -> None:
        """Publish the mode for readers now and later; the time is that of the mode's beginning."""
        if standing.mode is not self._mode:
            self._mode = standing.mode
            self._mode_since = self._node.get_clock().now().to_msg()
        self._modes.publish(String(data=mode_json(standing, self._mode_since)))

    def close(self) -> None:
        """Remove the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        for publisher in self._latched:
            self._node.destroy_publisher(publisher)
        # A worker that hangs keeps this object alive; it must not keep the node.
        del self._node

    def _image(self, perception: Perception, name: str, settings: Settings) -> Image8:
        if name != "overlay":
            image: Image8 = getattr(perception, name)
            return image
        # Over the fused picture: at night and in smoke the RGB frame shows nothing.
        return render.overlay(
            perception.fused, perception.mask, self._table, settings.overlay_alpha, self._buffers
        )

    def _message(self, name: str, image: Image8, header: Any) -> Image:
        """Fill the message of a topic, the same one for every frame of a size.

        It may be written over as soon as `publish` has returned: that serialises it.
        """
        message = self._messages.get(name)
        if message is None or (message.height, message.width) != image.shape[:2]:
            message = self._messages[name] = to_message(image, IMAGE_TOPICS[name][1], header)
            return message
        message.header = header
        memoryview(message.data)[:] = image.reshape(-1).data
        return message

    def _latch(self, kind: type, topic: str, message: Any = None) -> Any:
        publisher = self._node.create_publisher(
            kind, topic, latched(), qos_overriding_options=overridable()
        )
        if message is not None:
            publisher.publish(message)
        return publisher


def mode_json(standing: Standing, since: Any) -> str:
    """Return the mode as JSON.

    Args:
        standing: mode and reason.
        since: builtin_interfaces/Time at which the mode began.
    """
    return json.dumps(
        {
            "mode": standing.mode.value,
            "since": {"sec": since.sec, "nanosec": since.nanosec},
            "reason": standing.reason,
        }
    )


def label_info_message(manifest: Manifest) -> Any | None:
    """Return a vision_msgs/LabelInfo, None where vision_msgs is not installed (it has no wheel)."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    classes = [VisionClass(class_id=c.id, class_name=c.name) for c in manifest.classes]
    return LabelInfo(class_map=classes)
