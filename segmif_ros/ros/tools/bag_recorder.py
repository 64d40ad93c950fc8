# SPDX-License-Identifier: Apache-2.0
"""Writes topics to a bag as they come: the serialised bytes go in as they are, without rosbag2."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.typesys import get_types_from_msg

from segmif_ros.error_codes import NOTHING_CAME
from segmif_ros.interrupts import stopping
from segmif_ros.recordings.bags import BagError, message_types
from segmif_ros.recordings.writer import BagWriter
from segmif_ros.ros.qos import check_topic_name
from segmif_ros.ros.tools.participant import participant
from segmif_ros.ros.tools.player import message_class

EXIT_INCOMPLETE = 1

_IDL = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}
"""What rclpy calls a type -> what .msg files call it."""
_LISTED = re.compile(
    r"sequence<(?P<in_sequence>[^,]+?)(?:, *(?P<most>\d+))?>|(?P<plain>[^\[]+)(?P<array>\[\d+\])?"
)
"""A type as rclpy lists it: sequence<my_msgs/Box, 4>, double[3], string."""
_DEPTH = 50
_LOOK_EVERY_S = 0.1
_ABSENT_S = 3.0
"""Discovery takes up to this; a topic without a publisher is then named."""
_LINGER_S = 0.2
"""What had been published when the signal came is still taken."""


def record(out: Path, topics: Sequence[str]) -> int:
    """Record until SIGINT, SIGTERM or SIGHUP.

    Every message is filed under the wall-clock time of its arrival; its header stays as it is.

    Args:
        out: folder to create, an mcap bag without compression.
        topics: full names; each is recorded from when it first exists.

    Returns:
        Exit code: 0 every topic was recorded, 1 nothing came on one or more.

    Raises:
        BagError: `out` exists or cannot be written, or a topic is no name of one.
        RosError: the ROS graph cannot be joined.
    """
    try:
        for topic in topics:
            check_topic_name(topic)
    except ValueError as err:
        raise BagError(str(err)) from err
    bag = BagWriter(out)
    stop = Event()
    try:
        with (
            stopping(stop),
            participant("segmif_bag_recorder") as (node, executor),
            bag,
        ):
            recorder = _Recorder(node, bag, topics)
            while not stop.is_set():
                recorder.look()
                executor.spin_once(timeout_sec=_LOOK_EVERY_S)
            finished = time.monotonic() + _LINGER_S
            while time.monotonic() < finished:
                executor.spin_once(timeout_sec=0.02)
    except OSError as err:
        raise BagError(
            f"cannot write bag {str(out)!r}: {err.strerror or err}; what was written so far can be "
            "read, `segmif bag recover` completes it"
        ) from err
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
        self._begun_s = time.monotonic()
        self._named_absent = False

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
        if not self._named_absent and self._looked_s - self._begun_s > _ABSENT_S:
            self._named_absent = True
            self._name_absent()

    def _name_absent(self) -> None:
        offered = [name for name, _ in self._node.get_topic_names_and_types()]
        for topic in self._waiting:
            near = get_close_matches(topic, [name for name in offered if name != topic], n=1)
            guess = f"; did you mean {near[0]}?" if near else ""
            sys.stderr.write(f"segmif bag record: no publisher on {topic} yet{guess}\n")
        sys.stderr.flush()

    def _subscribe(self, topic: str, publishers: Sequence[Any]) -> None:
        name = publishers[0].topic_type
        kind = message_class(name)
        if kind is None:
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
        learn_type(kind, name)
        wanted = any(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        self._bag.add_topic(topic, name, latched=wanted)
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
        if total:
            sys.stderr.write(f"next: segmif bag info {out}\n")
        if silent:
            sys.stderr.write(
                f"segmif bag record: {NOTHING_CAME} nothing came on {', '.join(silent)}; "
                "check the topic names and ROS_DOMAIN_ID\n"
            )
        return EXIT_INCOMPLETE if silent or self._foreign else 0


def learn_type(kind: Any, name: str) -> None:
    """Register an installed type with rosbags, from the fields that its class lists.

    Args:
        kind: class of the message.
        name: for example "vision_msgs/msg/BoundingBox2D".
    """
    store = message_types()
    if name in store.types:
        return
    lines = []
    for field, listed in kind.get_fields_and_field_types().items():
        found = _LISTED.fullmatch(listed)
        assert found is not None
        element = found["in_sequence"] or found["plain"]
        if "/" in element:
            inner = element.replace("/", "/msg/")
            learn_type(message_class(inner), inner)
        shape = found["array"] or ""
        if found["in_sequence"]:
            shape = f"[<={found['most']}]" if found["most"] else "[]"
        spelt = _IDL.get(element, element.replace("string<", "string<=").removesuffix(">"))
        lines.append(f"{spelt}{shape} {field}")
    store.register(get_types_from_msg("\n".join(lines), name))
