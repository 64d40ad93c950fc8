# SPDX-License-Identifier: Apache-2.0
"""Publishes the virtual rig as camera drivers would: images, camera_info, acquisition stamps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from segmif_ros.error_codes import NO_SUBSCRIBER, code_of
from segmif_ros.interrupts import ignore, stopping
from segmif_ros.rig.cameras.cameras import Camera, Lidar, Rig, write_calibration
from segmif_ros.rig.draw.board import Board, BoardFootage, BoardStudio
from segmif_ros.rig.draw.footage import TOUR, Footage
from segmif_ros.rig.draw.pattern import Pattern, write_code
from segmif_ros.rig.faults.requests import RGB, THERMAL, Damage
from segmif_ros.rig.faults.requests import Event as Message
from segmif_ros.rig.faults.timeline import Timeline
from segmif_ros.rig.scene.lighting import Lighting
from segmif_ros.rig.scene.planner import random_scene
from segmif_ros.ros.images import to_message
from segmif_ros.ros.rclpy_private import guard_services
from segmif_ros.ros.session import join, own_arguments
from segmif_ros.ros.tools.rig_faults import FaultSwitch, spoil
from segmif_ros.ros.tools.rig_measurements import Measurements
from segmif_ros.ros.tools.rig_options import parser

EXIT_USAGE = 2
EXIT_NO_SUBSCRIBER = 1

THERMAL_PHASE_S = 0.004
"""The cameras are not triggered together: the thermal one is this much later."""
_LINGER_S = 0.3
"""The last best-effort image lies in our shared memory until the reader has fetched it."""
_REPORT_S = 2.0


class _CameraDriver:
    """One camera's topics."""

    def __init__(self, node: Node, name: str, camera: Camera, qos: QoSProfile) -> None:
        self.camera = camera
        self.images = node.create_publisher(Image, f"{name}/image_raw", qos)
        self._info = node.create_publisher(CameraInfo, f"{name}/camera_info", qos)
        self._facts = camera_info(camera)
        self.period_ns = round(1e9 / camera.rate_hz)

    def publish(
        self, picture: NDArray[Any], encoding: str, stamp_ns: int, damage: Damage | None
    ) -> Header:
        """Send one frame and its camera_info."""
        header = Header(frame_id=self.camera.frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        message = to_message(np.ascontiguousarray(picture), encoding, header)
        if damage is not None:
            spoil(message, damage)
        self.images.publish(message)
        self._facts.header = header
        self._info.publish(self._facts)
        return header


def camera_info(camera: Camera) -> CameraInfo:
    """Return the calibration of an ideal camera without distortion."""
    k = camera.intrinsics
    info = CameraInfo(width=k.width, height=k.height, distortion_model="plumb_bob")
    info.d = [0.0] * 5
    info.k = [float(value) for value in k.matrix.ravel()]
    info.r = [float(value) for value in np.eye(3).ravel()]
    info.p = [float(value) for value in np.hstack([k.matrix, np.zeros((3, 1))]).ravel()]
    return info


class RigNode(Node):
    """Publishes footage; see `main` for its options.

    Args:
        rig: the cameras.
        footage: their pictures.
        with_labels: also publish the true labels.
        encoding: of the thermal images.
        reliable: offer reliable images; drivers of cameras differ in this.
        time_code: write the time of each picture into its pixels.
        faults: those in force from the start, with spaces between them.
    """

    def __init__(
        self,
        rig: Rig,
        footage: Footage | Pattern | BoardFootage,
        *,
        with_labels: bool,
        encoding: str,
        reliable: bool = False,
        time_code: bool = False,
        faults: str = "",
    ) -> None:
        super().__init__("rig", namespace="/rig")
        self._footage, self._encoding, self._time_code = footage, encoding, time_code
        qos = QoSProfile(depth=5) if reliable else qos_profile_sensor_data
        self.rgb = _CameraDriver(self, RGB, rig.rgb, qos)
        self.thermal = _CameraDriver(self, THERMAL, rig.thermal, qos)
        self._drivers = {RGB: self.rgb, THERMAL: self.thermal}
        self._labels = None
        if with_labels:
            self._labels = self.create_publisher(Image, "rgb/labels", qos_profile_sensor_data)
        self._measurements = Measurements(self, rig.rgb.rate_hz)
        self._switch = FaultSwitch(self, faults)
        self._reported = -_REPORT_S
        self._start_ns = 0
        self.skipped = 0

    def prerender(self, stop: Event) -> bool:
        """Render ahead, saying how far it is; return false when stopped."""
        started = time.monotonic()

        def progress(done: int, total: int) -> bool:
            now = time.monotonic()
            if done == total or now - self._reported > _REPORT_S:
                self._reported = now
                self.get_logger().info(
                    f"rendering ahead: {done} of {total} images, {now - started:.1f} s"
                )
            return not stop.is_set()

        return self._footage.prepare(progress)

    def wait_for_subscribers(self, seconds: float, stop: Event) -> list[str]:
        """Return the image topics without a subscriber after `seconds`."""
        deadline = time.monotonic() + seconds
        publishers = (self.rgb.images, self.thermal.images)
        while not stop.is_set():
            missing = [p.topic_name for p in publishers if not p.get_subscription_count()]
            if not missing or time.monotonic() > deadline:
                return missing
            stop.wait(0.05)
        return []

    def run(self, frames: int | None, stop: Event, idle: Callable[[float], None]) -> int:
        """Publish until `frames` RGB frames are out or `stop` is set; return the number sent.

        Args:
            frames: how many, None for no end.
            stop: ends the run.
            idle: spends at most the given seconds until the next frame is due.
        """
        # Wall time minus monotonic time is frozen here: stamps must not follow clock corrections.
        wall_ns = time.time_ns() - time.monotonic_ns()
        self._start_ns = wall_ns + time.monotonic_ns()
        rates = {name: driver.camera.rate_hz for name, driver in self._drivers.items()}
        timeline = Timeline(
            rates,
            start_ns=self._start_ns,
            phase_s=THERMAL_PHASE_S,
            faults=self._switch.initial,
        )
        sent = 0
        end_ns: int | None = None
        while not stop.is_set() and frames != 0:
            now = wall_ns + time.monotonic_ns()
            faults = self._switch.changed()
            if faults is not None:
                timeline.switch(faults, now)
            due = timeline.take(now)
            newest = {message.camera: message for message in due}
            for message in due:
                driver = self._drivers[message.camera]
                if end_ns is not None and (message.camera == RGB or message.taken_ns > end_ns):
                    continue
                late = now - message.arrival_ns >= driver.period_ns
                if late and end_ns is None and message is not newest[message.camera]:
                    # Its successor is due already: a camera does not wait for its host.
                    self.skipped += 1
                    continue
                self._send(message)
                sent += message.camera == RGB
                if sent == frames and end_ns is None:
                    # The thermal frame that belongs to the last RGB frame is still to come.
                    end_ns = message.taken_ns + driver.period_ns // 2
            if end_ns is not None and now >= end_ns:
                break
            idle(max(timeline.next_ns() - now, 0) / 1e9)
        return sent

    def _send(self, message: Message) -> None:
        """Publish what a camera has taken, with the damage that was requested."""
        driver = self._drivers[message.camera]
        labels = None
        if message.camera == THERMAL:
            picture: NDArray[Any] = self._footage.thermal(message.frame)
        else:
            picture, labels = self._footage.visible(message.frame)
        if self._time_code:
            picture = write_code(picture, (message.taken_ns - self._start_ns) // 1_000_000)
        if message.damage is Damage.SIZE:
            picture = picture[::2, ::2]
        encoding = self._encoding if message.camera == THERMAL else "rgb8"
        header = driver.publish(picture, encoding, message.stamp_ns, message.damage)
        if self._labels is not None and labels is not None:
            self._labels.publish(to_message(np.ascontiguousarray(labels), "mono8", header))
        if message.camera == RGB and isinstance(self._footage, Footage):
            measured = self._footage.measured(message.frame)
            if measured is not None:
                self._measurements.publish(measured, message.frame, header)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rig until its frames are sent or a signal comes; return the exit code.

    Args:
        argv: command line after the program name, default `sys.argv`.

    Returns:
        0 done or interrupted, 2 wrong arguments, 3 no subscriber in time.
    """
    command = [sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
    stop = Event()
    with stopping(stop):
        try:
            args = parser().parse_args(own_arguments(command))
            return _run(args, command, stop)
        except (ValueError, OSError, RuntimeError) as err:
            sys.stderr.write(f"segmif_rig: {code_of(err)} {err}\n")
            return EXIT_USAGE


def _footage(args: argparse.Namespace, rig: Rig) -> Footage | Pattern | BoardFootage:
    if args.pattern:
        return Pattern(rig, encoding=args.thermal_encoding)
    if args.board:
        studio = BoardStudio(rig, Board(), args.seed)
        return BoardFootage(studio, args.board, encoding=args.thermal_encoding)
    return _street(args, rig)


def _street(args: argparse.Namespace, rig: Rig) -> Footage:
    return Footage(
        random_scene(args.seed),
        rig,
        TOUR if args.lighting == "tour" else [Lighting(args.lighting)],
        frames=args.frames,
        ahead=args.prerender if args.frames is None else min(args.prerender, args.frames),
        encoding=args.thermal_encoding,
        thermal_phase_s=THERMAL_PHASE_S,
        lidar=None if args.lidar is None else Lidar(args.lidar),
    )


def _run(args: argparse.Namespace, command: list[str], stop: Event) -> int:
    make = Rig.aligned if args.aligned else Rig.default
    rig = make(rgb_rate_hz=args.rate, thermal_rate_hz=args.thermal_rate)
    if args.size is not None:
        rig = rig.with_size(*args.size)
    if args.write_calibration is not None:
        write_calibration(args.write_calibration, rig, seed=args.seed)
    footage = _footage(args, rig)
    join(command)
    node = RigNode(
        rig,
        footage,
        with_labels=args.labels,
        encoding=args.thermal_encoding,
        reliable=args.reliable,
        time_code=args.time_code,
        faults=" ".join(args.fault),
    )
    guard_services(node, node.get_logger().warning)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        return _publish(args, node, executor, stop)
    finally:
        ignore()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _shown(args: argparse.Namespace) -> str:
    if args.pattern:
        return "test pattern"
    return "a board" if args.board else f"seed {args.seed}, {args.lighting}"


def _publish(
    args: argparse.Namespace, node: RigNode, executor: SingleThreadedExecutor, stop: Event
) -> int:
    if not node.prerender(stop):
        return 0
    if args.wait_for_subscribers is not None:
        missing = node.wait_for_subscribers(args.wait_for_subscribers, stop)
        if missing:
            sys.stderr.write(
                f"segmif_rig: {NO_SUBSCRIBER} no subscriber on {', '.join(missing)} within "
                f"{args.wait_for_subscribers:g} s; check topic names, ROS_DOMAIN_ID and "
                "ROS_AUTOMATIC_DISCOVERY_RANGE\n"
            )
            return EXIT_NO_SUBSCRIBER
    node.get_logger().info(
        f"publishing {node.rgb.images.topic_name} at {args.rate:g} Hz and "
        f"{node.thermal.images.topic_name} at {args.thermal_rate:g} Hz, " + _shown(args)
    )

    def idle(seconds: float) -> None:
        # Long waits are cut up so that a signal ends them.
        executor.spin_once(timeout_sec=min(seconds, 0.1))

    sent = node.run(args.frames, stop, idle)
    stop.wait(_LINGER_S)
    note = f", left out {node.skipped} that the machine was too busy for" if node.skipped else ""
    node.get_logger().info(f"sent {sent} RGB frames{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
