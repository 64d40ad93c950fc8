# SPDX-License-Identifier: Apache-2.0
"""Listens to the cameras and to a running node for `segmif view --live`: the newest result only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition, Event, Thread
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import String

from segmif_ros.bundle import LabelClass
from segmif_ros.images.raw import ImageRefused, view_rgb, view_thermal
from segmif_ros.labels import parse_labels
from segmif_ros.recordings.recording import OUTPUTS, FrameSet, Output, SetAssembler
from segmif_ros.registration import Registration, RegistrationError
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.qos import latched, sensor_input
from segmif_ros.ros.session import join
from segmif_ros.ros.topic_names import check_topic_name
from segmif_ros.thermal import ThermalError, ThermalNormaliser
from segmif_ros.view.frames import ViewError, ViewFrame, ViewImages, encoded

_NODE = "segmif_view"


class ViewListener:
    """A `LiveSource`: subscriptions in a thread of their own."""

    def __init__(
        self,
        node: str,
        rgb_topic: str,
        thermal_topic: str,
        registration: Registration | None = None,
    ) -> None:
        """Join the ROS graph; SIGINT stays with the caller.

        Args:
            node: full name of the node whose outputs to show, for example "/segmif".
            rgb_topic: visible camera, raw images.
            thermal_topic: thermal camera, raw images.
            registration: thermal -> RGB geometry for the thermal pane; it is only scaled if None.

        Raises:
            ViewError: a name is not one of a topic.
        """
        outputs = {name: f"{node}/output/{name}" for name in (*OUTPUTS, "labels")}
        try:
            for topic in (rgb_topic, thermal_topic, *outputs.values()):
                check_topic_name(topic)
        except ValueError as err:
            raise ViewError(str(err)) from err
        self.title = f"live: {node}"
        self._classes: tuple[LabelClass, ...] = ()
        self._topics = {"rgb": rgb_topic, "thermal": thermal_topic, **outputs}
        self._heard = dict.fromkeys(self._topics, 0)
        self._refusal = ""
        self._assembler = SetAssembler()
        self._normaliser = ThermalNormaliser()
        self._registration = registration or Registration()
        self._newest: FrameSet | None = None
        self._number = 0
        self._start_ns: int | None = None
        self._changed = Condition()
        self._stop = Event()
        join()
        self._node = rclpy.create_node(_NODE, start_parameter_services=False)
        self._subscribe()
        self._thread = Thread(target=self._spin, name="view-listener", daemon=True)
        self._thread.start()

    @property
    def classes(self) -> Sequence[LabelClass]:
        """Classes that the node announced, empty before."""
        return self._classes

    def wait_for_classes(self, timeout_s: float) -> bool:
        """Wait until the node has announced its classes; False when it did not."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._classes), timeout_s)

    def newest(self, after: int, timeout_s: float) -> tuple[int, ViewFrame | None, str]:
        """Wait for a result with a number above `after`, and encode it.

        Returns:
            Number, frame (None when none came in time), what is missing in words.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or self._stop.is_set(), timeout_s)
            number, found = self._number, self._newest
            if number <= after or found is None:
                return after, None, self._missing()
        try:
            return number, encoded(self._images(found)), ""
        except (ThermalError, RegistrationError) as err:
            return number, None, str(err)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def _subscribe(self) -> None:
        listen = self._node.create_subscription
        listen(Image, self._topics["rgb"], self._on_rgb, sensor_input())
        listen(Image, self._topics["thermal"], self._on_thermal, sensor_input())
        listen(String, self._topics["labels"], self._on_labels, latched())
        for name in OUTPUTS:
            listen(Image, self._topics[name], partial(self._on_output, name), sensor_input())

    def _spin(self) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        try:
            while not self._stop.is_set():
                executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            pass
        finally:
            executor.shutdown()

    def _on_rgb(self, message: Image) -> None:
        self._take("rgb", message, self._assembler.add_rgb)

    def _on_thermal(self, message: Image) -> None:
        self._take("thermal", message, self._assembler.add_thermal)

    def _on_output(self, name: Output, message: Image) -> None:
        self._take(name, message, partial(self._complete, name))

    def _take(self, name: str, message: Image, keep: Callable[[int, Any], None]) -> None:
        self._heard[name] += 1
        view = view_rgb if name in ("rgb", "fused") else view_thermal
        try:
            seen = view(message)
        except ImageRefused as refusal:
            self._refusal = f"{self._topics[name]}: {refusal}"
            return
        stamp = message.header.stamp
        stamp_ns = int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
        keep(stamp_ns, seen.to_rgb() if view is view_rgb else seen.to_thermal())

    def _complete(self, name: Output, stamp_ns: int, image: Any) -> None:
        whole = self._assembler.add_output(name, stamp_ns, image)
        if whole is None:
            return
        with self._changed:
            self._newest = whole
            self._number += 1
            self._changed.notify_all()

    def _on_labels(self, message: String) -> None:
        try:
            _, classes = parse_labels(message.data)
        except ValueError as err:
            self._refusal = f"{self._topics['labels']}: {err}"
            return
        with self._changed:
            self._classes = classes
            self._changed.notify_all()

    def _images(self, found: FrameSet) -> ViewImages:
        """Bring the thermal image onto the others; runs on the server's threads."""
        with self._changed:
            thermal = self._normaliser.normalise(found.thermal, found.stamp_ns)
            thermal = self._registration.apply(thermal, found.mask.shape).copy()
            if self._start_ns is None or found.stamp_ns < self._start_ns:
                self._start_ns = found.stamp_ns
            time_s = (found.stamp_ns - self._start_ns) / NANOSECONDS
        age_s = time.time() - found.stamp_ns / NANOSECONDS
        late = f", {1e3 * age_s:.0f} ms old" if 0 <= age_s < 60 else ""
        return ViewImages(
            time_s,
            f"stamp {found.stamp_ns / NANOSECONDS:.3f}{late}",
            found.rgb,
            thermal,
            found.fused,
            found.mask,
            found.confidence,
        )

    def _missing(self) -> str:
        silent = [self._topics[name] for name, count in self._heard.items() if not count]
        if self._refusal:
            return self._refusal
        if silent:
            return f"waiting for {', '.join(silent)}; `ros2 topic list` tells what there is"
        return "images come, but no result with the stamp of an RGB image"
