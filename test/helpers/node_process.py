# SPDX-License-Identifier: Apache-2.0
"""Helpers of the process tests: a `segmif_node` in a process of its own, and its peer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from segmif_ros.ros.images import to_message

ASK_AGAIN_S = 3.0
DEADLINE_S = 30.0
"""A busy machine is slow; a wait that needs this long has failed."""


NODE = ("-m", "segmif_ros.ros.node.main")


def shared_memory_of(pid: int | str) -> set[Path]:
    """Files in /dev/shm that a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[-1]) for line in maps if "/dev/shm/" in line}


class NodeProcess:
    """One running node.

    Args:
        log: receives its output.
        domain: DDS domain.
        parameters: ROS parameters; the key `ros_args` holds further ROS arguments.
        program: arguments of the interpreter, by default those that run the node.
    """

    def __init__(
        self,
        log: Path,
        domain: int,
        parameters: dict[str, object],
        program: Sequence[str] = (),
    ) -> None:
        extra = list(parameters.pop("ros_args", []))
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            extra += ["-p", f"{name}:={text}"]
        self.log = log
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(log.with_suffix("")),
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, *(program or NODE), "--ros-args", *extra],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.log.read_text()

    def wait_for_text(self, text: str) -> None:
        deadline = monotonic() + DEADLINE_S
        while text not in self.text():
            assert monotonic() < deadline, f"no {text!r} in:\n{self.text()}"
            assert self.process.poll() is None or text in self.text(), self.text()
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; return exit code and seconds."""
        started = monotonic()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S), monotonic() - started

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Peer:
    """Cameras, listener and operator in one."""

    def __init__(self, domain: int, node_name: str = "segmif") -> None:
        self._name = node_name
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node: Node = rclpy.create_node("peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.images: dict[str, list[Image]] = {}
        self.labels: list[String] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.cameras = {
            name: self.node.create_publisher(
                Image, f"/{node_name}/input/{name}", qos_profile_sensor_data
            )
            for name in ("rgb", "thermal")
        }
        self._listening: list[Any] = []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(
            String, f"/{node_name}/output/labels", self.labels.append, latched
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def forget(self) -> None:
        """Start a test with nothing received."""
        for received in (*self.images.values(), self.labels, self.diagnostics):
            received.clear()

    def listen(self, *outputs: str) -> None:
        """Subscribe to exactly these image outputs."""
        for subscription in self._listening:
            self.node.destroy_subscription(subscription)
        self.images = {name: [] for name in outputs}
        self._listening = [
            self.node.create_subscription(
                Image, f"/{self._name}/output/{name}", self.images[name].append, 10
            )
            for name in outputs
        ]
        self.until(
            lambda: all(
                self.node.count_publishers(f"/{self._name}/output/{name}") for name in outputs
            ),
            "the outputs",
        )

    def until(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> None:
        """Spin until something is true."""
        deadline = monotonic() + seconds
        while not condition():
            assert monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
            self._executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        """Spin for a while, to keep a publishing rate."""
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def until_heard(self) -> None:
        """Wait until the node listens to both cameras."""
        self.until(
            lambda: all(pub.get_subscription_count() for pub in self.cameras.values()),
            "a node that subscribes to both inputs",
        )

    def header(self, frame_id: str = "rgb_optical", *, stamp_ns: int | None = None) -> Header:
        now = self.node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        header = Header(frame_id=frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(now, 1_000_000_000)
        return header

    def publish_pair(
        self, rgb: np.ndarray, thermal: np.ndarray, *, stamp_ns: int | None = None
    ) -> Header:
        """Publish one pair of equal stamps and return the RGB header."""
        header = self.header(stamp_ns=stamp_ns)
        thermal_header = Header(stamp=header.stamp, frame_id="thermal_optical")
        self.cameras["rgb"].publish(to_message(rgb, "rgb8", header))
        self.cameras["thermal"].publish(to_message(thermal, "mono8", thermal_header))
        return header

    def diagnostics_from(self, node_name: str) -> bool:
        """Return whether diagnostics of a node reach us."""
        found = self.node.get_publishers_info_by_topic("/diagnostics")
        return any(info.node_name == node_name for info in found)

    def status(self, concern: str) -> dict[str, str]:
        """Key-values of the newest status of a concern."""
        for array in reversed(self.diagnostics):
            for status in array.status:
                if status.name == f"{self._name}: {concern}":
                    return {kv.key: kv.value for kv in status.values} | {
                        "level": str(ord(status.level)),
                        "message": status.message,
                    }
        return {}


class Operator:
    """Service calls to one node."""

    def __init__(self, peer: Peer, node_name: str = "/segmif") -> None:
        self._peer = peer
        self._name = node_name
        self._clients: dict[str, Any] = {}

    def _client(self, kind: type, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._peer.node.create_client(kind, f"{self._name}/{service}")
        self._peer.until(self._clients[service].service_is_ready, f"service {service}")
        return self._clients[service]

    def _call(self, kind: type, service: str, request: Any) -> Any:
        future = self._client(kind, service).call_async(request)
        self._peer.until(future.done, f"the answer of {service}")
        return future.result()

    def transition(self, label: str) -> bool:
        request = ChangeState.Request()
        request.transition.label = label
        return bool(self._call(ChangeState, "change_state", request).success)

    def transition_by_id(self, ident: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = ident
        return bool(self._call(ChangeState, "change_state", request).success)

    def state(self) -> str:
        # A server that has not discovered its client yet answers into the void: ask until it has.
        client = self._client(GetState, "get_state")
        asked: list[Any] = []
        due = [0.0]

        def answered() -> bool:
            if monotonic() >= due[0]:
                due[0] = monotonic() + ASK_AGAIN_S
                asked.append(client.call_async(GetState.Request()))
            return any(future.done() for future in asked)

        self._peer.until(answered, "the answer of get_state")
        answer = next(future.result() for future in asked if future.done())
        return str(answer.current_state.label)

    def set_parameter(self, name: str, value: object) -> tuple[bool, str]:
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        result = self._call(SetParameters, "set_parameters", request).results[0]
        return bool(result.successful), str(result.reason)
