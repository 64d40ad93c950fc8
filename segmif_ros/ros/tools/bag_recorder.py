# SPDX-License-Identifier: Apache-2.0
"""Writes topics to a bag as they come: the serialised bytes go in as they are, without rosbag2."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from segmif_ros.interrupts import stopping
from segmif_ros.recordings.bags import BagError
from segmif_ros.recordings.writer import BagWriter
from segmif_ros.ros.session import join
from segmif_ros.ros.tools.player import message_class
from segmif_ros.ros.topic_names import check_topic_name

EXIT_NOTHING_RECORDED = 1

_DEPTH = 50
_LOOK_EVERY_S = 0.1
_LINGER_S = 0.2
"""What had been published when the signal came is still taken."""


def record(out: Path, topics: Sequence[str]) -> int:
    """Record until SIGINT, SIGTERM or SIGHUP.

    Every message is filed under the wall-clock time of its arrival; its header stays as it is.

    Args:
        out: folder to create, an mcap bag without compression.
        topics: full names; each is recorded from when it first exists.

    Returns:
        Exit code: 0 recorded, 1 nothing came.

    Raises:
        BagError: `out` exists or cannot be written, or a topic is no name of one.
    """
    try:
        for topic in topics:
            check_topic_name(topic)
    except ValueError as err:
        raise BagError(str(err)) from err
    bag = BagWriter(out)
    stop = Event()
    with stopping(stop):
        join()
        return _record(bag, out, topics, stop)


def _record(bag: BagWriter, out: Path, topics: Sequence[str], stop: Event) -> int:
    node = rclpy.create_node("segmif_bag_recorder", start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with bag:
            recorder = _Recorder(node, bag, topics)
            while not stop.is_set():
                recorder.look()
                executor.spin_once(timeout_sec=_LOOK_EVERY_S)
            finished = time.monotonic() + _LINGER_S
            while time.monotonic() < finished:
                executor.spin_once(timeout_sec=0.02)
    except OSError as err:
        raise BagError(f"cannot write bag {str(out)!r}: {err.strerror or err}") from err
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return recorder.summary(out)


class _Recorder:
    """The subscriptions, and how much came on each."""

    def __init__(self, node: Node, bag: BagWriter, topics: Sequence[str]) -> None:
        self._node, self._bag = node, bag
        self._waiting = list(dict.fromkeys(topics))
        self._counts = dict.fromkeys(topics, 0)
        self._foreign: dict[str, str] = {}
        self._subscriptions: list[Any] = []
        self._looked_s = 0.0

    def look(self) -> None:
        """Subscribe to what has appeared since the last time."""
        if not self._waiting or time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        for topic in list(self._waiting):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:
                self._waiting.remove(topic)
                self._subscribe(topic, publishers)

    def _subscribe(self, topic: str, publishers: Sequence[Any]) -> None:
        name = publishers[0].topic_type
        kind = message_class(name)
        if kind is None or not self._bag.knows(name):
            self._foreign[topic] = name
            sys.stderr.write(f"left out {topic}: its type {name} is not known here\n")
            return
        profiles = [info.qos_profile for info in publishers]
        reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
        latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        qos = QoSProfile(
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._bag.add_topic(topic, name)
        take = partial(self._take, topic)
        self._subscriptions.append(self._node.create_subscription(kind, topic, take, qos, raw=True))
        sys.stdout.write(f"recording {topic}\n")
        sys.stdout.flush()

    def _take(self, topic: str, cdr: bytes) -> None:
        self._bag.write(topic, time.time_ns(), cdr)
        self._counts[topic] += 1

    def summary(self, out: Path) -> int:
        """Say what came, and what did not; return the exit code."""
        silent = [t for t, count in self._counts.items() if not count and t not in self._foreign]
        total = sum(self._counts.values())
        sys.stdout.write(f"recorded {total} messages in {out}\n")
        if silent:
            sys.stderr.write(
                f"nothing came on {', '.join(silent)}; check the topic names and ROS_DOMAIN_ID\n"
            )
        return 0 if total else EXIT_NOTHING_RECORDED
