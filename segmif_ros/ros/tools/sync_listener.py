# SPDX-License-Identifier: Apache-2.0
"""Watches two camera topics for some seconds, for `segmif sync-check --live`."""

from __future__ import annotations

import time
from functools import partial

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from segmif_ros.images.raw import VIEWS, ImageRefused
from segmif_ros.pairing import Stream
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.qos import sensor_input
from segmif_ros.ros.session import join
from segmif_ros.ros.topic_names import check_topic_name
from segmif_ros.sync.check import StreamLog


def watch(topics: dict[Stream, str], seconds: float) -> dict[Stream, StreamLog]:
    """Listen, best effort, and return what each camera sent; a topic without images stays empty.

    Args:
        topics: image topic of each camera.
        seconds: how long to listen after both cameras were heard, and how long to wait for them.

    Raises:
        ValueError: a topic is no name of one.
    """
    for topic in topics.values():
        check_topic_name(topic)
    logs = {stream: StreamLog() for stream in topics}
    join()
    node = rclpy.create_node("segmif_sync_check", start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def take(stream: Stream, message: Image) -> None:
        arrival_ns = node.get_clock().now().nanoseconds
        try:
            view = VIEWS[stream.value](message)
        except ImageRefused as refusal:
            logs[stream].refuse(str(refusal))
            return
        image = view.to_rgb() if stream is Stream.RGB else view.to_thermal()
        stamp = message.header.stamp
        logs[stream].add(stamp.sec * NANOSECONDS + stamp.nanosec, arrival_ns, image)

    for stream, topic in topics.items():
        node.create_subscription(Image, topic, partial(take, stream), sensor_input())
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(log.stamps_ns for log in logs.values()):
            executor.spin_once(timeout_sec=0.1)
        end = time.monotonic() + seconds
        while all(log.stamps_ns for log in logs.values()) and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return logs
