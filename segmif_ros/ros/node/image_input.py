# SPDX-License-Identifier: Apache-2.0
"""The subscription of one camera: raw images, or compressed ones that a thread of its own decodes.

Decoding takes milliseconds, in which the intake would receive nothing.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, NamedTuple

from builtin_interfaces.msg import Time
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from segmif_ros.error_codes import LogThrottle, brief, code_of
from segmif_ros.frames import Frame
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView, Refusal
from segmif_ros.images.serialized import read_image
from segmif_ros.pairing import Stream, stamp_of
from segmif_ros.ros.node.latest_worker import LatestWorker
from segmif_ros.ros.qos import INPUT_TOPICS, overridable, sensor_input

Deliver = Callable[[Stream, Frame | ImageRefused, str, int, int], None]
"""Takes a camera, its image or why it cannot be used, size and encoding in words, and the steady
time and the node's time of its arrival."""


def decode(stream: Stream, message: CompressedImage) -> ImageView:
    """Decode; only nodes with compressed inputs load the code for it."""
    from segmif_ros.images.containers import decode

    return decode(stream, message)


class _Compressed(NamedTuple):
    """A message that waits for the decoder, and its arrival on both clocks."""

    message: CompressedImage
    received_ns: int
    now_ns: int


class ImageInput:
    """Subscribes to one camera and delivers its images.

    Attributes:
        topic: full name that is subscribed to.
        type_name: ROS type of its messages.
        subscription: rclpy's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        stream: Stream,
        deliver: Deliver,
        *,
        compressed: bool,
        callback_group: Any = None,
    ) -> None:
        """Subscribe.

        Args:
            node: owner of the subscription.
            stream: the camera.
            deliver: called with every message; for compressed images on the decoder's thread, so it
                must lock.
            compressed: subscribe to `<topic>/compressed` instead of `<topic>`.
            callback_group: of the subscription, the node's own if None.
        """
        self._node = node
        self._stream = stream
        self._deliver = deliver
        self._throttle = LogThrottle()
        self._decoder: LatestWorker[_Compressed] | None = None
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
            # rclpy's warning of an incompatible QoS would make the executor run for every image, to
            # find nothing: Fast DDS signals both by one condition. Diagnostics name the policy.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            # Half of what taking an image costs; under load most of them are replaced unused.
            raw=kind is Image,
        )
        self.topic = str(self.subscription.topic_name)

    @property
    def qos(self) -> Any:
        """Requested QoS profile, overrides included."""
        return self.subscription.qos_profile

    def close(self) -> None:
        """Unsubscribe, and finish the current image."""
        self._node.destroy_subscription(self.subscription)
        if self._decoder is not None:
            self._decoder.close()

    def _on_image(self, message: bytes, waited_ns: int = 0) -> None:
        received_ns, now_ns = monotonic_ns() - waited_ns, self._now_ns() - waited_ns
        text = "an image"
        outcome: Frame | ImageRefused
        try:
            image = read_image(message)
            text = f"{image.width}x{image.height} {brief(image.encoding)}"
            stamp = Time(sec=image.seconds, nanosec=image.nanoseconds)
            header = Header(stamp=stamp, frame_id=image.frame_id)
            outcome = _frame(VIEWS[self._stream.value](image), header, received_ns)
        except ImageRefused as refusal:
            outcome = refusal
        except Exception as err:
            # Nothing that a driver sends may end the thread that receives images.
            outcome = ImageRefused(
                Refusal.CONVERSION, f"reading {text} failed: {brief(repr(err), 200)}"
            )
        self._deliver(self._stream, outcome, text, received_ns, now_ns)

    def _on_compressed(self, message: CompressedImage, waited_ns: int = 0) -> None:
        assert self._decoder is not None
        received_ns, now_ns = monotonic_ns() - waited_ns, self._now_ns() - waited_ns
        replaced = self._decoder.offer(_Compressed(message, received_ns, now_ns))
        if replaced is not None:
            text = "a newer image came before this one could be decoded"
            self._deliver(
                self._stream,
                ImageRefused(Refusal.BUSY, text),
                brief(replaced.message.format),
                replaced.received_ns,
                replaced.now_ns,
            )

    def _decode(self, item: _Compressed) -> None:
        """Run on the decoder's thread. Nothing may escape from here, it would vanish unseen."""
        text = brief(item.message.format)
        outcome: Frame | ImageRefused
        try:
            view = decode(self._stream, item.message)
            height, width = view.pixels.shape[:2]
            text = f"{width}x{height} {text}"
            outcome = _frame(view, item.message.header, item.received_ns)
        except ImageRefused as refusal:
            outcome = refusal
        except Exception as err:
            outcome = ImageRefused(Refusal.DECODING, f"decoding failed: {brief(repr(err), 200)}")
        try:
            self._deliver(self._stream, outcome, text, item.received_ns, item.now_ns)
        except Exception as err:
            if self._throttle.ready(monotonic_ns()):
                trace = traceback.format_exc()
                self._node.get_logger().error(
                    f"{code_of(err)} taking an image failed: {err!r}\n{trace}"
                )

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _frame(view: ImageView, header: Any, received_ns: int) -> Frame:
    return Frame(view, header, stamp_of(header), received_ns)
