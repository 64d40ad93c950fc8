# SPDX-License-Identifier: Apache-2.0
"""Counts what a pair of images passes in the node: files, classes and threads of this package.

    python scripts/frame_figures.py              # of this checkout
    python scripts/frame_figures.py ../before    # of another one

The node runs in this process with the engine that computes nothing and receives raw images from a
publisher beside it; mask and fused image have a reader. Every Python call on every thread is looked
at while pairs pass. Diagnostics run beside the frames and do not count; the watch over the
alignment, which looks at one pair in five seconds, is off.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

PAIRS = 20
DEADLINE_S = 120.0
BESIDE = ("diagnostic", "reporter", "health", "facts", "statuses", "levels")
"""Parts of names of files and threads that a frame does not pass."""


class Seen:
    """What ran since `counting` was set."""

    def __init__(self, package: Path) -> None:
        self._package = str(package)
        self.counting = False
        self.files: set[str] = set()
        self.classes: set[str] = set()
        self.threads: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """See `sys.setprofile`."""
        if not self.counting or event != "call":
            return
        thread = threading.current_thread().name
        owner = type(frame.f_locals.get("self"))
        ours = owner.__module__.startswith("segmif_ros")
        name = frame.f_code.co_filename
        if any(part in f"{thread}{name}{owner.__module__}" for part in BESIDE):
            return
        if name.startswith(self._package):
            self.files.add(name.removeprefix(self._package))
            self.threads.add(thread)
        if ours:
            self.classes.add(f"{owner.__module__}.{owner.__qualname__}")


def image(stamp: Any, encoding: str, channels: int) -> Image:
    """Return a 640x480 picture that changes with its stamp."""
    message = Image(encoding=encoding, height=480, width=640, step=640 * channels)
    message.header.stamp = stamp
    message.data = bytes([stamp.nanosec % 251]) * (640 * 480 * channels)
    return message


def main() -> int:
    """Run the node and print the figures."""
    checkout = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    sys.path.insert(0, str(checkout))
    seen = Seen(checkout / "segmif_ros")
    threading.setprofile(seen)
    rclpy.init()
    try:
        node_class = import_module("segmif_ros.ros.node.node").SegmifNode
    except ModuleNotFoundError:
        node_class = import_module("segmif_ros.ros.node").SegmifNode
    model = str(checkout / "models/segmif-nano")
    given = {"model": model, "engine": "null", "alignment_check_s": 0.0}
    node = node_class(parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
    assert node.autostart(), node.last_error
    other = rclpy.create_node("beside")
    qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
    cameras = [
        (other.create_publisher(Image, f"/segmif/input/{name}", qos), *kind)
        for name, kind in (("rgb", ("rgb8", 3)), ("thermal", ("mono8", 1)))
    ]
    heard: list[Image] = []
    for name in ("mask", "fused"):
        other.create_subscription(Image, f"/segmif/output/{name}", heard.append, qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(other)

    def send() -> None:
        stamp = other.get_clock().now().to_msg()
        for publisher, encoding, channels in cameras:
            publisher.publish(image(stamp, encoding, channels))

    timer = other.create_timer(0.2, send)
    deadline = monotonic() + DEADLINE_S
    while len(heard) < 4 * PAIRS and monotonic() < deadline:
        executor.spin_once(timeout_sec=0.2)
        seen.counting = len(heard) >= 2 * PAIRS
    seen.counting = False
    timer.cancel()
    node.close()
    loaded = [name for name in sys.modules if name.split(".")[0] == "segmif_ros"]
    print(f"{len(heard)} images received, {len(loaded)} modules of the package loaded")
    for what, names in (
        ("files", seen.files),
        ("classes", seen.classes),
        ("threads", seen.threads),
    ):
        print(f"{len(names)} {what}: {', '.join(sorted(names))}")
    rclpy.shutdown()
    return 0 if len(heard) >= 4 * PAIRS else 1


if __name__ == "__main__":
    sys.exit(main())
