# SPDX-License-Identifier: Apache-2.0
"""Cameras: prepared messages at a steady rate, stamped when they are sent.

The messages are serialised once; only their stamps change. A camera driver in C++ costs about as
little, and the processor belongs to what is measured.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from benchmarks.dds.protocol import READY, SENT, WARM, image_topics
from benchmarks.dds.signals import Cues, announce, boot_id, write_result
from benchmarks.dds.source_images import read_source_images
from segmif_ros.ros.transport import prepare_process

EXIT_NOT_AS_WANTED = 3

_WAITS = {"subscribers": (0, 0.0), "nobody": (1, 1.0), "nothing": (0, 0.0)}
"""What to wait for -> share of topics without a subscriber, and for how many seconds."""

_STAMP_AT = 4
"""Offset of header.stamp in a serialised image: behind the four bytes that name the encoding."""
_STAMP = struct.Struct("<iI")
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"


class PreparedImage:
    """A serialised sensor_msgs/Image that gets a new stamp at each sending."""

    def __init__(self, pixels: Any, encoding: str, frame_id: str) -> None:
        message = Image(header=Header(frame_id=frame_id), encoding=encoding)
        message.height, message.width = pixels.shape[:2]
        message.step = pixels.nbytes // pixels.shape[0]
        message.data.frombytes(pixels.tobytes())
        content = serialize_message(message)
        # The four bytes say how the rest is written; the stamp's place holds for this way only.
        assert content[:_STAMP_AT] == _LITTLE_ENDIAN, content[:_STAMP_AT]
        self._rest = content[_STAMP_AT + _STAMP.size :]

    def stamped(self, stamp_ns: int) -> bytes:
        """Return the message with this stamp."""
        return _LITTLE_ENDIAN + _STAMP.pack(*divmod(stamp_ns, 1_000_000_000)) + self._rest


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera: its publisher and its pictures."""

    publisher: Any
    images: Sequence[PreparedImage]

    def send(self, number: int) -> int:
        """Publish a picture stamped with the time it leaves; return the stamp."""
        stamp_ns = time.time_ns()
        self.publisher.publish(self.images[number % len(self.images)].stamped(stamp_ns))
        return stamp_ns


class CameraNode(Node):
    """Both cameras of some rigs."""

    def __init__(self, images: Path, rigs: int) -> None:
        super().__init__("cameras", start_parameter_services=False)
        rgb, thermal = read_source_images(images)
        prepared = {
            "rgb": [PreparedImage(pixels, "rgb8", "rgb_optical_frame") for pixels in rgb],
            "thermal": [PreparedImage(p, "mono16", "thermal_optical_frame") for p in thermal],
        }
        self.rigs = [
            {
                name: Camera(self.create_publisher(Image, topic, qos_profile_sensor_data), pictures)
                for (name, topic), pictures in zip(
                    image_topics(rig).items(), prepared.values(), strict=True
                )
            }
            for rig in range(rigs)
        ]

    @property
    def cameras(self) -> list[Camera]:
        """All cameras of all rigs."""
        return [camera for rig in self.rigs for camera in rig.values()]

    def unheard(self) -> list[str]:
        """Return the topics without a subscriber."""
        publishers = [camera.publisher for camera in self.cameras]
        return [p.topic_name for p in publishers if not p.get_subscription_count()]

    def send(self, pairs: int, rate_hz: float, cues: Cues) -> dict[str, Any]:
        """Publish pairs of every rig at a rate; the rigs take turns within a period.

        A pair that is late by more than a period is left out, as a camera would.

        Returns:
            What was sent: stamps of the RGB images by rig, lateness, pairs left out.
        """
        stamps: list[list[int]] = [[] for _ in self.rigs]
        late_ms: list[float] = []
        left_out = 0
        period_s = 1.0 / rate_hz
        begin_s = time.monotonic() + 0.05
        for turn in range(pairs * len(self.rigs)):
            late_s = _sleep_until(begin_s + turn * period_s / len(self.rigs), cues)
            if cues.stop.is_set():
                break
            if late_s > period_s:
                left_out += 1
                continue
            # Every rig sends all pictures: a camera that repeats one would be taken for frozen.
            number, rig = divmod(turn, len(self.rigs))
            stamps[rig].append(self.rigs[rig]["rgb"].send(number))
            self.rigs[rig]["thermal"].send(number)
            late_ms.append(1e3 * late_s)
        # The last pair has its period too, or the rate would come out too high.
        _sleep_until(begin_s + pairs * period_s, cues)
        return {
            "stamps_ns": stamps,
            "late_ms": late_ms,
            "left_out": left_out,
            "seconds": time.monotonic() - begin_s,
        }


def _sleep_until(due_s: float, cues: Cues) -> float:
    """Wait for a steady time or the end of the process; return how late it is, seconds."""
    while (ahead_s := due_s - time.monotonic()) > 0 and not cues.stop.is_set():
        time.sleep(min(ahead_s, 0.1))
    return -ahead_s


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help=".npz of pairs")
    parser.add_argument("--rigs", type=int, default=1)
    parser.add_argument("--rate", type=float, required=True, help="pairs a second of each rig")
    parser.add_argument("--warm-up", type=int, required=True, help="pairs at the first cue")
    parser.add_argument("--pairs", type=int, required=True, help="pairs at the second cue")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds for subscribers")
    parser.add_argument(
        "--wait-for", choices=tuple(_WAITS), default="subscribers", help="before the first pair"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    return parser.parse_args(argv)


def _wait_for(what: str, node: CameraNode, patience_s: float, cues: Cues) -> bool:
    """Wait until all topics have a subscriber, or none has had one for a while."""
    unheard, lasting_s = _WAITS[what]
    deadline = time.monotonic() + patience_s
    since = time.monotonic()
    while time.monotonic() < deadline:
        if len(node.unheard()) != unheard * len(node.cameras):
            since = time.monotonic()
        elif time.monotonic() - since >= lasting_s:
            return True
        if cues.stop.wait(0.02):
            return False
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """At a cue warm the listeners up, at the next send and write what was sent; return the code."""
    args = _arguments(argv)
    cues = Cues()
    cues.end_on_interrupt()
    prepare_process()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = CameraNode(args.images, args.rigs)
    try:
        announce(READY)
        if not cues.wait():
            return 1
        if args.wait_for != "nothing" and not _wait_for(args.wait_for, node, args.patience, cues):
            sys.stderr.write(
                f"waited for {args.wait_for} in vain; without: {', '.join(node.unheard())}\n"
            )
            return EXIT_NOT_AS_WANTED
        node.send(args.warm_up, args.rate, cues)
        announce(WARM)
        if not cues.wait():
            return 1
        write_result(args.out, {**node.send(args.pairs, args.rate, cues), "boot_id": boot_id()})
        announce(SENT)
        # The last images lie in our shared memory until they are fetched.
        while not cues.stop.wait(1.0):
            continue
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
