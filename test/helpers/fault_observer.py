# SPDX-License-Identifier: Apache-2.0
"""The observer of the fault matrix: every output, mode and diagnostic, with its time of arrival."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event, Thread
from time import monotonic, monotonic_ns
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from fault_rows import Expect, Shown
from fault_truth import Picture
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from time_code_reader import read_bars

DEADLINE_S = 40.0
"""A wait that needs this long has failed, however busy the machine is."""

_ANSWER_S = 3.0
LONGEST_STALL_S = 15.0
"""Between two stamps; a longer step is a clock that was set."""

PICTURES = {"fused": 3, "confidence": 1}
"""Outputs that show a camera's picture as it is, and their channels: RGB, and thermal."""
FULL_QUEUE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=200)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """One message of `~/output/mode`."""

    mode: str
    reason: str
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Status:
    """One diagnostic status."""

    concern: str
    level: int
    state: str
    text: str
    values: dict[str, str]
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a camera, known by its camera_info."""

    camera: str
    stamp_ns: int
    seen_ns: int


@dataclass(slots=True)
class Seen:
    """Everything the observer has received, in order of arrival."""

    pictures: list[Picture] = field(default_factory=list)
    modes: list[ModeSeen] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)


class Observer:
    """Listens to a node on a thread of its own; everything is kept with its arrival time."""

    def __init__(self, domain: int, node: str = "segmif") -> None:
        self.seen = Seen()
        self.alarm: Callable[[], str] = lambda: ""
        """Says why waiting is of no use any more, empty while it is."""
        self._node_name = node
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("observer", context=self._context)
        subscribe = self.node.create_subscription
        for topic in PICTURES:
            name = f"/{node}/output/{topic}"
            subscribe(Image, name, self._taker(topic), FULL_QUEUE)
        subscribe(String, f"/{node}/output/mode", self._on_mode, LATCHED)
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        for camera in ("rgb", "thermal"):
            name = f"/rig/{camera}/camera_info"
            subscribe(CameraInfo, name, self._counter(camera), qos_profile_sensor_data)
        self._clients: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = Event()
        self._thread = Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _spin(self) -> None:
        while not self._ended.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    def _taker(self, topic: str) -> Callable[[Image], None]:
        def take(message: Image) -> None:
            seen_ns = monotonic_ns()
            pixels = np.frombuffer(message.data, np.uint8)
            size = (message.height, message.width)
            shape = (*size, 3) if PICTURES[topic] == 3 else size
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            bars = read_bars(pixels.reshape(shape))
            self.seen.pictures.append(Picture(topic, stamp, seen_ns, bars, size))

        return take

    def _counter(self, camera: str) -> Callable[[CameraInfo], None]:
        def take(message: CameraInfo) -> None:
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            self.seen.sent.append(Sent(camera, stamp, monotonic_ns()))

        return take

    def _on_mode(self, message: String) -> None:
        content = json.loads(message.data)
        self.seen.modes.append(ModeSeen(content["mode"], content["reason"], monotonic_ns()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        seen_ns = monotonic_ns()
        for status in message.status:
            name, concern = status.name.split(": ")
            if name == self._node_name:
                values = {kv.key: kv.value for kv in status.values}
                state = values.get("state", "")
                level = ord(status.level)
                self.seen.statuses.append(
                    Status(concern, level, state, status.message, values, seen_ns)
                )

    def until(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
        """Wait until something is true and return it."""
        deadline = monotonic() + seconds
        while not (result := condition()):
            assert monotonic() < deadline, f"waited {seconds:g} s for {what}; {self.summary()}"
            assert not self.alarm(), f"while waiting for {what}: {self.alarm()}"
            self._ended.wait(0.005)
        return result

    def summary(self) -> str:
        """The last things seen, for messages of failed tests."""
        newest = {s.concern: f"{s.level} {s.state}: {s.text}" for s in self.seen.statuses[-12:]}
        modes = [(m.mode, m.reason) for m in self.seen.modes[-4:]]
        return f"modes {modes}, diagnostics {newest}, {len(self.seen.pictures)} pictures"

    def mode(self) -> str:
        return self.seen.modes[-1].mode if self.seen.modes else ""

    def call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service, again if there is no answer, and return the answer."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.until(client.service_is_ready, service)
        deadline = monotonic() + DEADLINE_S
        while True:
            future = client.call_async(request)
            try:
                self.until(future.done, f"the answer of {service}", _ANSWER_S)
                return future.result()
            except AssertionError:
                # A killed server stays discovered for some seconds, and the request is lost.
                if self.alarm() or monotonic() > deadline:
                    raise

    def set_parameter(self, node: str, name: str, value: object) -> int:
        """Set a parameter; return the steady time when it was in force."""
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        request = SetParameters.Request(parameters=parameters)
        result = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        assert result.successful, result.reason
        return monotonic_ns()

    def span(self) -> Span:
        """Begin to look at what happens from now on."""
        seen = self.seen
        firsts = (len(seen.pictures), len(seen.modes), len(seen.statuses), len(seen.sent))
        return Span(self, *firsts)

    def publish_clock(self) -> int:
        """Publish this machine's time on /clock from now on; return when it began."""
        publisher = self.node.create_publisher(Clock, "/clock", 10)
        now = self.node.get_clock().now
        self.node.create_timer(0.05, lambda: publisher.publish(Clock(clock=now().to_msg())))
        return monotonic_ns()


