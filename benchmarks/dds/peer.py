# SPDX-License-Identifier: Apache-2.0
"""The ordinary way, to compare with: a node as most Python packages for ROS 2 are written.

One callback does everything: approximate synchroniser, images through bgr8, stretch of the thermal
image frame by frame, warpPerspective, inference, and publishing, with or without a subscriber.
The engine is the same as the measured node's, and so are transport profile and malloc settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from benchmarks.dds.protocol import MARKED, READY
from benchmarks.dds.signals import Cues, Settled, announce, boot_id, write_result
from benchmarks.dds.synchronizer import synchronizer
from segmif_ros.bundle import Bundle
from segmif_ros.engines import open_engine
from segmif_ros.ros.transport import prepare_process

QUEUE_SIZE = 10
SLOP_S = 0.05

Fill = Callable[[Image, NDArray[Any]], None]


def _fill_as_cv_bridge(message: Image, array: NDArray[Any]) -> None:
    message.data.frombytes(array.tobytes())


def _fill_with_ndarray(message: Image, array: NDArray[Any]) -> None:
    message.data = array.flatten()


STYLES: dict[str, Fill] = {
    "message-filters": _fill_as_cv_bridge,
    "message-filters-ndarray": _fill_with_ndarray,
}
"""How the pixels get into a message: as cv_bridge does it, or by assigning the array."""


class PeerNode(Node):
    """One callback does it all.

    Attributes:
        pairs: callbacks so far.
        samples_ms: times by stage.
        received: images by camera so far, RGB first.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        namespace, _, name = args.node.rpartition("/")
        super().__init__(name, namespace=namespace)
        settings = json.loads(args.parameters)
        bundle = Bundle.load(settings["model"])
        self.engine = open_engine(
            settings["engine"], bundle, threads=int(settings["engine_threads"])
        )
        self._homography = np.asarray(settings["homography"])
        self._fill = STYLES[args.style]
        self._output = {
            name: self.create_publisher(Image, f"~/output/{name}", 10) for name in ("fused", "mask")
        }
        self.pairs = 0
        self.samples_ms: dict[str, list[float]] = {}
        self._synchronizer = synchronizer(
            self, (args.rgb, args.thermal), QUEUE_SIZE, SLOP_S, self._on_pair
        )
        self.pairing = type(self._synchronizer).__name__

    @property
    def received(self) -> list[int]:
        """Images received, RGB first."""
        return self._synchronizer.received

    def _on_pair(self, rgb_message: Image, thermal_message: Image) -> None:
        stamp = rgb_message.header.stamp
        began_ns = time.time_ns()
        transport_ms = (began_ns - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e6
        times = [time.perf_counter()]
        bgr = _to_bgr8(rgb_message)
        thermal = _to_mono16(thermal_message)
        times.append(time.perf_counter())
        grey = cv2.normalize(thermal, None, 0, 255, cv2.NORM_MINMAX, dtype=cv2.CV_8U)
        times.append(time.perf_counter())
        registered = cv2.warpPerspective(grey, self._homography, bgr.shape[1::-1])
        times.append(time.perf_counter())
        height, width = self.engine.size
        rgb = cv2.cvtColor(cv2.resize(bgr, (width, height)), cv2.COLOR_BGR2RGB)
        fused, mask, _ = self.engine.infer(rgb, cv2.resize(registered, (width, height)))
        fused_bgr = cv2.cvtColor(cv2.resize(fused, bgr.shape[1::-1]), cv2.COLOR_RGB2BGR)
        mask = cv2.resize(mask, bgr.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        times.append(time.perf_counter())
        self._publish("fused", fused_bgr, "bgr8", rgb_message.header)
        self._publish("mask", mask, "mono8", rgb_message.header)
        times.append(time.perf_counter())
        self.pairs += 1
        self.samples_ms.setdefault("transport", []).append(transport_ms)
        stages = ("conversion", "thermal", "registration", "inference", "publish")
        for stage, begin, end in zip(stages, times[:-1], times[1:], strict=True):
            self.samples_ms.setdefault(stage, []).append(1e3 * (end - begin))

    def _publish(self, name: str, array: NDArray[Any], encoding: str, header: Any) -> None:
        message = Image(header=header, encoding=encoding)
        message.height, message.width = array.shape[:2]
        message.step = array.strides[0]
        self._fill(message, array)
        self._output[name].publish(message)


def _to_bgr8(message: Image) -> NDArray[Any]:
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)


def _to_mono16(message: Image) -> NDArray[Any]:
    return np.frombuffer(message.data, np.uint16).reshape(message.height, message.width).copy()


class Observer:
    """Takes the node's counters at each cue, once they have settled."""

    def __init__(self, node: PeerNode, cues: Cues) -> None:
        self._node, self._cues = node, cues
        self._settled = Settled()
        self._wanted = 0
        self._marks: list[tuple[int, int, int]] = []

    def watch(self) -> None:
        """Follow the cues; called after each round of the executor."""
        if self._cues.next():
            self._wanted += 1
        rgb, thermal = self._node.received
        now = (rgb, thermal, self._node.pairs)
        if len(self._marks) < self._wanted and self._settled.look(now, time.monotonic()):
            self._marks.append(now)
            announce(f"{MARKED} {len(self._marks)}")

    def result(self) -> dict[str, Any]:
        """Return what happened between the first cue and the last, as the measured node does."""
        first, last = self._marks[0], self._marks[-1]
        rgb, thermal, pairs = (after - before for before, after in zip(first, last, strict=True))
        counters = {
            "received.rgb": rgb,
            "received.thermal": thermal,
            "pairs": pairs,
            "published": pairs,
            # The synchroniser does not say which of them still wait and which it dropped.
            "dropped.rgb.unmatched": rgb - pairs,
            **dict.fromkeys(("refused.rgb", "replaced", "skipped", "withdrawn", "failures"), 0),
        }
        samples = {stage: values[first[2] :] for stage, values in self._node.samples_ms.items()}
        engine = {"name": self._node.engine.name, **self._node.engine.describe()}
        engine["pairing"] = self._node.pairing
        return {
            "counters": counters,
            "samples_ms": samples,
            "engine": engine,
            "boot_id": boot_id(),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT, then write the figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=tuple(STYLES), required=True)
    for name in ("rgb", "thermal", "node", "parameters"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args(argv)
    cues = Cues()
    cues.end_on_interrupt()
    prepare_process()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = PeerNode(args)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    observer = Observer(node, cues)
    announce(READY)
    try:
        while not cues.stop.is_set():
            executor.spin_once(timeout_sec=0.1)
            observer.watch()
        write_result(args.out, observer.result())
        return 0
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
