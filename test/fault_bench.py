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
from node_process import NodeProcess, shared_memory_of
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
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

    def publish_clock(self) -> int:
        """Publish this machine's time on /clock from now on; return when it began."""
        publisher = self.node.create_publisher(Clock, "/clock", 10)
        now = self.node.get_clock().now
        self.node.create_timer(0.05, lambda: publisher.publish(Clock(clock=now().to_msg())))
        return monotonic_ns()


def own_memory(child: int, others: Iterable[int] = ()) -> set[Path]:
    """Files in /dev/shm that Fast DDS made for a process alone, and for none of the others.

    The ports are common to all processes of a machine.
    """
    common = shared_memory_of("self").union(*(shared_memory_of(pid) for pid in others))
    files = shared_memory_of(child) - common
    return {path for path in files if path.name.startswith("fast") and "port" not in path.name}


def free_memory(files: set[Path]) -> None:
    """Remove what a killed process has left."""
    for path in files:
        path.unlink(missing_ok=True)


class RigProcess:
    """A running `segmif_rig` with small pictures."""

    def __init__(self, log: Path, domain: int, *options: str) -> None:
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_LOG_DIR": str(log.with_suffix("")),
            "PYTHONUNBUFFERED": "1",
        }
        self.log = log
        size = f"{SIZE[1]}x{SIZE[0]}"
        fixed = ["--size", size, "--aligned", "--thermal-encoding", "mono8", "--time-code"]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "segmif_ros.ros.rig_node",
                 *fixed, "--prerender", "2", *options],
                stdout=out, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            memory = own_memory(self.process.pid)
            self.process.send_signal(number)
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                number = signal.SIGKILL
            if number == signal.SIGKILL:
                free_memory(memory)
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
        self._rigs_ns: list[int] = []
        self._rig_starts_ms: list[int] = []
        self.observer = Observer(domain)
        self.rig = self.start_rig(*rig_options)
        self.node = self.start_node()
        self.observer.alarm = self._dead

    def start_rig(self, *options: str) -> RigProcess:
        """Start a rig; the times in its pictures begin anew."""
        self._starts += 1
        self._rigs_ns.append(monotonic_ns())
        self.rig = RigProcess(self._folder / f"rig{self._starts}.log", self._domain, *options)
        return self.rig

    def another_rig(self, number: int, *options: str) -> int:
        """End the rig by a signal and start one; return when that one begins to publish."""
        self._learn_starts()
        self.observer.alarm = lambda: ""
        self.rig.end(number)
        rig = self.start_rig(*options)
        self.observer.alarm = self._dead
        self.observer.until(lambda: "publishing" in rig.log.read_text(), "the new rig")
        return monotonic_ns()

    def start_node(self) -> NodeProcess:
        self._starts += 1
        parameters = {
            "model": self._model,
            "engine": "onnxruntime",
            "engine_threads": 1,
            "diagnostics_rate_hz": 10.0,
            "degraded_after_ms": 700.0,
            "ros_args": [
                *("-r", "~/input/rgb:=/rig/rgb/image_raw"),
                *("-r", "~/input/thermal:=/rig/thermal/image_raw"),
            ],
            **self._parameters,
        }
        log = self._folder / f"node{self._starts}.log"
        self.since_start = self.span()
        self.node = NodeProcess(log, self._domain, parameters, program=self._program)
        return self.node

    def _dead(self) -> str:
        """The log of a process that ended by itself."""
        for child in (self.node, self.rig):
            if child.process.poll() is not None:
                return f"exit code {child.process.returncode}\n{child.log.read_text()}"
        return ""

    def close(self) -> None:
        self.observer.alarm = lambda: ""
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

    def settle(self, says: Iterable[Expect]) -> None:
        """Wait until the node fuses and does not report what the next fault must make it report."""
        span = self.span()

        def sound() -> bool:
            silent = not any(self._reported(expect) for expect in says)
            return silent and self.observer.mode() == "fused" and len(span.pictures("fused")) >= 5

        self.observer.until(sound, f"a sound node that does not report {says}")

    def _reported(self, expect: Expect) -> bool:
        newest = [s for s in self.observer.seen.statuses[-40:] if s.concern == expect.concern]
        return bool(newest) and matches(newest[-1], expect)

    def complaints(self, span: Span, clocks_off_s: tuple[float, ...]) -> list[str]:
        """Return what was wrong with the outputs of a span."""
        self._learn_starts()
        return complaints(
            span.pictures(),
            self._rig_starts_ms,
            clocks_off_s=clocks_off_s,
            clocks_go_back=any(clocks_off_s),
        )

    def _learn_starts(self) -> None:
        """Learn from the first picture of a rig when it started, if there is one already."""
        for started_ns in self._rigs_ns[len(self._rig_starts_ms) :]:
            for picture in self.observer.seen.pictures:
                shown = picture.topic == "fused" and picture.bars[0] is not None
                if shown and picture.seen_ns > started_ns:
                    self._rig_starts_ms.append(start_ms(picture))
                    break


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

    def _statuses(self, concern: str) -> list[Status]:
        seen = self.observer.seen.statuses[self.first_status :]
        return [s for s in seen if s.concern == concern]
