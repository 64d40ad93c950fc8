# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of clouds and depth images, tf2 lookups, and labelled clouds as messages."""

from __future__ import annotations

import array
from dataclasses import asdict
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image, PointCloud2, PointField

from segmif_ros.objects.clouds import LabelledCloud
from segmif_ros.objects.labeller import Lookup, PointLabeller
from segmif_ros.registration import RegistrationError
from segmif_ros.registration.calibration import Transform
from segmif_ros.registration.calibration_file import rotation_matrix
from segmif_ros.ros.qos import DEPTH_INPUT, POINTS_INPUT, overridable, sensor_input


class PointInput:
    """Subscriptions to a LiDAR and to a depth camera, while the points have a subscriber."""

    def __init__(self, node: Node, labeller: PointLabeller) -> None:
        """Subscribe to nothing yet."""
        self._node, self._labeller = node, labeller
        self._subscriptions: list[Any] = []

    def listen(self, wanted: bool) -> None:
        """Subscribe, or unsubscribe."""
        if wanted and not self._subscriptions:
            self._subscriptions = [
                self._node.create_subscription(
                    kind,
                    topic,
                    self._labeller.take,
                    sensor_input(),
                    qos_overriding_options=overridable(),
                )
                for kind, topic in ((PointCloud2, POINTS_INPUT), (Image, DEPTH_INPUT))
            ]
        elif not wanted and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._labeller.forget()


def cloud_message(cloud: LabelledCloud) -> PointCloud2:
    """Return it as a message."""
    message = PointCloud2(**cloud.layout())
    message.fields = [PointField(**asdict(field)) for field in cloud.fields]
    data = array.array("B")
    data.frombytes(cloud.points.data)
    message.data = data
    return message


def tf_lookup(node: Node) -> Lookup | None:
    """Return a lookup in tf2; None where tf2_ros, which has no wheel, is not installed."""
    try:
        from tf2_ros import Buffer, TransformException, TransformListener
    except ImportError:
        return None
    buffer = Buffer()
    listener = TransformListener(buffer, node)

    def look(target: str, source: str, _keeps: Any = listener) -> Transform | None:
        try:
            found = buffer.lookup_transform(target, source, Time()).transform
        except TransformException:
            return None
        q, t = found.rotation, found.translation
        try:
            turn = rotation_matrix(np.array([q.x, q.y, q.z, q.w]))
            return Transform(turn, np.array([t.x, t.y, t.z]))
        except RegistrationError:
            return None

    return look
