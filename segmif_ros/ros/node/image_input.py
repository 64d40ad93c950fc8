# SPDX-License-Identifier: Apache-2.0
"""The subscription of one camera: raw images, or compressed ones that a thread of its own decodes.

Decoding takes milliseconds, in which the intake would hear nothing.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic_ns
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from segmif_ros.images.compressed import decode
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView, Refusal
from segmif_ros.pairing import Stream
from segmif_ros.ros.log_throttle import Seldom
from segmif_ros.ros.node.worker import LatestWorker
from segmif_ros.ros.qos import INPUT_TOPICS, overridable, sensor_input


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One image message, looked at.

    Attributes:
        stream: the camera.
        header: std_msgs/Header.
        format: size and encoding in words.
        received_ns: steady time of its arrival.
        now_ns: time of the node's clock at its arrival.
        outcome: its pixels, or why it cannot be used.
    """

    stream: Stream
    header: Any
    format: str
    received_ns: int
    now_ns: int
    outcome: ImageView | ImageRefused


class ImageInput:
    """Hears one camera and delivers what came.

    Attributes:
        topic: full name that is subscribed to.
        type_name: ROS type of its messages.
        subscription: rclpy's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        stream: Stream,
        deliver: Callable[[Arrival], None],
        *,
        compressed: bool,
        callback_group: Any = None,
    ) -> None:
        """Subscribe.

        Args:
            node: owner of the subscription.
            stream: the camera.
            deliver: told of every message; for compressed images on the decoder's thread, so it
                must bring a lock.
            compressed: hear `<topic>/compressed` instead of `<topic>`.
            callback_group: of the subscription, the node's own if None.
        """
        self._node = node
        self._stream = stream
        self._deliver = deliver
        self._logged = Seldom()
        self._decoder: LatestWorker[tuple[CompressedImage, Arrival]] | None = None
        kind, topic, callback = Image, INPUT_TOPICS[stream], self._on_image
        if compressed:
            self._decoder = LatestWorker(self._decode, name=f"segmif-decode-{stream.value}")
            kind, callback = CompressedImage, self._on_compressed
            # Named after the camera's topic, as image_transport does, not after ours.
            topic = f"{node.resolve_topic_name(topic)}/compressed"
        self.type_name = f"sensor_msgs/msg/{kind.__name__}"
        self.subscription = node.create_subscription(
            kind,
            topic,
            callback,
            sensor_input(),
            callback_group=callback_group,
            qos_overriding_options=overridable(),
            # rclpy's warning of an incompatible QoS would wake the executor for every image, to
            # find nothing: Fast DDS tells both by one condition. Diagnostics name the policy.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self.topic = str(self.subscription.topic_name)

    @property
    def qos(self) -> Any:
        """QoS profile that is asked for, overrides included."""
        return self.subscription.qos_profile

    def close(self) -> None:
        """Unsubscribe, and finish the image at hand."""
        self._node.destroy_subscription(self.subscription)
        if self._decoder is not None:
            self._decoder.close()

    def _on_image(self, message: Image) -> None:
        outcome: ImageView | ImageRefused
        received_ns = monotonic_ns()
        text = f"{message.width}x{message.height} {message.encoding}"
        try:
            outcome = VIEWS[self._stream.value](message)
        except ImageRefused as refusal:
            outcome = refusal
        except Exception as err:
            # Nothing that a driver sends may end the thread that hears the cameras.
            outcome = ImageRefused(Refusal.CONVERSION, f"reading {text} failed: {err!r}")
        self._deliver(self._arrival(message, text, received_ns, outcome))

    def _on_compressed(self, message: CompressedImage) -> None:
        assert self._decoder is not None
        busy = ImageRefused(Refusal.BUSY, "a newer image came before this one could be decoded")
        arrival = self._arrival(message, message.format, monotonic_ns(), busy)
        replaced = self._decoder.offer((message, arrival))
        if replaced is not None:
            self._deliver(replaced[1])

    def _decode(self, item: tuple[CompressedImage, Arrival]) -> None:
        """Run on the decoder's thread. Nothing may escape from here, it would vanish unseen."""
        message, arrival = item
        outcome: ImageView | ImageRefused
        text = message.format
        try:
            outcome = decode(self._stream, message)
            height, width = outcome.pixels.shape[:2]
            text = f"{width}x{height} {message.format}"
        except ImageRefused as refusal:
            outcome = refusal
        except Exception as err:
            outcome = ImageRefused(Refusal.DECODING, f"decoding failed: {err!r}")
        try:
            self._deliver(replace(arrival, format=text, outcome=outcome))
        except Exception as err:
            if self._logged.due(monotonic_ns()):
                trace = traceback.format_exc()
                self._node.get_logger().error(f"taking an image failed: {err!r}\n{trace}")

    def _arrival(
        self, message: Any, text: str, received_ns: int, outcome: ImageView | ImageRefused
    ) -> Arrival:
        now_ns = self._node.get_clock().now().nanoseconds
        return Arrival(self._stream, message.header, text, received_ns, now_ns, outcome)
