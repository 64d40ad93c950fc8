# SPDX-License-Identifier: Apache-2.0
"""The pairing that most Python nodes use: message_filters, or a stand-in where it is not installed.

message_filters has no wheel on PyPI. The stand-in behaves as its Python
ApproximateTimeSynchronizer does: at each arrival it takes the nearest stamp within `slop` that is
there already, and it calls back with its lock held.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import Lock
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

Synchronised = Callable[[Image, Image], None]


class StandInSynchronizer:
    """Two subscriptions and greedy pairing by stamp."""

    def __init__(
        self,
        node: Node,
        topics: tuple[str, str],
        queue_size: int,
        slop_s: float,
        call: Synchronised,
    ) -> None:
        self._queue_size, self._slop_ns, self._call = queue_size, round(slop_s * 1e9), call
        self._lock = Lock()
        self._queues: tuple[dict[int, Image], dict[int, Image]] = ({}, {})
        self._subscriptions = [
            node.create_subscription(Image, topic, self._adding(i), qos_profile_sensor_data)
            for i, topic in enumerate(topics)
        ]
        self.received = [0, 0]

    def _adding(self, which: int) -> Callable[[Image], None]:
        return lambda message: self._add(which, message)

    def _add(self, which: int, message: Image) -> None:
        self.received[which] += 1
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        with self._lock:
            mine, others = self._queues[which], self._queues[1 - which]
            mine[stamp_ns] = message
            while len(mine) > self._queue_size:
                del mine[min(mine)]
            near = sorted(
                (other for other in others if abs(other - stamp_ns) < self._slop_ns),
                key=lambda other: abs(other - stamp_ns),
            )
            if near and stamp_ns in mine:
                partner = others.pop(near[0])
                del mine[stamp_ns]
                pair = (message, partner) if which == 0 else (partner, message)
                self._call(*pair)


class MessageFilters:
    """The same with the real package."""

    def __init__(
        self,
        node: Node,
        topics: tuple[str, str],
        queue_size: int,
        slop_s: float,
        call: Synchronised,
    ) -> None:
        message_filters = import_module("message_filters")

        self.received = [0, 0]
        self._subscribers = [
            message_filters.Subscriber(node, Image, topic, qos_profile=qos_profile_sensor_data)
            for topic in topics
        ]
        for which, subscriber in enumerate(self._subscribers):
            subscriber.registerCallback(self._count, which)
        self._synchronizer = message_filters.ApproximateTimeSynchronizer(
            self._subscribers, queue_size, slop_s
        )
        self._synchronizer.registerCallback(call)

    def _count(self, _message: Image, which: int) -> None:
        self.received[which] += 1


def synchronizer(*arguments: Any) -> StandInSynchronizer | MessageFilters:
    """Return what is installed; the arguments are those of either class."""
    try:
        return MessageFilters(*arguments)
    except ModuleNotFoundError:
        return StandInSynchronizer(*arguments)
