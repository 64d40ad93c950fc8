# SPDX-License-Identifier: Apache-2.0
"""Observes the ROS graph for some seconds and writes it as JSON, for `segmif doctor`.

A program of its own, because a broken ROS installation can end the process that imports it. It
subscribes to the image topics it finds, best effort, and keeps no image; not to the outputs of a
segmif_node, which would compute for it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from struct import unpack_from
from time import monotonic
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from segmif_ros.error_codes import brief
from segmif_ros.images.containers import decode
from segmif_ros.images.raw import VIEWS, ImageRefused
from segmif_ros.pairing import Stream
from segmif_ros.ros.qos import DIAGNOSTICS_TOPIC, mismatches, sensor_input
from segmif_ros.ros.session import join

IMAGE_TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
}
MOST_TOPICS = 16
"""A machine with many cameras is not flooded by its doctor."""
_FAST_DDS = bytes((1, 15))
_OWN_OUTPUT = re.compile(r"/output/(fused|mask|confidence|overlay|temperature)(/compressed)?$")
_SPIN_S = 0.1


class Watched:
    """One image topic: the newest message, and the stamp of each."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.arrivals: list[float] = []
        self.stamps: list[float] = []
        self.newest = b""
        self.focal_lengths: list[float] = []

    def take_info(self, info: CameraInfo) -> None:
        """Note the focal lengths of a calibrated camera, pixels."""
        self.focal_lengths = [info.k[0], info.k[4]] if info.k[0] > 0.0 else []

    def take(self, raw: bytes) -> None:
        """Note a serialised message; CDR begins with 4 bytes of its own, then the stamp."""
        self.arrivals.append(monotonic())
        seconds, nanoseconds = unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
        self.stamps.append(seconds + nanoseconds * 1e-9)
        self.newest = raw

    def facts(self, now: float) -> dict[str, Any]:
        """Return figures about what came.

        Args:
            now: this machine's time, seconds, to compare stamps with.
        """
        found: dict[str, Any] = {"images": len(self.arrivals), "rate_hz": 0.0}
        found["focal_lengths"] = self.focal_lengths
        if not self.arrivals:
            return found
        if len(self.arrivals) > 1:
            span = self.arrivals[-1] - self.arrivals[0]
            found["rate_hz"] = (len(self.arrivals) - 1) / span if span > 0 else 0.0
        message = deserialize_message(self.newest, IMAGE_TYPES[self.kind])
        found["bytes"] = len(message.data)
        found["age_s"] = now - self.stamps[-1]
        found["sent_hz"] = self._sent_hz()
        if self.kind.endswith("/Image"):
            found["format"] = f"{message.width}x{message.height} {brief(message.encoding)}"
        else:
            found["format"] = brief(message.format)
        return found | self._usable(message)

    def _usable(self, message: Any) -> dict[str, Any]:
        """Return the size of the picture, and why the node would refuse it from either camera."""
        found: dict[str, Any] = {"size": [], "refused": {}}
        for stream in Stream:
            try:
                raw = self.kind.endswith("/Image")
                view = VIEWS[stream.value](message) if raw else decode(stream, message)
                found["size"] = [view.pixels.shape[1], view.pixels.shape[0]]
            except ImageRefused as err:
                found["refused"][stream.value] = str(err)
        return found

    def _sent_hz(self) -> float:
        """Return the rate at which the camera sends, from its shortest usual gap between stamps."""
        gaps = sorted(b - a for a, b in zip(self.stamps, self.stamps[1:], strict=False) if b > a)
        return 1.0 / gaps[len(gaps) // 5] if len(gaps) >= 5 else 0.0


class Probe:
    """Discovers topics and subscribes to them."""

    def __init__(self, node: Node, wanted: Sequence[str]) -> None:
        """Begin.

        Args:
            node: the one to look through.
            wanted: topics to listen to; empty for all images that are no output of ours.
        """
        self._node = node
        self._wanted = wanted
        self._watched: dict[str, Watched] = {}
        self._diagnostics: dict[str, DiagnosticArray] = {}
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(DiagnosticArray, DIAGNOSTICS_TOPIC, self._on_diagnostics, reliable)

    def look(self) -> int:
        """Subscribe to what is new and return how many topics are watched."""
        for name, kinds in self._node.get_topic_names_and_types():
            kind = next((kind for kind in kinds if kind in IMAGE_TYPES), None)
            if kind is None or name in self._watched or not self._is_wanted(name):
                continue
            self._watched[name] = watched = Watched(kind)
            self._node.create_subscription(
                IMAGE_TYPES[kind], name, watched.take, sensor_input(), raw=True
            )
            info = f"{name.removesuffix('/compressed').rpartition('/')[0]}/camera_info"
            self._node.create_subscription(CameraInfo, info, watched.take_info, sensor_input())
        return len(self._watched)

    def result(self, now: float) -> dict[str, Any]:
        """Return all that was seen, ready for JSON.

        Args:
            now: this machine's time, seconds.
        """
        return {
            "rmw": get_rmw_implementation_identifier(),
            "topics": [
                {"name": name, "type": watched.kind}
                | {"publishers": self._publishers(name), "unheard": self._unheard(name, watched)}
                | watched.facts(now)
                for name, watched in sorted(self._watched.items())
            ],
            "published": {
                name: kinds[0]
                for name, kinds in sorted(self._node.get_topic_names_and_types())
                if (name in self._wanted or kinds[0] in IMAGE_TYPES)
                and self._node.count_publishers(name)
            },
            "clock_publishers": self._node.count_publishers("/clock"),
            "nodes": sorted(
                f"{namespace.rstrip('/')}/{name}"
                for name, namespace in self._node.get_node_names_and_namespaces()
                if name != self._node.get_name()
            ),
            "diagnostics": [
                {
                    "name": status.name,
                    "level": status.level[0],
                    "message": status.message,
                    "values": {kv.key: kv.value for kv in status.values},
                }
                for array in self._diagnostics.values()
                for status in array.status
            ],
        }

    def _is_wanted(self, name: str) -> bool:
        if self._wanted:
            return name in self._wanted
        return len(self._watched) < MOST_TOPICS and not _OWN_OUTPUT.search(name)

    def _publishers(self, topic: str) -> list[dict[str, Any]]:
        own = self._own_host()
        found = []
        for info in self._node.get_publishers_info_by_topic(topic):
            gid = bytes(info.endpoint_gid)
            fast_dds = bool(own) and gid[:2] == _FAST_DDS
            local = fast_dds and gid[2:4] == own
            found.append(
                {
                    "node": f"{info.node_namespace.rstrip('/')}/{info.node_name}",
                    "type": info.topic_type,
                    "reliability": str(info.qos_profile.reliability.name).lower(),
                    "durability": str(info.qos_profile.durability.name).lower(),
                    "other_host": fast_dds and not local,
                    # Fast DDS writes the low 16 bits of the process id into its identifiers.
                    "pid_low": int.from_bytes(gid[4:6], "little") if local else None,
                }
            )
        return found

    def _own_host(self) -> bytes:
        """Return the part of our own identifier that names the machine, empty if it is unknown."""
        name = self._node.get_name()
        for info in self._node.get_publishers_info_by_topic("/rosout"):
            if info.node_name == name:
                return bytes(info.endpoint_gid)[2:4]
        return b""

    def _unheard(self, topic: str, watched: Watched) -> list[str]:
        """Return why messages are not received, by segmif_node if it runs, else by this process."""
        listening = [
            info
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if info.topic_type == watched.kind and self._is_segmif(info)
        ]
        wanted = listening[0].qos_profile if listening else sensor_input()
        publishers = self._node.get_publishers_info_by_topic(topic)
        return [
            str(found) for found in mismatches(topic, publishers, wanted, wanted_type=watched.kind)
        ]

    def _is_segmif(self, info: Any) -> bool:
        return f"{info.node_namespace.rstrip('/')}/{info.node_name}" in self._diagnostics

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the newest report of every segmif_node: they have a status "<node>: pairing"."""
        for status in message.status:
            if status.name.endswith(": pairing"):
                self._diagnostics[status.hardware_id] = message


def main(argv: Sequence[str] | None = None) -> int:
    """Look, print the JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to listen")
    parser.add_argument("--discovery", type=float, default=2.0, help="longest wait for a topic")
    parser.add_argument("topics", nargs="*", help="topics to listen to, default all images")
    args = parser.parse_args(argv)
    join()
    node = rclpy.create_node(f"segmif_doctor_{os.getpid()}", start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        probe = Probe(node, args.topics)
        started = monotonic()
        end = started + args.discovery + args.seconds
        while (now := monotonic()) < end:
            seen = probe.look()
            if seen and seen >= len(args.topics):
                end = min(end, max(now, started + _SPIN_S) + args.seconds)
            executor.spin_once(timeout_sec=_SPIN_S)
        result = probe.result(node.get_clock().now().nanoseconds * 1e-9)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
