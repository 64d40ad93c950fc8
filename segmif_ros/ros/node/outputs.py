# SPDX-License-Identifier: Apache-2.0
"""What the node publishes: images with the RGB header, and what the class ids mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import String

from segmif_ros.bundle import Manifest, labels_json
from segmif_ros.frames import Buffers, Image8, Pair, Result
from segmif_ros.registration import RegistrationError
from segmif_ros.ros.images import to_jpeg, to_message
from segmif_ros.ros.node.camera_infos import output_camera_info
from segmif_ros.ros.node.modes import Mode, ModeStatus
from segmif_ros.ros.qos import (
    CAMERA_INFO_TOPIC,
    COMPRESSED_TOPIC,
    DERIVED_TOPICS,
    IMAGE_TOPICS,
    LABEL_INFO_TOPIC,
    LABELS_TOPIC,
    MODE_TOPIC,
    OUTPUTS,
    image_output,
    latched,
    overridable,
)

if TYPE_CHECKING:
    from segmif_ros.render import Mark


class Outputs:
    """The output topics. Nothing is computed or copied for a topic without a subscriber."""

    def __init__(self, node: LifecycleNode, manifest: Manifest) -> None:
        """Create the topics and latch the labels, so that they are there before the first mask."""
        self._node = node
        self._table: Image8 | None = None
        topics = {name: (Image, topic) for name, (topic, _) in IMAGE_TOPICS.items()}
        topics["compressed"] = (CompressedImage, COMPRESSED_TOPIC)
        topics["camera_info"] = (CameraInfo, CAMERA_INFO_TOPIC)
        for name, kind in derived_types().items():
            topics[name] = (kind, DERIVED_TOPICS[name])
        self._publishers = {
            name: node.create_lifecycle_publisher(
                *topics[name], image_output(), qos_overriding_options=overridable()
            )
            for name in OUTPUTS
            if name in topics
        }
        self._latched = [self._latch(String, LABELS_TOPIC, String(data=labels_json(manifest)))]
        self._manifest = manifest
        self._threshold = 0.0
        self._label_info: Any = None
        label_info = label_info_message(manifest, self._threshold)
        if label_info is not None:
            self._label_info = self._latch(type(label_info), LABEL_INFO_TOPIC, label_info)
            self._latched.append(self._label_info)
        self._buffers = Buffers()
        self._messages: dict[str, Image] = {}
        self._mode: Mode | None = None
        self._mode_since: Any = None
        self._modes = self._latch(String, MODE_TOPIC)
        self._latched.append(self._modes)

    def wanted(self) -> tuple[str, ...]:
        """Return the names of the outputs with a subscriber, in publishing order."""
        return tuple(
            name for name, pub in self._publishers.items() if pub.get_subscription_count() > 0
        )

    def publish(
        self, result: Result, pair: Pair, images: Iterable[str], marks: Sequence[Mark] = ()
    ) -> None:
        """Publish images with the header of the RGB frame.

        Args:
            result: what to publish.
            pair: what it was made of, with header and settings.
            images: names from `wanted`; `send` gets those that are no image of the result.
            marks: boxes that are drawn into the overlay.
        """
        self.follow(pair.settings.confidence_threshold)
        for name in images:
            if name in DERIVED_TOPICS:
                continue
            if name == "compressed":
                quality = pair.settings.jpeg_quality
                message: Any = to_jpeg(result.fused, quality, pair.header)
            else:
                image = self._image(result, name, pair.settings.overlay_alpha, marks)
                message = self._message(name, image, pair.header)
            self._publishers[name].publish(message)

    def follow(self, confidence_threshold: float) -> None:
        """Publish in the labels which probability a mask pixel has at least."""
        if confidence_threshold != self._threshold and self._label_info is not None:
            self._label_info.publish(label_info_message(self._manifest, confidence_threshold))
        self._threshold = confidence_threshold

    def send(self, name: str, message: Any) -> None:
        """Publish a message that was made elsewhere."""
        self._publishers[name].publish(message)

    def publish_camera_info(self, pair: Pair) -> str:
        """Publish the camera_info of one result; return why there is none, empty if there is."""
        if pair.camera_info is None:
            return (
                "no camera_info has come, so none is published; remap ~/input/rgb/camera_info to "
                "the driver's"
            )
        assert pair.rgb_size is not None
        try:
            info = output_camera_info(pair.camera_info, pair.header, pair.rgb_size)
        except RegistrationError as err:
            return str(err)
        self._publishers["camera_info"].publish(info)
        return ""

    def announce(self, mode_status: ModeStatus) -> None:
        """Publish the mode for readers now and later; the time is that of the mode's beginning."""
        if mode_status.mode is not self._mode:
            self._mode = mode_status.mode
            self._mode_since = self._node.get_clock().now().to_msg()
        self._modes.publish(String(data=mode_json(mode_status, self._mode_since)))

    def close(self) -> None:
        """Remove the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        for publisher in self._latched:
            self._node.destroy_publisher(publisher)
        # A worker that hangs keeps a reference to this object; it must not keep the node.
        del self._node

    def _image(self, result: Result, name: str, alpha: float, marks: Sequence[Mark]) -> Image8:
        if name != "overlay":
            image: Image8 = getattr(result, name)
            return image
        # Over the fused picture: at night and in smoke the RGB frame shows nothing.
        from segmif_ros import render

        if self._table is None:
            self._table = render.palette(self._manifest.classes)
        table = self._table
        over = render.overlay(result.fused, result.mask, table, alpha, self._buffers)
        render.draw_marks(over, marks, table)
        return over

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


def mode_json(mode_status: ModeStatus, since: Any) -> str:
    """Return the mode as JSON.

    Args:
        mode_status: mode and reason.
        since: builtin_interfaces/Time at which the mode began.
    """
    return json.dumps(
        {
            "mode": mode_status.mode.value,
            "since": {"sec": since.sec, "nanosec": since.nanosec},
            "reason": mode_status.reason,
        }
    )


def label_info_message(manifest: Manifest, threshold: float = 0.0) -> Any | None:
    """Return a vision_msgs/LabelInfo, None where vision_msgs is not installed (it has no wheel)."""
    try:
        from vision_msgs.msg import LabelInfo, VisionClass
    except ImportError:
        return None
    classes = [VisionClass(class_id=c.id, class_name=c.name) for c in manifest.classes]
    return LabelInfo(class_map=classes, threshold=threshold)


def derived_types() -> dict[str, type]:
    """Return name -> message type; without "detections" where vision_msgs is not installed."""
    types: dict[str, type] = {"objects": String, "temperature": Image, "points": PointCloud2}
    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        return types
    return types | {"detections": Detection2DArray}
