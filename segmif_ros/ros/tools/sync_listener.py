# SPDX-License-Identifier: Apache-2.0
"""Watches two camera topics for some seconds, for `segmif sync-check --live`."""

from __future__ import annotations

import time
from functools import partial

from segmif_ros.images.raw import ImageRefused
from segmif_ros.pairing import Stream
from segmif_ros.ros.qos import check_topic_name, sensor_input
from segmif_ros.ros.tools.participant import Outcome, hear_images, participant
from segmif_ros.sync.check import StreamLog


def watch(topics: dict[Stream, str], seconds: float) -> dict[Stream, StreamLog]:
    """Listen, best effort, and return what each camera sent; a topic without images stays empty.

    Args:
        topics: image topic of each camera.
        seconds: how long to listen after both cameras were heard, and how long to wait for them.

    Raises:
        ValueError: a topic is no name of one.
        RosError: the ROS graph cannot be joined.
    """
    for topic in topics.values():
        check_topic_name(topic)
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
