# SPDX-License-Identifier: Apache-2.0
"""Listens to the cameras and to the node, counts, times, and keeps samples for pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from segmif_ros.bundle import LabelClass, parse_labels
from segmif_ros.images.raw import ImageRefused
from segmif_ros.objects.regions import marks_of
from segmif_ros.pairing import PairingConfig, Stream
from segmif_ros.recordings.recording import OUTPUTS, Downsampler, FrameSet, Output, SetAssembler
from segmif_ros.render import Mark
from segmif_ros.ros.qos import latched, sensor_input
from segmif_ros.ros.tools.participant import Outcome, hear_images, participant

_MOST_MARKS = 1000


@dataclass(frozen=True, slots=True)
class RecorderTopics:
    """Where to listen: the cameras' topics, the full name of the node, and how it pairs."""

    rgb: str
    thermal: str
    node: str = "/segmif"
    pairing: PairingConfig = field(default_factory=PairingConfig)

    def output(self, name: str) -> str:
        """Return the full name of one output of the node."""
        return f"{self.node}/output/{name}"


class Recorder:
    """Subscriptions of one node; everything happens in the executor that spins it.

    Attributes:
        counts: images received by name ("rgb", "thermal", "fused", "mask", "confidence").
        ages_ms: arrival time minus stamp of each output, milliseconds, by name.
        refused: messages that could not be read, by name (also "labels" and "objects").
        diagnostics: newest values of each concern of the node.
        messages: newest text of each concern of the node.
        classes: classes that the node announced, empty before.
        model: name of the model that the node announced.
        marks: boxes of objects by the stamp of their image; of all sets that are kept, and newer.
        on_set: called with every complete set of images; must return at once.
    """

    def __init__(
        self,
        node: Node,
        topics: RecorderTopics,
        *,
        sheet_sets: int = 24,
        video_sets: int = 160,
        video_size: tuple[int, int] = (240, 320),
    ) -> None:
        """Subscribe to the node's outputs; `listen_to_cameras` adds the inputs.

        Args:
            node: owner of the subscriptions.
            topics: where to listen.
            sheet_sets: at most so many full-size sets are kept, evenly spaced.
            video_sets: at most so many scaled-down sets are kept, evenly spaced.
            video_size: (height, width) the latter are scaled into.
        """
        self.counts = dict.fromkeys(("rgb", "thermal", *OUTPUTS), 0)
        self.refused = dict.fromkeys((*self.counts, "labels", "objects"), 0)
        self.ages_ms: dict[str, list[float]] = {name: [] for name in OUTPUTS}
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.messages: dict[str, str] = {}
        self.classes: tuple[LabelClass, ...] = ()
        self.model = ""
        self.marks: dict[int, list[Mark]] = {}
        self.on_set: Callable[[FrameSet], Any] | None = None
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._assembler = SetAssembler(topics.pairing)
        self._sheet: Downsampler[FrameSet] = Downsampler(sheet_sets)
        self._video: Downsampler[FrameSet] = Downsampler(video_sets)
        self._video_size = video_size
        self._node_name = topics.node.lstrip("/")
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._node, self._topics = node, topics
        listen = node.create_subscription
        self._subscriptions: list[Any] = [
            listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable),
            listen(String, topics.output("labels"), self._on_labels, latched()),
            listen(String, topics.output("objects"), self._on_objects, reliable),
        ]
        for name in OUTPUTS:
            self._hear(name, topics.output(name), partial(self._complete, name), reliable)

    def listen_to_cameras(self) -> None:
        """Subscribe to the camera images as well; without them there are no complete sets."""
        self._hear("rgb", self._topics.rgb, self._assembler.add_rgb, sensor_input())
        self._hear("thermal", self._topics.thermal, self._assembler.add_thermal, sensor_input())

    @property
    def sheet_sets(self) -> tuple[FrameSet, ...]:
        """Full-size sets kept."""
        return self._sheet.items

    @property
    def video_sets(self) -> tuple[FrameSet, ...]:
        """Scaled-down sets kept."""
        return self._video.items

    @property
    def outputs_span_s(self) -> float:
        """Seconds between the arrival of the first and the last fused image."""
        if self._first_ns is None or self._last_ns is None:
            return 0.0
        return (self._last_ns - self._first_ns) / 1e9

    def value(self, concern: str, key: str) -> str | None:
        """Return one value of the node's newest diagnostics, None if it was not reported."""
        return self.diagnostics.get(concern, {}).get(key)

    def _hear(self, name: str, topic: str, keep: Callable[[int, Any], None], qos: Any) -> None:
        coloured = name in ("rgb", "fused")

        def take(stamp_ns: int, outcome: Outcome) -> None:
            self._note_arrival(name, stamp_ns)
            if isinstance(outcome, ImageRefused):
                self.refused[name] += 1
            else:
                keep(stamp_ns, outcome.to_rgb() if coloured else outcome.to_thermal())

        stream = Stream.RGB if coloured else Stream.THERMAL
        self._subscriptions.append(hear_images(self._node, topic, stream, take, qos))

    def _note_arrival(self, name: str, stamp_ns: int) -> None:
        self.counts[name] += 1
        arrived_ns = time.time_ns()
        if name in self.ages_ms:
            self.ages_ms[name].append((arrived_ns - stamp_ns) / 1e6)
        if name == "fused":
            self._first_ns = self._first_ns or arrived_ns
            self._last_ns = arrived_ns

    def _complete(self, name: Output, stamp_ns: int, image: Any) -> None:
        whole = self._assembler.add_output(name, stamp_ns, image)
        if whole is None:
            return
        if self.on_set is not None:
            self.on_set(whole)
        self._sheet.add(whole)
        if self._video.wants_next():
            self._video.add(whole.shrunk(self._video_size))
        else:
            self._video.skip()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, concern = status.name.partition(": ")
            if name == self._node_name and concern:
                # A node that ends reports once more without its engine; what it said before stands.
                values = {entry.key: entry.value for entry in status.values}
                self.diagnostics.setdefault(concern, {}).update(values)
                self.messages[concern] = status.message

    def _on_labels(self, message: String) -> None:
        try:
            self.model, self.classes = parse_labels(message.data)
        except ValueError:
            self.refused["labels"] += 1

    def _on_objects(self, message: String) -> None:
        try:
            stamp_ns, marks = marks_of(message.data)
        except ValueError:
            self.refused["objects"] += 1
            return
        self.marks[stamp_ns] = marks
        if len(self.marks) > _MOST_MARKS:
            kept = {each.stamp_ns for each in (*self._sheet.items, *self._video.items)}
            newest = list(self.marks)[-_MOST_MARKS // 2 :]
            self.marks = {s: m for s, m in self.marks.items() if s in kept or s in newest}


class Listener:
    """Owns the context, the executor and the recorder; the caller's thread spins it.

    Attributes:
        recorder: counts and keeps what was received.
        hears_cameras: whether the cameras' topics are subscribed to.
    """

    def __init__(self, topics: RecorderTopics, video_size: tuple[int, int]) -> None:
        """Join the ROS graph; SIGINT stays with the caller.

        Args:
            topics: where to listen.
            video_size: (height, width) that video frames are kept in.
        """
        self._stack = ExitStack()
        joined = self._stack.enter_context(participant("segmif_recorder"))
        self._node, self._executor = joined
        self.recorder = Recorder(self._node, topics, video_size=video_size)
        self.hears_cameras = False
        self._topics = topics

    def listen_to_cameras(self) -> None:
        """Subscribe to the cameras too."""
        self.recorder.listen_to_cameras()
        self.hears_cameras = True

    def sees_cameras(self) -> bool:
        """Return whether both camera topics have a publisher."""
        topics = (self._topics.rgb, self._topics.thermal)
        return all(self._node.count_publishers(topic) > 0 for topic in topics)

    def spin(self, seconds: float) -> None:
        """Handle what arrives, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def close(self) -> None:
        """Leave the ROS graph."""
        self._stack.close()
