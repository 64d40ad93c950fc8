# SPDX-License-Identifier: Apache-2.0
"""How a tool takes part in the ROS graph: a node that its own thread spins, and image topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from segmif_ros.images.containers import decode
from segmif_ros.images.raw import VIEWS, ImageRefused, ImageView
from segmif_ros.pairing import Stream, stamp_of
from segmif_ros.ros.qos import sensor_input
from segmif_ros.ros.session import join
from segmif_ros.sync.check import StreamLog

Outcome = ImageView | ImageRefused


@contextmanager
def participant(name: str) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """Join the ROS graph with one node; signals stay with the caller.

    Raises:
        RosError: see `join`.
    """
    join()
    node = rclpy.create_node(name, start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def hear_images(
    node: Node, topic: str, stream: Stream, take: Callable[[int, Outcome], None], qos: Any
) -> Any:
    """Subscribe to images, compressed ones where the topic ends in /compressed.

    Args:
        node: owner of the subscription.
        topic: full name.
        stream: whose checks apply.
        take: called with stamp and pixels of each image, or why it cannot be used.
        qos: of the subscription.
    """
    is_compressed = topic.endswith("/compressed")

    def on_message(message: Any) -> None:
        outcome: Outcome
        try:
            outcome = decode(stream, message) if is_compressed else VIEWS[stream.value](message)
        except ImageRefused as refusal:
            outcome = refusal
        take(stamp_of(message.header), outcome)

    kind = CompressedImage if is_compressed else Image
    return node.create_subscription(kind, topic, on_message, qos)


def watch(topics: dict[Stream, str], seconds: float) -> dict[Stream, StreamLog]:
    """Listen, best effort, and return what each camera sent; a topic without images stays empty.

    Args:
        topics: image topic of each camera.
        seconds: how long to listen after both cameras sent an image, and how long to wait for them.

    Raises:
        RosError: the ROS graph cannot be joined.
    """
    logs = {stream: StreamLog() for stream in topics}
    with participant("segmif_sync_check") as (node, executor):

        def take(stream: Stream, stamp_ns: int, outcome: Outcome) -> None:
            arrival_ns = node.get_clock().now().nanoseconds
            if isinstance(outcome, ImageRefused):
                logs[stream].refuse(str(outcome))
                return
            image = outcome.to_rgb() if stream is Stream.RGB else outcome.to_thermal()
            logs[stream].add(stamp_ns, arrival_ns, image)

        for stream, topic in topics.items():
            hear_images(node, topic, stream, partial(take, stream), sensor_input())
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(log.stamps_ns for log in logs.values()):
            executor.spin_once(timeout_sec=0.1)
        end = time.monotonic() + seconds
        while all(log.stamps_ns for log in logs.values()) and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    return logs
