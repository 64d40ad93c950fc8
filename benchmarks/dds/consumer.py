# SPDX-License-Identifier: Apache-2.0
"""The listener: an ordinary subscriber that notes when each image came."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from benchmarks.dds.protocol import READY, output_topic
from benchmarks.dds.signals import Cues, announce, boot_id, write_result
from segmif_ros.ros.transport import prepare_process

_POLL_S = 0.2


class ConsumerNode(Node):
    """Notes stamp and arrival of every image of some outputs.

    Attributes:
        arrivals: [stamp, arrival] of each image in wall time, nanoseconds, by topic.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        super().__init__("consumer", start_parameter_services=False)
        self.arrivals: dict[str, list[tuple[int, int]]] = {topic: [] for topic in topics}
        # The request of RViz.
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._heard = [
            self.create_subscription(Image, topic, self._noting(topic), qos) for topic in topics
        ]

    def matched(self) -> bool:
        """Return whether every topic has a publisher."""
        return all(self.count_publishers(topic) for topic in self.arrivals)

    def _noting(self, topic: str) -> Callable[[Image], None]:
        arrivals = self.arrivals[topic]

        def note(message: Image) -> None:
            now_ns = time.time_ns()
            stamp = message.header.stamp
            arrivals.append((stamp.sec * 1_000_000_000 + stamp.nanosec, now_ns))

        return note


def main(argv: Sequence[str] | None = None) -> int:
    """Listen until SIGINT or SIGTERM, then write the arrivals; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", required=True, help="names with commas between")
    parser.add_argument("--rigs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    cues = Cues()
    cues.end_on_interrupt()
    prepare_process()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    names = [
        output_topic(rig, name) for rig in range(args.rigs) for name in args.outputs.split(",")
    ]
    node = ConsumerNode(names)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    announced = False
    try:
        while not cues.stop.is_set():
            executor.spin_once(timeout_sec=_POLL_S if announced else 0.02)
            if not announced and node.matched():
                announced = True
                announce(READY)
        write_result(args.out, {"arrivals_ns": node.arrivals, "boot_id": boot_id()})
        return 0
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