def matches(status: Status, expect: Expect) -> bool:
    return (
        status.concern == expect.concern
        and status.level == expect.level
        and expect.state in ("", status.state)
        and re.search(expect.text, status.text) is not None
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What was seen since some moment."""

    observer: Observer
    first_picture: int
    first_mode: int
    first_status: int
    first_sent: int

    def pictures(self, topic: str = "", after_ns: int = 0) -> list[Picture]:
        seen = self.observer.seen.pictures[self.first_picture :]
        return [p for p in seen if topic in ("", p.topic) and p.seen_ns > after_ns]

    def mode_messages(self) -> list[ModeSeen]:
        return self.observer.seen.modes[self.first_mode :]

    def modes(self) -> list[ModeSeen]:
        """Changes of the mode; a new reason alone is none."""
        changes = []
        last = self.observer.seen.modes[self.first_mode - 1].mode if self.first_mode else ""
        for mode in self.mode_messages():
            if mode.mode != last:
                changes.append(mode)
            last = mode.mode
        return changes

    def entered(self, mode: str) -> ModeSeen | None:
        return next((m for m in self.modes() if m.mode == mode), None)

    def status(self, expect: Expect) -> Status | None:
        """The first status that says so."""
        return next((s for s in self._statuses(expect.concern) if matches(s, expect)), None)

    def shows(self, shown: Shown) -> bool:
        """Return whether a status had this value."""
        return any(s.values[shown.key] == shown.value for s in self._statuses(shown.concern))

    def clear_ns(self, says: Iterable[Expect], after_ns: int) -> int | None:
        """When the first report came that says none of it any more."""
        found = []
        for expect in says:
            later = [s for s in self._statuses(expect.concern) if s.seen_ns > after_ns]
            found.append(next((s.seen_ns for s in later if not matches(s, expect)), None))
        return None if None in found else max(found)

    def grown(self, concern: str, key: str) -> int:
        """By how much a counter has grown since the first report of the span."""
        counts = [int(s.values[key]) for s in self._statuses(concern)]
        return counts[-1] - counts[0] if counts else 0

    def longest_silence_s(self, camera: str) -> float:
        """The longest time between two stamps of a camera; jumps of its clock are none."""
        stamps = [s.stamp_ns for s in self.observer.seen.sent[self.first_sent :]
                  if s.camera == camera]  # fmt: skip
        gaps = [(b - a) / 1e9 for a, b in pairwise(stamps)]
        return max((gap for gap in gaps if gap < LONGEST_STALL_S), default=0.0)

    def _statuses(self, concern: str) -> list[Status]:
        seen = self.observer.seen.statuses[self.first_status :]
        return [s for s in seen if s.concern == concern]
