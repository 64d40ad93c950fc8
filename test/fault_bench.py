# SPDX-License-Identifier: Apache-2.0
"""The bench of the fault matrix: a rig process, a node process, and one observer of everything.

The rig writes the time of each picture into its pixels, the tiny model hands RGB and thermal on
unchanged. So every output tells when both its pictures were taken, and that must fit its stamp.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic, monotonic_ns
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from fault_rows import Expect
from fault_truth import Picture, complaints, start_ms
from lifecycle_msgs.srv import ChangeState
from node_process import NodeProcess
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from segmif_ros.rig.timecode import read_bars

SIZE = (120, 160)
DEADLINE_S = 40.0
"""A wait that needs this long has failed, however busy the machine is."""

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


@dataclass(slots=True)
class Seen:
    """Everything the observer has received, in order of arrival."""

    pictures: list[Picture] = field(default_factory=list)
    modes: list[ModeSeen] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)


class Observer:
    """Listens to a node on a thread of its own; everything is kept with its arrival time."""

    def __init__(self, domain: int, node: str = "segmif") -> None:
        self.seen = Seen()
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
        """Call a service and return the answer."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.until(client.service_is_ready, service)
        future = client.call_async(request)
        self.until(future.done, f"the answer of {service}")
        return future.result()

    def set_parameter(self, node: str, name: str, value: object) -> int:
        """Set a parameter; return the steady time when it was in force."""
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        request = SetParameters.Request(parameters=parameters)
        result = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        assert result.successful, result.reason
        return monotonic_ns()

    def transition(self, label: str) -> None:
        request = ChangeState.Request()
        request.transition.label = label
        assert self.call(ChangeState, f"/{self._node_name}/change_state", request).success


class RigProcess:
    """A running `segmif_rig` with small pictures."""

    def __init__(self, log: Path, domain: int, *options: str) -> None:
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(log.with_suffix("")),
            "PYTHONUNBUFFERED": "1",
        }
        size = f"{SIZE[1]}x{SIZE[0]}"
        fixed = ["--size", size, "--aligned", "--thermal-encoding", "mono8", "--time-code"]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "segmif_ros.ros.rig_node",
                 *fixed, "--prerender", "6", *options],
                stdout=out, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Bench:
    """One rig, one node and the observer.

    Args:
        folder: for logs.
        domain: DDS domain.
        model: the tiny bundle.
        rig_options: further options of the rig.
        program: what the node process runs instead of the node itself.
        parameters: of the node, beside those of every bench.
    """

    def __init__(
        self,
        folder: Path,
        domain: int,
        model: Path,
        *,
        rig_options: Iterable[str] = (),
        program: Iterable[str] = (),
        parameters: dict[str, object] | None = None,
    ) -> None:
        self._folder, self._domain, self._model = folder, domain, model
        self._program, self._parameters = list(program), dict(parameters or {})
        self._starts = 0
        self.began_ns = monotonic_ns()
        self.observer = Observer(domain)
        self.rig = self.start_rig(*rig_options)
        self.node = self.start_node()

    def start_rig(self, *options: str) -> RigProcess:
        """Start a rig; its clock of pictures begins anew."""
        self._starts += 1
        self._base_ms: int | None = None
        self.rig = RigProcess(self._folder / f"rig{self._starts}.log", self._domain, *options)
        return self.rig

    def start_node(self) -> NodeProcess:
        self._starts += 1
        parameters = {
            "model": self._model,
            "engine": "onnxruntime",
            "engine_threads": 1,
            "diagnostics_rate_hz": 5.0,
            "degraded_after_ms": 700.0,
            "ros_args": [
                *("-r", "~/input/rgb:=/rig/rgb/image_raw"),
                *("-r", "~/input/thermal:=/rig/thermal/image_raw"),
            ],
            **self._parameters,
        }
        log = self._folder / f"node{self._starts}.log"
        self.node = NodeProcess(log, self._domain, parameters, program=self._program)
        return self.node

    def close(self) -> None:
        self.node.end()
        self.rig.end()
        self.observer.close()

    def faults(self, text: str) -> int:
        """Put faults in force at the rig; return when they are."""
        return self.observer.set_parameter("/rig/rig", "faults", text)

    def span(self) -> Span:
        """Begin to look at what happens from now on."""
        seen = self.observer.seen
        return Span(
            self.observer, len(seen.pictures), len(seen.modes), len(seen.statuses), monotonic_ns()
        )

    def settle(self, expect: Expect | None) -> None:
        """Wait until the node fuses and does not report what the next fault must make it report."""

        def sound() -> bool:
            span = self.span()
            self.observer.until(lambda: len(span.pictures("fused")) >= 5, "fused images")
            return not (expect and self.reported(expect)) and self.observer.mode() == "fused"

        self.observer.until(sound, f"a sound node that does not report {expect}")
        if self._base_ms is None:
            self._base_ms = start_ms(self.observer.seen.pictures[-1])

    def reported(self, expect: Expect) -> bool:
        """Tell whether the newest report says so."""
        newest = [s for s in self.observer.seen.statuses[-40:] if s.concern == expect.concern]
        return bool(newest) and matches(newest[-1], expect)

    def complaints(self, span: Span, clocks_off_s: Iterable[float]) -> list[str]:
        """Return what was wrong with the outputs of a span."""
        pictures = span.pictures()
        if self._base_ms is None:
            first = next(p for p in pictures if p.topic == "fused" and p.bars[0] is not None)
            self._base_ms = start_ms(first)
        offs = tuple(clocks_off_s)
        return complaints(
            pictures, self._base_ms, clocks_off_s=offs, clocks_go_back=any(off for off in offs)
        )


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
    began_ns: int

    def pictures(self, topic: str = "", after_ns: int = 0) -> list[Picture]:
        seen = self.observer.seen.pictures[self.first_picture :]
        return [p for p in seen if topic in ("", p.topic) and p.seen_ns > after_ns]

    def modes(self) -> list[ModeSeen]:
        """Changes of the mode; a new reason alone is none."""
        seen = self.observer.seen.modes
        changes = []
        last = seen[self.first_mode - 1].mode if self.first_mode else ""
        for mode in seen[self.first_mode :]:
            if mode.mode != last:
                changes.append(mode)
            last = mode.mode
        return changes

    def entered(self, mode: str) -> ModeSeen | None:
        return next((m for m in self.modes() if m.mode == mode), None)

    def status(self, expect: Expect) -> Status | None:
        seen = self.observer.seen.statuses[self.first_status :]
        return next((s for s in seen if matches(s, expect)), None)
