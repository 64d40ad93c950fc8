# SPDX-License-Identifier: Apache-2.0
"""Listens to the cameras and to a running node for `segmif view --live`: the newest result only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from threading import Condition, Event, Thread
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.executors import ExternalShutdownException
from rclpy.task import Future
from std_msgs.msg import String

from segmif_ros.bundle import LabelClass, parse_labels
from segmif_ros.images.raw import ImageRefused
from segmif_ros.pairing import MILLISECOND, PairingConfig, Stream
from segmif_ros.recordings.recording import OUTPUTS, FrameSet, Output, SetAssembler
from segmif_ros.registration import Registration, RegistrationError
from segmif_ros.ros.node.statistics import NANOSECONDS
from segmif_ros.ros.qos import check_topic_name, latched, sensor_input
from segmif_ros.ros.tools.participant import Outcome, hear_images, participant
from segmif_ros.thermal import ThermalError, ThermalNormaliser, ThermalSettings
from segmif_ros.view.frames import Heat, ViewError, ViewFrame, ViewImages, encoded

_NODE = "segmif_view"
_OFFSETS = ("rgb_offset_ms", "thermal_offset_ms")
_SCALE = ("thermal_scale", "thermal_offset")
_ASK_EVERY_S = 2.0
_ANY_NS = 1 << 62
"""A node that has lost a camera still has results, which are shown with the last frame of it."""


class ViewListener:
    """A `LiveSource`: subscriptions in a thread of their own."""

    def __init__(
        self,
        node: str,
        rgb_topic: str,
        thermal_topic: str,
        registration: Registration | None = None,
        thermal_offset_ms: float | None = None,
        thermal: ThermalSettings | None = None,
    ) -> None:
        """Join the ROS graph; SIGINT stays with the caller.

        Args:
            node: full name of the node whose outputs to show, for example "/segmif".
            rgb_topic: visible camera; compressed images where it ends in /compressed.
            thermal_topic: thermal camera, likewise.
            registration: thermal -> RGB geometry for the thermal pane; it is only scaled if None.
            thermal_offset_ms: added to thermal stamps; read from the node if None.
            thermal: scale and offset of the temperatures; read from the node if None.

        Raises:
            ViewError: a name is not one of a topic.
            RosError: the ROS graph cannot be joined.
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
        self._assembler = SetAssembler(_pairing(thermal_offset_ms=thermal_offset_ms or 0.0))
        self._normaliser = ThermalNormaliser()
        self._registration = registration or Registration()
        self._newest: FrameSet | None = None
        self._number = 0
        self._start_ns: int | None = None
        self._changed = Condition()
        self._stop = Event()
        self._stack = ExitStack()
        self._node, self._executor = self._stack.enter_context(participant(_NODE))
        self._parameters: Any = None
        self._thermal = thermal or ThermalSettings()
        self._asked = (
            *(_OFFSETS if thermal_offset_ms is None else ()),
            *(_SCALE if thermal is None else ()),
        )
        if self._asked:
            self._parameters = self._node.create_client(GetParameters, f"{node}/get_parameters")
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
        self._stack.close()

    def _subscribe(self) -> None:
        self._hear("rgb", self._assembler.add_rgb)
        self._hear("thermal", self._assembler.add_thermal)
        for name in OUTPUTS:
            self._hear(name, partial(self._complete, name))
        labels = self._topics["labels"]
        self._node.create_subscription(String, labels, self._on_labels, latched())

    def _hear(self, name: str, keep: Callable[[int, Any], None]) -> None:
        coloured = name in ("rgb", "fused")

        def take(stamp_ns: int, outcome: Outcome) -> None:
            self._heard[name] += 1
            if isinstance(outcome, ImageRefused):
                self._refusal = f"{self._topics[name]}: {outcome}"
            else:
                keep(stamp_ns, outcome.to_rgb() if coloured else outcome.to_thermal())

        stream = Stream.RGB if coloured else Stream.THERMAL
        hear_images(self._node, self._topics[name], stream, take, sensor_input())

    def _spin(self) -> None:
        asked_s = -_ASK_EVERY_S
        while not self._stop.is_set():
            due = time.monotonic() - asked_s > _ASK_EVERY_S
            if due and self._parameters is not None and self._parameters.service_is_ready():
                asked_s = time.monotonic()
                request = GetParameters.Request(names=list(self._asked))
                self._parameters.call_async(request).add_done_callback(self._on_offsets)
            with suppress(ExternalShutdownException):
                self._executor.spin_once(timeout_sec=0.1)

    def _on_offsets(self, answered: Future) -> None:
        """Pair and scale as the node does; its parameters may change while it runs."""
        answer = answered.result()
        if answer is None:
            return
        # An older node returns as many values as it has.
        told = {n: v.double_value for n, v in zip(self._asked, answer.values, strict=False)}
        if all(name in told for name in _OFFSETS):
            self._assembler.pairing = _pairing(**{name: told[name] for name in _OFFSETS})
        if told.get("thermal_scale") and "thermal_offset" in told:
            self._thermal = ThermalSettings(
                scale=told["thermal_scale"], offset=told["thermal_offset"]
            )

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
        """Warp the thermal image onto the others; runs on the server's threads."""
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
            heat=Heat.of(found.thermal, self._thermal, self._registration),
        )

    def _missing(self) -> str:
        silent = [self._topics[name] for name, count in self._heard.items() if not count]
        if self._refusal:
            return self._refusal
        if silent:
            return f"waiting for {', '.join(silent)}; `ros2 topic list` lists the topics"
        return "images come, but no result with the stamp of an RGB image"


def _pairing(*, thermal_offset_ms: float, rgb_offset_ms: float = 0.0) -> PairingConfig:
    return PairingConfig(
        tolerance_ns=_ANY_NS,
        rgb_offset_ns=round(rgb_offset_ms * MILLISECOND),
        thermal_offset_ns=round(thermal_offset_ms * MILLISECOND),
    )
